"""The fine-tuning script that most tutorials show, and nothing more.

    python -m benchmarks._plain_trainer MODEL TRAIN.csv TEST.csv SEED [tuned]

Every text padded or cut to 128 tokens, batch 32, learning rate 2e-5, 3 epochs, all training rows,
no validation rows, the defaults of `transformers.Trainer` otherwise. `tuned` pads to the longest of
the batch, with batch 16 and learning rate 1e-4. Prints one JSON object: the
answers to the test rows, and the seconds that training took.
"""

import csv
import json
import sys
import time
from typing import Any

import numpy as np
from benchmarks._plain import trained
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    set_seed,
)


def read(path: str) -> tuple[list[str], list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main() -> None:
    folder, train_file, test_file, seed, *how = sys.argv[1:]
    tuned = how == ["tuned"]
    began = time.perf_counter()
    disable_progress_bar()
    set_seed(int(seed))
    (texts, targets), (asked, _) = read(train_file), read(test_file)
    names = sorted(set(targets))

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(batch: dict[str, Any]) -> Any:
        padding = False if tuned else "max_length"
        return tokenizer(batch["text"], padding=padding, truncation=True, max_length=128)

    labels = [names.index(target) for target in targets]
    train_rows = Dataset.from_dict({"text": texts, "label": labels}).map(encode, batched=True)
    test_rows = Dataset.from_dict({"text": asked}).map(encode, batched=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names))
    how = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16 if tuned else 32,
        "learning_rate": 1e-4 if tuned else 2e-5,
        "seed": int(seed),
    }
    with trained(model, tokenizer, train_rows, how) as trainer:  # pyright: ignore[reportArgumentType]
        fitted = time.perf_counter() - began
        logits = trainer.predict(test_rows).predictions  # type: ignore[arg-type]
    answers = [names[index] for index in np.asarray(logits).argmax(1)]
    print(json.dumps({"answers": answers, "fit_seconds": fitted}))


if __name__ == "__main__":
    main()
