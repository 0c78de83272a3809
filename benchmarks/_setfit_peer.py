# pyright: reportMissingImports=false
"""SetFit with its defaults, as its documentation shows it.

    python benchmarks/_setfit_peer.py MODEL TRAIN.csv TEST.csv SEED

Contrastive tuning of the encoder on pairs, then a logistic regression on its embeddings. Prints one
JSON object: the answers to the test rows, and the seconds that training took.
"""

import csv
import json
import sys
import tempfile
import time

import numpy as np
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback


def read(path: str) -> tuple[list[str], list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main() -> None:
    folder, train_file, test_file, seed = sys.argv[1:]
    began = time.perf_counter()
    (texts, labels), (asked, _) = read(train_file), read(test_file)
    model = SetFitModel.from_pretrained(folder, labels=sorted(set(labels)))
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            seed=int(seed),
            report_to="none",
            show_progress_bar=False,
            save_strategy="no",
        )
        rows = Dataset.from_dict({"text": texts, "label": labels})
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.st_trainer.remove_callback(PrinterCallback)
        trainer.train()
        fitted = time.perf_counter() - began
    answers = [str(answer) for answer in np.asarray(model.predict(asked))]
    print(json.dumps({"answers": answers, "fit_seconds": fitted}))


if __name__ == "__main__":
    main()
