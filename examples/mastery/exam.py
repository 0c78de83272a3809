"""Writes answers.csv and need.yaml from a real exam: 729 students, 13 tasks of mathematics.

    apt-get download r-cran-psychotools && dpkg-deb -x r-cran-psychotools_*.deb r
    pip install rdata==1.1.0
    python examples/mastery/exam.py r/usr/lib/R/site-library/psychotools/data/MathExam14W.rda FOLDER

The answers are those of an exam of introductory mathematics at the University of Innsbruck in 2014,
as R's package `psychotools` (GPL-2 or GPL-3) holds them. They are converted where you run this and
are no part of Sartor. A row is a student's task; there are no times, so the tasks of a student are
in the order of the exam, and students are parted between what is learnt from and what is judged.
"""

import csv
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEED = """name: exam
task: mastery
data:
  train: answers.csv
  user: student
  item: task
  label: solved
accept:
  - auc >= 0.70
  - log_loss <= 0.60
  - calibration_error <= 0.08
  - latency_p95_ms <= 20
  - size_mb <= 5
budget: {minutes: 10}
"""


def solved(source: Path) -> Any:
    """(students, tasks) 1 where a student solved a task, with the tasks' names."""
    if find_spec("rdata") is None:
        sys.exit("rdata is not installed: pip install rdata==1.1.0")
    import rdata

    # Tables inside the table: rdata's own frames cannot hold them.
    kinds = {**rdata.conversion.DEFAULT_CLASS_MAP, "data.frame": lambda found, _: found}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of R classes that are not needed here
        parsed = rdata.parser.parse_file(source)
        return rdata.conversion.convert(parsed, constructor_dict=kinds)["MathExam14W"]["solved"]


def main(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    marks = solved(source)
    tasks = [str(name) for name in marks.coords["dim_1"].values]
    rows = [
        (f"S{student:03}", task, int(mark))
        for student, row in enumerate(marks.values)
        for task, mark in zip(tasks, row, strict=True)
    ]
    with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["student", "task", "solved"])
        writer.writerows(rows)
    (folder / "need.yaml").write_text(NEED, encoding="utf-8")
    print(f"{len(tasks)} tasks, {len(rows)} answers of {len(marks)} students")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("say from and to: python examples/mastery/exam.py MathExam14W.rda FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
