"""The script for labels of texts and of pairs that most tutorials show, and nothing more.

    python -m benchmarks._plain_labeller MODEL TRAIN.jsonl TEST.jsonl SEED [EPOCHS]

`AutoModelForSequenceClassification` on `text`, or on `text` and `text_pair` in one sequence, cut
at 128 tokens; batch 16 padded to its longest, learning rate 5e-5, 3 epochs, all training rows, the
defaults of `transformers.Trainer` otherwise. Where `label` holds lists, one sigmoid a label and a
label from 0.5 on; else a softmax. Prints one JSON object: the answers to the test rows, as `label`
has them, and the seconds that training took.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from benchmarks._plain import Row, read, trained
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    set_seed,
)


def main() -> None:
    folder, train_file, test_file, seed, *epochs = sys.argv[1:]
    began = time.perf_counter()
    set_seed(int(seed))
    train, test = read(train_file), read(test_file)
    several = isinstance(train[0]["label"], list)
    names = sorted({name for row in train for name in _named(row)})
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(rows: list[Row], *, labels: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for row in rows:
            texts = [row[key] for key in ("text", "text_pair") if key in row]
            one = tokenizer(*texts, truncation=True, max_length=128)
            found.append({**one, **({"labels": _number(row, names)} if labels else {})})
        return found

    model = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=len(names),
        problem_type="multi_label_classification" if several else "single_label_classification",
    )
    how = {
        "num_train_epochs": float(epochs[0]) if epochs else 3.0,
        "per_device_train_batch_size": 16,
        "learning_rate": 5e-5,
        "seed": int(seed),
    }
    collator = DataCollatorWithPadding(tokenizer)
    with trained(model, tokenizer, encode(train, labels=True), how, collator) as trainer:
        seconds = time.perf_counter() - began
        rows: Any = encode(test, labels=False)
        logits = np.asarray(trainer.predict(rows).predictions)
    print(json.dumps({"answers": _said(logits, names, several=several), "fit_seconds": seconds}))


def _named(row: Row) -> list[str]:
    label = row["label"]
    return label if isinstance(label, list) else [label]


def _number(row: Row, names: list[str]) -> int | list[float]:
    if isinstance(row["label"], list):
        return [float(name in row["label"]) for name in names]
    return names.index(row["label"])


def _said(logits: Any, names: list[str], *, several: bool) -> list[Any]:
    if not several:
        return [names[place] for place in logits.argmax(1).tolist()]
    return [[names[i] for i in np.flatnonzero(row > 0).tolist()] for row in logits]


if __name__ == "__main__":
    main()
