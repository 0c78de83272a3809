"""Writes opinions.csv from the source archive of `vaderSentiment`: sentences of product reviews.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python examples/opinions/make.py vaderSentiment-3.3.2.tar.gz

The archive has the mean of twenty people's ratings from -4 to 4. Who reads reviews acts on less
than that: on five levels, cut at -1.5, -0.5, 0.5 and 1.5. Nothing of the package is run.
"""

import csv
import html
import io
import sys
import tarfile
from bisect import bisect_right
from pathlib import Path

HERE = Path(__file__).parent
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
LEVELS = ("very_bad", "bad", "neutral", "good", "very_good")
CUTS = (-1.5, -0.5, 0.5, 1.5)


def lines(archive: str, name: str) -> list[list[str]]:
    """(id, mean rating, text) of a file in the archive inside the archive."""
    with tarfile.open(archive) as outer:
        packed = outer.extractfile(INNER)
        if packed is None:
            sys.exit(f"{archive} does not hold {INNER}")
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as inner:
            found = inner.extractfile(name)
            if found is None:
                sys.exit(f"{INNER} does not hold {name}")
            text = found.read().decode("utf-8", errors="replace")
    return [line.split("\t", 2) for line in text.splitlines() if line.strip()]


def main(archive: str) -> None:
    with (HERE / "opinions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "review", "text", "opinion"])
        for name, rating, text in lines(archive, SENTENCES):
            level = LEVELS[bisect_right(CUTS, float(rating))]
            writer.writerow([name, name.partition("_")[0], html.unescape(text).strip(), level])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
