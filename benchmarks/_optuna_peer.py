"""The search that somebody with a week of experience writes: Optuna around the stock Trainer.

    python -m benchmarks._optuna_peer MODEL TRAIN.csv VALIDATION.csv TEST.csv SEED TRIALS

TPE proposes learning rate, epochs, batch size, weight decay and warm-up; the validation accuracy is
reported after every epoch, and Hyperband ends trials that fall behind. The Trainer keeps its
defaults otherwise (float32, padding to the longest of the batch, linear decay). Texts are tokenised
once for all trials. Every finished trial also answers the test rows, with the clock stopped: it
shows what the search would have shipped had it ended there.

Prints one JSON object: the trials in order, with the seconds of search that had passed at the end
of each, and how long making the study and tokenising took.
"""

import csv
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from transformers.utils import logging as noise

EPOCHS = (2, 8)
"""300 rows in batches of 16 are 19 steps: with fewer epochs no rate gets anywhere."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one trial went.

    Args:
        settings: As the sampler proposed them.
        seconds: Of the trial, the test rows aside.
        at: Seconds since the search began when it ended, the test rows aside.
        validation: Accuracy after its last epoch; None where it was pruned.
        test: Likewise, on the test rows.
        epochs: That it ran.
    """

    settings: dict[str, Any]
    seconds: float
    at: float
    validation: float | None
    test: float | None
    epochs: int


class Report(TrainerCallback):
    """Tells the pruner the accuracy of each epoch, and stops where it says so."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.accuracy, self.epochs, self.pruned = trial, 0.0, 0, False

    def on_evaluate(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        self.accuracy = float(told["metrics"]["eval_accuracy"])
        self.epochs += 1
        self.trial.report(self.accuracy, self.epochs)
        if self.epochs < args.num_train_epochs and self.trial.should_prune():
            self.pruned, control.should_training_stop = True, True


class Problem:
    """Tokenised rows, and the trainer of one trial."""

    def __init__(self, folder: str, files: list[str], seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        read = [_read(file) for file in files]
        self.names = sorted({row["label"] for row in read[0]})
        self.train, self.validation, self.test = (self._rows(rows) for rows in read)

    def _rows(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        encoded = self.tokenizer([row["text"] for row in rows], truncation=True, max_length=64)
        labels = [self.names.index(row["label"]) for row in rows]
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": label}
            for ids, mask, label in zip(
                encoded["input_ids"], encoded["attention_mask"], labels, strict=True
            )
        ]

    def trainer(self, trial: optuna.Trial, report: Report, output: str) -> Trainer:
        model = AutoModelForSequenceClassification.from_pretrained(
            self.folder, num_labels=len(self.names)
        )
        arguments = TrainingArguments(
            output_dir=output,
            learning_rate=trial.suggest_float("lr", 1e-5, 5e-4, log=True),
            num_train_epochs=trial.suggest_int("epochs", *EPOCHS),
            per_device_train_batch_size=trial.suggest_categorical("batch", [8, 16, 32]),
            weight_decay=trial.suggest_float("weight_decay", 0.0, 0.1),
            warmup_steps=trial.suggest_float("warmup", 0.0, 0.2),
            per_device_eval_batch_size=32,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=self.seed,
        )
        trainer = Trainer(
            model,
            arguments,
            train_dataset=self.train,  # type: ignore[arg-type]  # a list is enough
            eval_dataset=self.validation,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(self.tokenizer),
            compute_metrics=lambda found: {"accuracy": _accuracy(found)},
            callbacks=[report],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


def main() -> None:
    folder, train, validation, test, seed, trials = sys.argv[1:]
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.perf_counter()
    problem = Problem(folder, [train, validation, test], int(seed))
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=int(seed)),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS[1]),
    )
    prepared = time.perf_counter() - began
    done: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        began = time.perf_counter()
        report = Report(trial)
        with tempfile.TemporaryDirectory() as output:
            trainer = problem.trainer(trial, report, output)
            trainer.train()
            seconds = time.perf_counter() - began
            scored = None if report.pruned else trainer.predict(problem.test)  # type: ignore[arg-type]
        ended = (done[-1].at if done else prepared) + seconds
        tested = None if scored is None else _accuracy(scored)
        kept = None if report.pruned else report.accuracy
        done.append(Trial(dict(trial.params), seconds, ended, kept, tested, report.epochs))
        shown = (
            f"pruned after {report.epochs}" if scored is None else f"{kept:.3f}, test {tested:.3f}"
        )
        print(f"trial {len(done)}: {seconds:.1f} s, {shown}", file=sys.stderr, flush=True)
        if report.pruned:
            raise optuna.TrialPruned
        return report.accuracy

    study.optimize(objective, n_trials=int(trials))
    found = {
        "prepared": prepared,
        "threads": torch.get_num_threads(),
        "trials": [asdict(trial) for trial in done],
    }
    print(json.dumps(found))


def _accuracy(found: Any) -> float:
    # The logits come first where a model gives more.
    logits = found.predictions[0] if isinstance(found.predictions, tuple) else found.predictions
    return float((np.asarray(logits).argmax(1) == found.label_ids).mean())


def _read(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
