"""What people write to predict a number or a level, and nothing more.

    python -m benchmarks._score_peer tfidf|trainer MODEL TRAIN.csv TEST.csv SEED [LEVEL ...]

*tfidf*: words and pairs of words, then `RidgeCV` for numbers and `LogisticRegressionCV` for levels.
*trainer*: `transformers.Trainer` with its defaults on a classifier of one output (squared error) or
of one a level, texts padded or cut to 128 tokens, batch 32, learning rate 2e-5, 3 epochs. Numbers
are standardised first, as anybody would whose loss does not move. Prints one JSON object: the
answers to the test rows, numbers or places in the list of levels.
"""

import csv
import json
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def read(path: str) -> tuple[list[str], list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["answer"] for row in rows]


def by_words(texts: list[str], truth: NDArray[np.float64], asked: list[str], levels: int) -> object:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.pipeline import make_pipeline

    head = RidgeCV(np.logspace(-2, 3, 11)) if not levels else LogisticRegressionCV(max_iter=1_000)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), head)
    return model.fit(texts, truth).predict(asked)


def by_trainer(
    folder: str,
    texts: list[str],
    truth: NDArray[np.float64],
    asked: list[str],
    how: tuple[int, int],
) -> object:
    from benchmarks._plain import trained
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    levels, seed = how
    disable_progress_bar()
    set_seed(seed)
    mean, deviation = (0.0, 1.0) if levels else (float(truth.mean()), float(truth.std()))
    labels = truth.astype(int).tolist() if levels else ((truth - mean) / deviation).tolist()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(batch: dict[str, list[str]]) -> object:
        return tokenizer(batch["text"], padding="max_length", truncation=True, max_length=128)

    rows = Dataset.from_dict({"text": texts, "label": labels}).map(encode, batched=True)
    test = Dataset.from_dict({"text": asked}).map(encode, batched=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=levels or 1)
    how = {  # pyright: ignore[reportAssignmentType]
        "num_train_epochs": 3,
        "per_device_train_batch_size": 32,
        "learning_rate": 2e-5,
        "seed": seed,
    }
    with trained(model, tokenizer, rows, how) as trainer:  # pyright: ignore[reportArgumentType]
        logits = np.asarray(trainer.predict(test).predictions)  # type: ignore[arg-type]
    return logits.argmax(1) if levels else logits[:, 0] * deviation + mean


def main() -> None:
    kind, folder, train_file, test_file, seed, *levels = sys.argv[1:]
    (texts, answers), (asked, _) = read(train_file), read(test_file)
    truth = np.array([_place(answer, levels) for answer in answers], np.float64)
    if kind == "tfidf":
        found = by_words(texts, truth, asked, len(levels))
    else:
        found = by_trainer(folder, texts, truth, asked, (len(levels), int(seed)))
    print(json.dumps({"answers": np.asarray(found, np.float64).tolist()}))


def _place(answer: str, levels: Sequence[str]) -> float:
    return float(levels.index(answer)) if levels else float(answer)


if __name__ == "__main__":
    main()
