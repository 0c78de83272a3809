"""Writes tweets.csv from the source archive of `vaderSentiment`: short texts and how they feel.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python examples/mood/make.py vaderSentiment-3.3.2.tar.gz

A rating is the mean of what at least twenty people said, from -4 (extremely negative) to 4
(extremely positive), to two decimals; the archive has more, which are noise. Nothing of the package
is run.
"""

import csv
import html
import io
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
TWEETS = "hutto_ICWSM_2014/tweets_GroundTruth.txt"


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
    with (HERE / "tweets.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "rating"])
        for name, rating, text in lines(archive, TWEETS):
            writer.writerow([name, html.unescape(text).strip(), f"{float(rating):.2f}"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
