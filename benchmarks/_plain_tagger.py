"""The script for named entities that most tutorials show, and nothing more.

    python -m benchmarks._plain_tagger MODEL TRAIN.jsonl TEST.jsonl SEED [EPOCHS]

`AutoModelForTokenClassification`, tokens labelled by their offsets (B at the first of a part, I
behind it, O elsewhere, special tokens ignored), batch 16 padded to its longest, learning rate 5e-5,
3 epochs, all training rows, the defaults of `transformers.Trainer` otherwise. Answers are runs of
B and I of one label, as character offsets. Prints one JSON object: the answers to the test rows,
and the seconds that training took.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from benchmarks._plain import read, trained
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    set_seed,
)

Part = list[Any]


def tags_of(offsets: list[tuple[int, int]], parts: list[Part], index: dict[str, int]) -> list[int]:
    """One a token: −100 at those that stand for no text."""
    found: list[int] = []
    for start, end in offsets:
        part = next((p for p in parts if start < p[1] and p[0] < end), None)
        if end <= start:
            found.append(-100)
        elif part is None:
            found.append(index["O"])
        else:
            inside = bool(found) and start > part[0]
            found.append(index[f"{'I' if inside else 'B'}-{part[2]}"])
    return found


def parts_of(offsets: list[tuple[int, int]], tags: list[str], text: str) -> list[Part]:
    """Runs of tags as characters; a space that a token holds is in no part."""
    found: list[Part] = []
    for (start, end), tag in zip(offsets, tags, strict=False):
        if end <= start or tag == "O":
            continue
        start += len(text[start:end]) - len(text[start:end].lstrip())
        label = tag[2:]
        near = bool(found) and found[-1][2] == label and not text[found[-1][1] : start].strip()
        if tag[0] == "I" and near:
            found[-1][1] = end
        else:
            found.append([start, end, label])
    return found


def main() -> None:
    folder, train_file, test_file, seed, *epochs = sys.argv[1:]
    began = time.perf_counter()
    set_seed(int(seed))
    train, test = read(train_file), read(test_file)
    labels = sorted({part[2] for row in train for part in row["parts"]})
    names = ["O", *(f"{head}-{label}" for label in labels for head in "BI")]
    index = {name: i for i, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for row in rows:
            one = tokenizer(
                row["text"], truncation=True, max_length=256, return_offsets_mapping=True
            )
            offsets = one.pop("offset_mapping")
            found.append({**one, "labels": tags_of(offsets, row["parts"], index)})
        return found

    model = AutoModelForTokenClassification.from_pretrained(folder, num_labels=len(names))
    how = {
        "num_train_epochs": int(epochs[0]) if epochs else 3,
        "per_device_train_batch_size": 16,
        "learning_rate": 5e-5,
        "seed": int(seed),
    }
    collator = DataCollatorForTokenClassification(tokenizer)
    with trained(model, tokenizer, encode(train), how, collator) as trainer:
        fitted = time.perf_counter() - began
        told = trainer.predict(encode(test)).predictions  # type: ignore[arg-type]
    answers = []
    for row, logits in zip(test, np.asarray(told), strict=True):
        offsets = tokenizer(
            row["text"], truncation=True, max_length=256, return_offsets_mapping=True
        )["offset_mapping"]
        best = [names[i] for i in logits.argmax(1)[: len(offsets)]]
        answers.append(parts_of(offsets, best, row["text"]))
    print(json.dumps({"answers": answers, "fit_seconds": fitted}))


if __name__ == "__main__":
    main()
