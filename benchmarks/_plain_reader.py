"""The script for answers from a text that most tutorials show, and nothing more.

    python -m benchmarks._plain_reader MODEL TRAIN.jsonl TEST.jsonl SEED [EPOCHS]

`AutoModelForQuestionAnswering`, question and context in windows of 256 tokens with a stride of 64,
the first token for what a window does not answer, `default_data_collator`, batch 16, learning rate
5e-5, 3 epochs, all training rows, the defaults of `transformers.Trainer` otherwise. The answer is
the best of the 20 best beginnings and ends of any window, up to 30 tokens, against the least score
of the first token, without a threshold. Prints one JSON object: the answers to the test rows, and
the seconds that training took.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from benchmarks._plain import Row, read, trained
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    default_data_collator,
    set_seed,
)

LENGTH, STRIDE, BEST, LONGEST = 256, 64, 20, 30


def windows(tokenizer: Any, rows: list[Row]) -> tuple[dict[str, Any], list[int], list[Any]]:
    """Features, the row of each, and where the context's tokens stand; None elsewhere."""
    found = tokenizer(
        [row["question"] for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    of = found.pop("overflow_to_sample_mapping")
    offsets = [
        [at if side == 1 else None for at, side in zip(each, found.sequence_ids(i), strict=True)]
        for i, each in enumerate(found.pop("offset_mapping"))
    ]
    return dict(found), of, offsets


def target(offsets: list[Any], row: Row) -> tuple[int, int]:
    """First and last token of the answer; 0 where the window does not hold it."""
    if not row["answers"]:
        return 0, 0
    answer = row["answers"][0]
    start, end = answer["start"], answer["start"] + len(answer["text"])
    inside = [i for i, at in enumerate(offsets) if at and at[0] < end and at[1] > start]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return 0, 0
    return inside[0], inside[-1]


def answers(of: list[int], offsets: list[Any], logits: Any, rows: list[Row]) -> list[str]:
    starts, ends = (np.asarray(side) for side in logits)
    best = [(-np.inf, "")] * len(rows)
    none = [np.inf] * len(rows)
    for i, row in enumerate(of):
        none[row] = min(none[row], float(starts[i][0] + ends[i][0]))
        for first in np.argsort(-starts[i])[:BEST]:
            for last in np.argsort(-ends[i])[:BEST]:
                there = offsets[i][first] and offsets[i][last]
                if not there or not first <= last < first + LONGEST:
                    continue
                score = float(starts[i][first] + ends[i][last])
                if score > best[row][0]:
                    text = rows[row]["context"][offsets[i][first][0] : offsets[i][last][1]]
                    best[row] = score, text.strip()
    return [text if score > none[row] else "" for row, (score, text) in enumerate(best)]


def main() -> None:
    folder, train_file, test_file, seed, *epochs = sys.argv[1:]
    began = time.perf_counter()
    set_seed(int(seed))
    train, test = read(train_file), read(test_file)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    learnt, of, offsets = windows(tokenizer, train)
    places = [target(each, train[row]) for row, each in zip(of, offsets, strict=True)]
    rows = [
        {
            **{name: values[i] for name, values in learnt.items()},
            "start_positions": places[i][0],
            "end_positions": places[i][1],
        }
        for i in range(len(of))
    ]
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    how = {
        "num_train_epochs": int(epochs[0]) if epochs else 3,
        "per_device_train_batch_size": 16,
        "learning_rate": 5e-5,
        "seed": int(seed),
    }
    with trained(model, tokenizer, rows, how, default_data_collator) as trainer:
        fitted = time.perf_counter() - began
        asked, of, offsets = windows(tokenizer, test)
        features = [{n: values[i] for n, values in asked.items()} for i in range(len(of))]
        logits = trainer.predict(features).predictions  # type: ignore[arg-type]
    print(json.dumps({"answers": answers(of, offsets, logits, test), "fit_seconds": fitted}))


if __name__ == "__main__":
    main()
