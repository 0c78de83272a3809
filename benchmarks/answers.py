# pyright: reportFunctionMemberAccess=false
"""The right document of a base: our rungs against BM25 and sentence-transformers.

    python -m benchmarks.answers [--epochs 3] [--peer PYTHON]

The reports and the base of `examples/answers` on MiniLM, split as a run splits them. All sides rank
the same documents for the same test rows; a row counts with the share of its right documents among
the first ten, and with 1 over the place of the first. Settings are chosen on validation rows by the
reciprocal places; the peer has no use for those rows and its defaults are taken.

- *BM25*: shared words; nothing is learnt.
- *untuned*: the encoder's last layer, averaged over tokens.
- *nearest*: our first rung: layer and space are chosen.
- *top_layers*: our encoder's upper half tuned on cached states, with the method's first settings.
- *lora*, *full*: our encoder tuned, with the method's first settings, three epochs.
- *one-epoch*: *full*, with one.
- *sentence-transformers*: `_answers_peer.py`; `--peer` names a Python that has it.

Times are from texts to the order of the test rows, with nothing cached; ours then still lack export
and verdict. At last the exact search alone is timed on a base of the largest size a bundle takes.
About half an hour on two cores.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import (
    ROOT,
    Interval,
    Line,
    arguments,
    bootstrap,
    finish,
    machine,
    median_of,
)
from numpy.typing import NDArray

from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.types import Candidate, Examples
from sartor.data import prepare
from sartor.judge.checks.retrieval import recall, reciprocal
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.need.file import load_need
from sartor.search.documents import with_documents
from sartor.search.judging import roles_of
from sartor.search.portfolio import settings_of
from sartor.tasks import TASKS
from sartor.tasks.retrieval.bm25 import WordIndex
from sartor.tasks.retrieval.index import MOST_DOCUMENTS, similar
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner

NEED = ROOT / "examples" / "answers" / "need.yaml"
LENGTH = 256
PEER = "sentence-transformers"
TUNED = ("top_layers", "lora", "full")
_ONE_EPOCH = {"lr": 1e-4, "epochs": 1}
Order = NDArray[np.intp]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument(
        "--sides",
        nargs="+",
        default=["bm25", "untuned", "nearest", "top_layers", "lora", "full", "one-epoch", PEER],
    )
    options = parser.parse_args()
    world = World()
    sides: dict[str, Callable[[], Order]] = {
        "bm25": lambda: world.bm25(),
        "untuned": lambda: world.fitted("nearest", [{"layers": [-1]}]),
        "nearest": lambda: world.fitted("nearest", METHODS.get("nearest").portfolio()),
        **{name: partial(world.fitted, name, _first(name)) for name in TUNED},
        "one-epoch": lambda: world.fitted("full", [_ONE_EPOCH]),
        PEER: lambda: world.peer(options.peer, options.epochs),
    }
    lines: list[Line] = []
    found: dict[str, Any] = {}
    for name in options.sides:
        began = time.perf_counter()
        order = sides[name]()
        seconds = time.perf_counter() - began
        scores = world.scores(order)
        found[name] = {"seconds": seconds, "scores": scores.tolist()}
        for column, what in enumerate(("recall among the first 10", "reciprocal place")):
            lines.append(Line.of(f"{name}: {what}", _mean(scores[:, column]), ""))
        lines.append(Line(f"{name}: texts to test answers", seconds, "s"))
        print("\n".join(map(str, lines[-3:])), flush=True)
    lines += _apart(found)
    lines.append(Line.of(*_searched(), "ms"))
    finish("answers", facts, lines, {"sides": found})


class World:
    """The example, split, and the encoder that all sides use."""

    def __init__(self) -> None:
        need = with_documents(load_need(NEED, roles_of), str(NEED), NEED.parent)
        task = TASKS.get(need.task)()
        columns = prepare.columns_of(need.data, tuple(task.roles.inputs), task.target)
        gathered = prepare.gather(need.data, NEED.parent, known={}, columns=columns)
        self.rows = prepare.divide(gathered, wanted_test=400, seed=need.seed, known={})
        self.words = dict(need.data.label_descriptions)
        self.names = list(self.words)
        self.backbone = find_backbone("minilm")

    def bm25(self) -> Order:
        index = WordIndex.of(list(self.words.values()))
        return np.argsort(-index.scores([str(t) for t in self.rows.test.texts]), axis=1)

    def fitted(self, method: str, grid: Any) -> Order:
        """The order of the test rows by the candidate that does best on the validation rows."""
        options = TuneOptions(task="retrieval", max_length=LENGTH, descriptions=self.words)
        backbone = self.backbone
        both = _both(self.rows.validation, self.rows.test)
        with tempfile.TemporaryDirectory() as work:
            place = Path(work)
            source = TextEncoder(
                backbone,
                Activations(place / "activations"),
                states_cache=Activations(place / "states"),
                settings=EncodeSettings(max_length=LENGTH),
            )
            tuner = Tuner({backbone.name: backbone}, lambda _: source, place, self.names, options)
            candidates = [Candidate(backbone.name, backbone.sha256, method, s, 0) for s in grid]
            if METHODS.get(method).reads == "activations":
                # What chooses is apart from what is scored; both are answered in one go.
                logits = [
                    f.validation_logits for f in tuner.heads(candidates, self.rows.train, both)
                ]
            else:
                logits = [self._tuned(tuner, each) for each in candidates]
        held = len(self.rows.validation)
        best = max(logits, key=lambda one: self._reciprocal(one[:held]))
        return np.argsort(-best[held:], axis=1, kind="stable")

    def _tuned(self, tuner: Tuner, candidate: Candidate) -> NDArray[np.float32]:
        from sartor.models.loading import load_tokenizer
        from sartor.models.packed import tokenise
        from sartor.tasks.retrieval.train import load
        from sartor.tune.batching import Tokens
        from sartor.tune.scoring import score

        fitted = tuner(candidate, self.rows.train, self.rows.validation, silent)
        tokenizer = load_tokenizer(fitted.folder)
        tokenizer.enable_truncation(LENGTH)
        ids = tokenise(tokenizer, self.rows.test.texts, self.backbone.prefix)
        return np.concatenate(
            [fitted.validation_logits, score(load(fitted.folder), Tokens(ids, 0))]
        )

    def peer(self, python: str, epochs: int) -> Order:
        train = self.rows.train
        pairs = [(t, n) for t, names in zip(train.texts, train.target, strict=True) for n in names]
        told = {
            "texts": [text for text, _ in pairs],
            "right": [self.words[name] for _, name in pairs],
            "documents": list(self.words.values()),
            "asked": list(self.rows.test.texts),
        }
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "rows.json"
            file.write_text(json.dumps(told), encoding="utf-8")
            script = Path(__file__).with_name("_answers_peer.py")
            command = [python, str(script), self.backbone.path, str(file), "0", str(epochs)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        return np.array(json.loads(said.splitlines()[-1])["order"])

    def scores(self, order: Order) -> NDArray[np.float64]:
        """(test rows, 2): recall among the first ten, and 1 over the place of the first right."""
        return self._scores(order, self.rows.test)

    def _scores(self, order: Order, rows: Examples) -> NDArray[np.float64]:
        ranked = [[self.names[place] for place in row[:100]] for row in order.tolist()]
        right = [frozenset(names) for names in rows.target]
        pairs = zip(ranked, right, strict=True)
        return np.array([(recall(one, all_, 10), reciprocal(one, all_)) for one, all_ in pairs])

    def _reciprocal(self, logits: NDArray[np.float32]) -> float:
        order = np.argsort(-logits, axis=1, kind="stable")
        return float(self._scores(order, self.rows.validation)[:, 1].mean())


def _both(one: Examples, other: Examples) -> Examples:
    inputs = {role: one.inputs[role] + other.inputs[role] for role in one.inputs}
    return Examples(one.ids + other.ids, inputs, one.target + other.target)


def _first(method: str) -> Sequence[Mapping[str, Any]]:
    return settings_of(METHODS.get(method), "retrieval")[:1]


def _mean(values: NDArray[np.float64]) -> Interval:
    return bootstrap([values], lambda parts: float(parts[0].mean()))


def _apart(found: dict[str, Any]) -> list[Line]:
    """Ours less the peers', row by row, and how much longer the peer that trains takes."""
    lines: list[Line] = []
    ours = [name for name in ("nearest", *TUNED) if name in found]
    best = max(ours, key=lambda name: np.mean(found[name]["scores"], 0)[1], default=None)
    pairs = [(best, peer) for peer in ("bm25", "untuned", PEER)]
    pairs += [(name, PEER) for name in ("top_layers", "one-epoch")]
    for name, peer in pairs:
        if name in found and peer in found:
            apart = np.array(found[name]["scores"]) - np.array(found[peer]["scores"])
            what = f"{name}, reciprocal place less"
            lines.append(Line.of(what, _mean(apart[:, 1]), "", against=peer))
    for name in ("top_layers", "full", "one-epoch"):
        if name in found and PEER in found:
            ratio = found[PEER]["seconds"] / found[name]["seconds"]
            lines.append(Line(f"{name}: sooner", ratio, "times", against=PEER, goal="at least 1.5"))
    return lines


def _searched() -> tuple[str, Interval]:
    """Milliseconds of one exact search among as many documents as a bundle takes."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(MOST_DOCUMENTS, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    task, names = TASKS.get("retrieval")(), [f"d{i}" for i in range(MOST_DOCUMENTS)]
    took: list[float] = []
    for _ in range(30):
        query = draw.normal(size=(1, 384)).astype(np.float32)
        began = time.perf_counter()
        task.decode(similar(query / np.linalg.norm(query), vectors), names, {})  # pyright: ignore[reportArgumentType]
        took.append(1000 * (time.perf_counter() - began))
    return f"Exact search among {MOST_DOCUMENTS:,} documents and decoding", median_of(took[5:])


if __name__ == "__main__":
    main()
