"""Ablation: what each technique gives, one switched off at a time, those that give nothing too.

    python -m benchmarks.ablation [--rounds 5] [--draws 10] [--rows 1000]

*Training.* Full fine-tuning of MiniLM on 1,000 reviews, one epoch, all techniques on; then without
grouping by length, without bfloat16 (where the probe finds it faster), with masks drawn afresh in
place of pooled ones, and with the whole word table in place of its used rows. A round is a seed:
rows, batches and masks, the same for all. Scored on test rows.

*Search.* Heads on cached activations, chosen among the portfolio by the log-loss of validation rows
and scored on the test rows: what the choice of layers gives over the last layer alone, and an
ensemble over the best single head (800 training and 200 validation rows); what folds give where
there are only 30 validation rows beside 100 training rows; what centring gives zero-shot, which
reads no label. A draw is other rows, the same for all. Then an epoch of the top two layers on
cached token states and with the lower layers run again, which changes no score.

A score is a difference of pairs, without less with: negative means that the technique helps, and
Student's 95 % interval over rounds or draws says how sure that is. A time is the median over rounds
of how many times longer it takes without. Takes about 15 minutes on two quiet cores.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import top_layers
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    finish,
    machine,
    median_ratio,
    paired,
    spread,
)
from torch import Tensor

from sartor.core.activations import Activations
from sartor.core.likelihood import fit_temperature
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import TextEncoder
from sartor.models.loading import load_text_backbone
from sartor.models.precision import Precision, probe
from sartor.search.folds import deal
from sartor.search.pool import choose
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.batching import Inputs, Tokens
from sartor.tune.frozen import Frozen, Point
from sartor.tune.generators import seeded
from sartor.tune.heads import HeadData, HeadSetting, cross_logits, fit_heads
from sartor.tune.loop import Recipe, Rows, Watch, log_loss, score, train
from sartor.tune.methods.full import Full
from sartor.tune.methods.head import Head
from sartor.tune.methods.zero_shot import ZeroShot
from sartor.tune.settings import Loop

LONGEST, LR = 256, 1e-4
HELD, FEW_TRAIN, FEW_HELD = 0.2, 100, 30
STATED_ROWS = 400


class Ungrouped(Tokens):
    """Rows that all claim the mean length: batches of as many tokens, whatever their lengths."""

    def lengths(self) -> np.ndarray:
        found = super().lengths()
        return np.full(len(found), round(float(found.mean())), np.int64)


@dataclass(frozen=True)
class WholeTable:
    """Tokens that do not say which words they use: the whole word table trains."""

    tokens: Tokens

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()

    def batch(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        return self.tokens.batch(rows)


@dataclass(frozen=True, slots=True)
class Texts:
    """Rows of one file."""

    texts: list[str]
    labels: np.ndarray
    names: tuple[str, ...]

    @staticmethod
    def read(name: str) -> "Texts":
        path = ROOT / "examples" / "reviews" / name
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = tuple(sorted({row["label"] for row in rows}))
        labels = np.array([names.index(row["label"]) for row in rows], dtype=np.int64)
        return Texts([row["text"] for row in rows], labels, names)

    def take(self, rows: np.ndarray) -> "Texts":
        return Texts([self.texts[i] for i in rows], self.labels[rows], self.names)

    def examples(self) -> Examples:
        ids = tuple(map(str, range(len(self.texts))))
        answers = tuple(self.names[label] for label in self.labels)
        return Examples(ids, {"text": tuple(self.texts)}, answers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Accuracy on the test rows in percent, and seconds."""

    accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trainee:
    """What the training rounds share."""

    backbone: Backbone
    pool: Texts
    test: Rows
    rows: int
    bf16: bool

    def fit(
        self,
        seed: int,
        *,
        wrap: Callable[[Tokens], Inputs] = lambda tokens: tokens,
        bf16: bool | None = None,
        masks: Any = "pooled",
    ) -> Outcome:
        """One epoch with the given techniques off."""
        quick = self.bf16 if bf16 is None else bf16
        drawn = np.random.default_rng([3, seed]).permutation(len(self.pool.texts))[: self.rows]
        learnt = self.pool.take(drawn)
        encoder, tokenizer = load_text_backbone(self.backbone)
        tokens = _tokens(tokenizer, learnt.texts)
        task, method, weights = TextClassification(), Full(lr=LR), torch.ones(len(learnt.names))
        with seeded(seed):
            model = task.build(encoder, len(learnt.names))
            method.attach(model)
        recipe = Recipe(
            Loop(epochs=1, evaluations=1, masks=masks),
            seed,
            lambda logits, labels: task.loss(logits, labels, weights, 0.0),
            rate=lambda name: method.rate(name, self.backbone.layers),
            bf16=quick,
            method=method,
        )
        few = Rows(Tokens(tokens.ids[:4], 0), learnt.labels[:4])
        trained = train(model, (Rows(wrap(tokens), learnt.labels), few), recipe, Watch())
        right = score(model, self.test.inputs, bf16=self.bf16).argmax(1) == self.test.labels
        return Outcome(100 * float(right.mean()), trained.seconds)

    def switches(self) -> dict[str, Callable[[int], Outcome]]:
        """Techniques to a fit without them; "" is the one with all."""
        found: dict[str, Callable[[int], Outcome]] = {
            "": self.fit,
            "grouping by length": lambda s: self.fit(s, wrap=lambda t: Ungrouped(t.ids, t.pad)),
            "pooled masks": lambda s: self.fit(s, masks="drawn"),
            "used word rows only": lambda s: self.fit(s, wrap=WholeTable),
        }
        if self.bf16:
            found["bfloat16"] = lambda s: self.fit(s, bf16=False)
        return found


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of rows for the search, with what the frozen backbone computed of them.

    Args:
        encoder: Behind its cache, filled with everything that is asked for.
        backbone: Its.
        train: Rows to learn from.
        held: Rows to choose by.
        test: Rows to score on.
    """

    encoder: TextEncoder
    backbone: Backbone
    train: Texts
    held: Texts
    test: Texts

    def heads(self, layers: Sequence[tuple[int, ...]] = ()) -> Outcome:
        """The best single head of the portfolio, or of what of it reads these layers."""
        began = time.perf_counter()
        grid = [s for s in _grid(len(self.train.names)) if not layers or s.layers in layers]
        held, test = self._logits(grid)
        best = int(np.argmin([_loss(logits, self.held.labels) for logits in held]))
        return self._outcome(test[best], began)

    def ensemble(self) -> Outcome:
        """All heads of the portfolio, weighed on the validation rows."""
        began = time.perf_counter()
        held, test = self._logits(_grid(len(self.train.names)))
        mixture = choose(np.stack(held), self.held.labels)
        return self._outcome(mixture.logits(np.stack(test)), began)

    def folds(self) -> Outcome:
        """The best single head by rows that it was fitted without, training rows among them."""
        began = time.perf_counter()
        grid = _grid(len(self.train.names))
        dealt = deal(self.train.examples())
        if dealt is None:
            raise SystemExit("too few rows, or too alike, for folds")
        held, test = self._logits(grid)
        crossed = cross_logits(self._data(self.held), grid, dealt.fold)
        labels = np.concatenate([self.train.labels, self.held.labels])
        losses = [
            _loss(np.concatenate([one, other]), labels)
            for one, other in zip(crossed, held, strict=True)
        ]
        return self._outcome(test[int(np.argmin(losses))], began)

    def zero_shot(self, *, centred: bool) -> Outcome:
        """The best of the portfolio of zero-shot, or of its points without centring."""
        began = time.perf_counter()
        points = [
            Point(
                ZeroShot(centre=bool(s["centre"])),
                tuple(n % (self.backbone.layers + 1) for n in s["layers"]),
                (1.0,) * len(self.train.names),
                0,
            )
            for s in ZeroShot.portfolio()
            if centred or not s["centre"]
        ]
        found = []
        for side in (self.held, self.test):
            frozen = Frozen(
                self.backbone,
                self.encoder,
                self.train.texts,
                side.texts,
                self.train.labels,
                side.labels,
                self.train.names,
                {},
            )
            found.append([fit.validation_logits for fit in ZeroShot.fit_all(frozen, points)])
        best = int(np.argmin([_loss(logits, self.held.labels) for logits in found[0]]))
        return self._outcome(found[1][best], began)

    def _data(self, side: Texts) -> HeadData:
        return HeadData(
            train=lambda layers: self.encoder.features(self.train.texts, layers),
            validation=lambda layers: self.encoder.features(side.texts, layers),
            labels=self.train.labels,
            outputs=len(self.train.names),
        )

    def _logits(self, grid: Sequence[HeadSetting]) -> tuple[list[Floats], list[Floats]]:
        """(validation rows, outputs) and (test rows, outputs) of each setting."""
        both = Texts(
            [*self.held.texts, *self.test.texts],
            np.concatenate([self.held.labels, self.test.labels]),
            self.test.names,
        )
        count = len(self.held.texts)
        every = [fit.validation_logits for fit in fit_heads(self._data(both), grid)]
        return [logits[:count] for logits in every], [logits[count:] for logits in every]

    def _outcome(self, logits: Floats, began: float) -> Outcome:
        seconds = time.perf_counter() - began
        return Outcome(100 * float((logits.argmax(1) == self.test.labels).mean()), seconds)


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of training")
    parser.add_argument("--draws", type=int, default=10, help="of rows for the search")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--test-rows", type=int, default=1000)
    options = parser.parse_args()
    found = probe()
    backbone, pool, test = (
        find_backbone("minilm"),
        Texts.read("reviews.csv"),
        Texts.read("test.csv"),
    )
    test = test.take(np.arange(min(options.test_rows, len(test.texts))))
    runs = _train(backbone, (pool, test), found, options)
    lines = _lines("Training", runs, timed=True)
    with tempfile.TemporaryDirectory() as folder:
        searched = _search(backbone, (pool, test), found, options, Path(folder))
        stated = _stated(backbone, pool, found, options, Path(folder) / "states")
    for what, each in searched.items():
        lines += _lines(what, each, timed=False)
    lines.append(
        Line.of(
            "An epoch of the top layers without cached token states: longer",
            median_ratio(stated["recomputed"], stated["cached"]),
            "times",
        )
    )
    detail = {
        "threads": torch.get_num_threads(),
        "dtype": found.dtype,
        "rows": options.rows,
        "training": _plain(runs),
        "search": {what: _plain(each) for what, each in searched.items()},
        "top_layers": stated,
    }
    finish("ablation", facts, lines, detail)


Sides = tuple[Texts, Texts]
"""Rows to draw from, and test rows."""


def _train(
    backbone: Backbone, sides: Sides, found: Precision, options: argparse.Namespace
) -> dict[str, list[Outcome]]:
    pool, test = sides
    _, tokenizer = load_text_backbone(backbone)
    tested = Rows(_tokens(tokenizer, test.texts), test.labels)
    trainee = Trainee(backbone, pool, tested, options.rows, found.dtype == "bfloat16")
    switches = trainee.switches()
    runs: dict[str, list[Outcome]] = {name: [] for name in switches}
    for number, name in alternate(list(switches), options.rounds):
        runs[name].append(switches[name](number))
        _say(f"round {number + 1}", name, runs[name][-1])
    return runs


def _search(
    backbone: Backbone,
    sides: Sides,
    found: Precision,
    options: argparse.Namespace,
    folder: Path,
) -> dict[str, dict[str, list[Outcome]]]:
    """Part of the search to its switches."""
    pool, test = sides
    encoder = TextEncoder(backbone, Activations(folder / "pooled"), precision=found)
    depth = backbone.layers
    last = [(depth,)]
    runs: dict[str, dict[str, list[Outcome]]] = {
        "Choosing a head": {"": [], "layers other than the last": [], "an ensemble": []},
        f"Choosing a head on {FEW_TRAIN} rows": {"": [], "folds": []},
        "Zero-shot": {"": [], "centring": []},
    }
    heads, few, zero = runs.values()
    for number in range(options.draws):
        order = np.random.default_rng([5, number]).permutation(len(pool.texts))
        held = round(HELD * options.rows)
        draw = Draw(
            encoder, backbone, pool.take(order[held : options.rows]), pool.take(order[:held]), test
        )
        small = Draw(
            encoder,
            backbone,
            pool.take(order[FEW_HELD : FEW_HELD + FEW_TRAIN]),
            pool.take(order[:FEW_HELD]),
            test,
        )
        # What is encoded is encoded before any clock runs.
        encoder.features([*draw.train.texts, *draw.held.texts, *test.texts], (depth,))
        heads[""].append(draw.ensemble())
        heads["an ensemble"].append(draw.heads())
        heads["layers other than the last"].append(draw.heads(last))
        few[""].append(small.folds())
        few["folds"].append(small.heads())
        zero[""].append(draw.zero_shot(centred=True))
        zero["centring"].append(draw.zero_shot(centred=False))
        for part in runs.values():
            for name, outcomes in part.items():
                _say(f"draw {number + 1}", name, outcomes[-1])
    return runs


def _stated(
    backbone: Backbone, pool: Texts, found: Precision, options: argparse.Namespace, folder: Path
) -> dict[str, list[float]]:
    """Seconds of an epoch of the top layers, with and without cached token states."""
    some = pool.take(np.arange(min(STATED_ROWS, options.rows)))
    _, tokenizer = load_text_backbone(backbone)
    encoder = TextEncoder(backbone, None, states_cache=Activations(folder), precision=found)
    states = encoder.states(some.texts, backbone.layers - 2)
    setup = top_layers.Setup(
        backbone,
        _tokens(tokenizer, some.texts),
        states,
        some.labels,
        2,
        found.dtype == "bfloat16",
    )
    ways = {"cached": top_layers.cached, "recomputed": top_layers.recomputed}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _, name in alternate(list(ways), options.rounds):
        seconds[name].append(ways[name](setup))
    states.close()
    return seconds


def _lines(what: str, runs: dict[str, list[Outcome]], *, timed: bool) -> list[Line]:
    """Of the whole, its score; of each switch, what is lost and how much longer it takes."""
    whole = runs[""]
    lines = [
        Line.of(
            f"{what}, everything on: accuracy; median, lowest, highest",
            spread([one.accuracy for one in whole]),
            "%",
        )
    ]
    for name, found in runs.items():
        if not name:
            continue
        lost = [a.accuracy - b.accuracy for a, b in zip(found, whole, strict=True)]
        lines.append(Line.of(f"{what} without {name}: accuracy, less", paired(lost), "points"))
        if timed:
            longer = median_ratio([o.seconds for o in found], [o.seconds for o in whole])
            lines.append(Line.of(f"{what} without {name}: longer", longer, "times"))
    return lines


def _grid(classes: int) -> list[HeadSetting]:
    """The portfolio of heads, for MiniLM's layers."""
    depth = find_backbone("minilm").layers
    return [
        HeadSetting(
            tuple(layer % (depth + 1) for layer in settings["layers"]),
            settings["C"],
            (1.0,) * classes,
        )
        for settings in Head.portfolio()
    ]


def _loss(logits: Floats, labels: np.ndarray) -> float:
    """Log-loss after calibration on the same rows, as candidates are compared in a run."""
    return log_loss(logits / np.float32(fit_temperature(logits, labels)), labels)


def _tokens(tokenizer: Any, texts: Sequence[str]) -> Tokens:
    tokenizer.enable_truncation(LONGEST)
    return Tokens([e.ids for e in tokenizer.encode_batch(list(texts))], 0)


def _say(when: str, name: str, found: Outcome) -> None:
    what = f"without {name}" if name else "everything on"
    print(f"{when}  {what:<35} {found.accuracy:.1f} %  {found.seconds:.1f} s", flush=True)


def _plain(runs: dict[str, list[Outcome]]) -> dict[str, list[list[float]]]:
    return {name or "everything": [[o.accuracy, o.seconds] for o in r] for name, r in runs.items()}


if __name__ == "__main__":
    main()
