# pyright: reportAttributeAccessIssue=false, reportFunctionMemberAccess=false
"""Few rows: what batches give that are small enough for a few hundred rows to be steps enough.

    python -m benchmarks.few_rows [--rounds 3] [--rows 300] [--tasks reviews intents] [--methods …]

A round draws training rows, 200 validation rows and 1,000 further ones of a task from the rows that
no other benchmark tests on. Each method is fitted with the first settings of its portfolio, once in
batches as large as they come (32 rows), and once in those that the ladder gives for so few rows
(`search.portfolio.paced`); epochs, rate and seed are the same. A line is the
accuracy on the further rows, smaller batches less large ones, with Student's 95 % interval over
rounds; beside it stands the best frozen head by validation log-loss. Texts are cut at 64 tokens.
Scores do not depend on what else the machine does; seconds are kept in the detail. Takes about 20
minutes on two cores.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import Line, arguments, finish, machine, paired, spread
from benchmarks.score_time import PROBLEMS
from tokenizers import Tokenizer

from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.likelihood import fit_temperature, losses
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.packed import tokenise
from sartor.models.precision import Precision, probe
from sartor.search.folds import both
from sartor.search.portfolio import paced
from sartor.tasks.text_classification.train import load
from sartor.tune.api import METHODS
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.scoring import score

TASK, VALIDATION, FURTHER, LONGEST = "text_classification", 200, 1_000, 64
METHOD_NAMES = ("top_layers", "lora", "full")
HEAD = "head"


@dataclass(frozen=True, slots=True)
class Fit:
    """How one fit did.

    Args:
        accuracy: On the further rows, in percent.
        steps: Of the optimiser.
        seconds: Of the fit.
    """

    accuracy: float
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Round:
    """One draw of rows, and who fits on them.

    Args:
        backbone: Tuned from.
        tuner: Fits.
        sides: Training rows, validation rows and further rows.
        outputs: Names of the labels.
        seed: Of the fits.
    """

    backbone: Backbone
    tuner: Tuner
    sides: tuple[Examples, Examples, Examples]
    outputs: list[str]
    seed: int

    @staticmethod
    def of(task: str, number: int, rows: int, on: tuple[Path, Precision]) -> "Round":
        folder, precision = on
        problem = PROBLEMS[task]()
        backbone = find_backbone(problem.backbone)
        # A text that stands twice would fall on two sides.
        pool = list({row["text"]: row for row in problem.pool}.values())
        order = np.random.default_rng([7, number]).permutation(len(pool))
        ends = np.cumsum([rows, VALIDATION, FURTHER])
        train, held, further = (
            _examples([pool[i] for i in side]) for side in np.split(order, ends)[:3]
        )
        encoder = TextEncoder(
            backbone,
            Activations(folder / "activations"),
            states_cache=Activations(folder / "states"),
            precision=precision,
            settings=EncodeSettings(max_length=LONGEST),
        )
        outputs = sorted({row["label"] for row in pool})
        options = TuneOptions(max_length=LONGEST, bf16=precision.dtype == "bfloat16")
        tuner = Tuner({backbone.name: backbone}, lambda _: encoder, folder, outputs, options)
        return Round(backbone, tuner, (train, held, further), outputs, number)

    def fit(self, method: str, *, pace: bool) -> Fit:
        """The first settings of a method, with the batches that suit the rows or without."""
        train, held, further = self.sides
        settings = METHODS.get(method).portfolio()[0]
        if pace:
            settings = paced(settings, method, TASK, len(train))
        fitted = self.tuner(self._candidate(method, settings), train, held, silent)
        accuracy = self._accuracy(self._answers(fitted.folder, further))
        return Fit(accuracy, int(fitted.history[-1]["step"]), fitted.seconds)

    def head(self) -> Fit:
        """The best frozen head by the log-loss on the validation rows."""
        train, held, further = self.sides
        grid = [self._candidate(HEAD, settings) for settings in METHODS.get(HEAD).portfolio()]
        # A closed form reads no row that it is asked about.
        fits = self.tuner.heads(grid, train, both(held, further))
        answers = [np.split(fit.validation_logits, [len(held)]) for fit in fits]
        truth = self._truth(held)
        lost = [losses(z / fit_temperature(z, truth), truth).mean() for z, _ in answers]
        return Fit(self._accuracy(answers[int(np.argmin(lost))][1]), 0, 0.0)

    def _candidate(self, method: str, settings: Mapping[str, Any]) -> Candidate:
        return Candidate(self.backbone.name, self.backbone.sha256, method, settings, self.seed)

    def _answers(self, folder: Path, rows: Examples) -> Floats:
        model = load(folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST)
        prefix = json.loads((folder / "text.json").read_text(encoding="utf-8"))["prefix"]
        pad = model.encoder.config.pad_token_id or 0
        tokens = Tokens(tokenise(tokenizer, rows.texts, prefix), pad)  # pyright: ignore[reportArgumentType]
        return score(model, tokens, bf16=self.tuner.options.bf16)

    def _accuracy(self, logits: Floats) -> float:
        return 100 * float((logits.argmax(1) == self._truth(self.sides[2])).mean())

    def _truth(self, rows: Examples) -> np.ndarray:
        return np.array([self.outputs.index(label) for label in rows.target])


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=300, help="to train on")
    parser.add_argument("--tasks", nargs="+", default=["reviews", "intents"], choices=PROBLEMS)
    parser.add_argument("--methods", nargs="+", default=METHOD_NAMES, help="descended on")
    options = parser.parse_args()
    lines: list[Line] = []
    detail: dict[str, dict[str, list[dict[str, float]]]] = {}
    for task in options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            found = _task(task, options, (Path(folder), probe()))
        lines += _lines(f"{task.replace('_', ' ')}, {options.rows} rows", found, options.methods)
        detail[task] = {name: [asdict(fit) for fit in fits] for name, fits in found.items()}
        finish("few_rows", facts, lines, {"tasks": detail})


def _task(
    task: str, options: argparse.Namespace, on: tuple[Path, Precision]
) -> dict[str, list[Fit]]:
    """What was fitted to one fit a round."""
    found: dict[str, list[Fit]] = {}
    for number in range(options.rounds):
        drawn = Round.of(task, number, options.rows, on)
        made = {HEAD: drawn.head()}
        for method in options.methods:
            made[method] = drawn.fit(method, pace=False)
            made[f"{method}, smaller batches"] = drawn.fit(method, pace=True)
        for name, fit in made.items():
            found.setdefault(name, []).append(fit)
            print(f"{task}, round {number + 1}, {name}: {fit.accuracy:.1f} %, {fit.steps} steps")
    return found


def _lines(where: str, found: dict[str, list[Fit]], methods: Sequence[str]) -> list[Line]:
    lines = [
        Line.of(
            f"Accuracy on {where}, {name}; median, lowest, highest round",
            spread([fit.accuracy for fit in fits]),
            "%",
        )
        for name, fits in found.items()
    ]
    for method in methods:
        pairs = zip(found[f"{method}, smaller batches"], found[method], strict=True)
        gained = [small.accuracy - large.accuracy for small, large in pairs]
        lines.append(
            Line.of(f"Smaller batches, accuracy on {where}, {method}", paired(gained), "points")
        )
    return lines


def _examples(rows: Sequence[dict[str, str]]) -> Examples:
    return Examples(
        tuple(map(str, range(len(rows)))),
        {"text": tuple(row["text"] for row in rows)},
        tuple(row["label"] for row in rows),
    )


if __name__ == "__main__":
    main()
