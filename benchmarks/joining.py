# pyright: reportFunctionMemberAccess=false
"""Joining candidates: what an ensemble, a stack and a cascade give, and what a cascade costs.

    python -m benchmarks.joining [--splits 4] [--texts 200]

*Score*: on the reviews, MiniLM's frozen heads and word vectors (their portfolios, 500 training
rows) are joined by 400 validation rows and scored on 1,000 others, over several splits, beside the
best single one by validation log-loss. At most four rows in ten may climb in the cascade, from a
model that reads no layer above the third.

*Speed*: single texts of the test file on one thread, int8, MiniLM's first layer in front of all
six; the threshold of the cascade is set so that a given share of these texts climbs. The fastest of
three passes counts for each text. About 5 minutes on two cores.
"""

import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from benchmarks._harness import ROOT, Line, arguments, finish, machine, spread
from tokenizers import Tokenizer

from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_text_backbone
from sartor.models.precision import probe
from sartor.search.cascading import Pair, choose_switch
from sartor.search.pool import choose, losses
from sartor.search.stacking import choose_stack
from sartor.shrink.api import COMPRESSORS, TOKENIZER, Bench, Form
from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner

TRAIN, VALIDATION, TEST, LONGEST = 500, 400, 1_000, 256
CLIMB, HIGHEST_CHEAP = 0.4, 3
SHARES = (0.02, 0.1, 0.3)
PASSES = 3
REVIEWS = ROOT / "examples" / "reviews"


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--texts", type=int, default=200)
    options = parser.parse_args()
    backbone = find_backbone("minilm")
    scores = _scores(backbone, options.splits)
    lines = [
        Line.of(
            f"Accuracy, {name}; median, lowest, highest split",
            spread([100 * x for x in found]),
            "%",
        )
        for name, found in scores.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        times = _times(backbone, Path(folder), options.texts)
    for name, found in times.items():
        for how, value in (
            ("mean", found.mean()),
            ("median", np.median(found)),
            ("95th percentile", np.percentile(found, 95)),
        ):
            lines.append(Line(f"Single texts, {name}: {how}", float(value), "ms"))
    finish("joining", facts, lines, {"scores": scores})


def _scores(backbone: Backbone, splits: int) -> dict[str, list[float]]:
    rows = _rows("reviews.csv") + _rows("test.csv")
    names = sorted({row["label"] for row in rows})
    settings = EncodeSettings(max_length=LONGEST)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Activations(Path(folder) / "activations")
        encoder = TextEncoder(backbone, cache, precision=probe(), settings=settings)
        options = TuneOptions(max_length=LONGEST)
        by_name = {backbone.name: backbone}
        tuner = Tuner(by_name, lambda _: encoder, Path(folder) / "fits", names, options)
        for seed in range(splits):
            order = np.random.default_rng(seed).permutation(len(rows))
            ends = np.cumsum([TRAIN, VALIDATION, TEST])
            parts = [_examples([rows[i] for i in part]) for part in np.split(order, ends)[:3]]
            for name, accuracy in _joined(tuner, backbone, parts, names).items():
                found.setdefault(name, []).append(accuracy)
            print(f"split {seed}: { ({k: round(v[-1], 3) for k, v in found.items()}) }", flush=True)
    return found


def _joined(
    tuner: Tuner, backbone: Backbone, parts: Sequence[Examples], names: Sequence[str]
) -> dict[str, float]:
    """Rule's name to accuracy on the test rows."""
    train, validation, test = parts
    candidates = [
        Candidate(backbone.name, backbone.sha256, method, settings, 0)
        for method in ("static", "head")
        for settings in METHODS.get(method).portfolio()
    ]
    held, asked = (
        np.stack([fit.validation_logits for fit in tuner.heads(candidates, train, rows)])
        for rows in (validation, test)
    )
    truth, answers = (np.array([names.index(x) for x in part.target]) for part in parts[1:])
    best = int(np.argmin([losses(z.astype(np.float64), truth).mean() for z in held]))
    cheap = [i for i, c in enumerate(candidates) if i != best and _is_cheap(c)]
    pairs = [Pair(i, best, CLIMB) for i in cheap]
    switch = choose_switch(held, truth, pairs)

    def accuracy(logits: Floats) -> float:
        return float((logits.argmax(1) == answers).mean())

    return {
        "best single candidate": accuracy(asked[best]),
        "ensemble": accuracy(choose(held, truth).logits(asked)),
        "stack": accuracy(choose_stack(held, truth).logits(asked)),
        "cascade": accuracy(switch.logits(asked)),
        "the cascade's cheap member alone": accuracy(asked[switch.pair.cheap]),
    }


def _is_cheap(candidate: Candidate) -> bool:
    layers = candidate.settings.get("layers", (0,))
    return candidate.method == "static" or 0 <= max(layers) <= HIGHEST_CHEAP


def _times(backbone: Backbone, folder: Path, count: int) -> dict[str, np.ndarray]:
    graphs = {
        name: _graph(backbone, folder, name, layer) for name, layer in (("cheap", 1), ("dear", 6))
    }
    tokenizer = Tokenizer.from_file(str(Path(backbone.path) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    texts = [row["text"] for row in _rows("test.csv")][:count]
    ids = [np.array([found.ids]) for found in tokenizer.encode_batch(texts)]
    cheap = _opened(graphs["cheap"])
    logits = np.concatenate([cheap(each) for each in ids])
    sure = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    forms = {f"{name} alone": _int8(graph) for name, graph in graphs.items()}
    for share in SHARES:
        target = folder / f"cascade{share}.onnx"
        bound = float(np.quantile(sure, share))
        cascade_graphs((graphs["cheap"], 1.0), (graphs["dear"], 1.0), bound, target)
        forms[f"cascade, {share:.0%} climb"] = _int8(target)
    return {name: _timed(_opened(graph), ids) for name, graph in forms.items()}


def _graph(backbone: Backbone, folder: Path, name: str, layer: int) -> Path:
    encoder, _ = load_text_backbone(backbone)
    torch.manual_seed(layer)
    if name == "dear":
        # As fine-tuned: weights of its own, so that nothing is shared with the cheap one.
        with torch.no_grad():
            for tensor in encoder.parameters():
                tensor.add_(torch.randn_like(tensor) * 1e-3)
    model = TextClassifier(encoder, 2, (layer,)).eval()
    model.save(folder / name)
    target = folder / f"{name}.onnx"
    to_onnx(folder / name, "text_classification", target)
    return target


def _int8(graph: Path) -> Path:
    folder, none = graph.with_suffix(".int8"), Examples((), {"text": ()})
    folder.mkdir()
    bench = Bench(
        task="text_classification",
        outputs=("bad", "good"),
        max_length=LONGEST,
        prefix="",
        train=none,
        validation=none,
        answers=lambda form, texts: np.zeros((len(texts), 2), np.float32),
        retrain=None,
        seed=0,
        emit=silent,
    )
    source = Form(graph, graph.parent / TOKENIZER)
    COMPRESSORS.get("int8_dynamic")().compress(source, folder, bench)
    return source.left_in(folder).graph


def _opened(graph: Path) -> Callable[[np.ndarray], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}

    def run(ids: np.ndarray) -> np.ndarray:
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return session.run(None, {name: given[name] for name in names})[0]

    return run


def _timed(run: Callable[[np.ndarray], np.ndarray], ids: Sequence[np.ndarray]) -> np.ndarray:
    """(texts,) milliseconds."""
    best = np.full(len(ids), np.inf)
    for _ in range(PASSES):
        for i, each in enumerate(ids):
            began = time.perf_counter()
            run(each)
            best[i] = min(best[i], 1e3 * (time.perf_counter() - began))
    return best


def _rows(name: str) -> list[dict[str, str]]:
    with (REVIEWS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _examples(rows: Sequence[dict[str, str]]) -> Examples:
    texts = tuple(row["text"] for row in rows)
    return Examples(
        tuple(map(str, range(len(rows)))), {"text": texts}, tuple(row["label"] for row in rows)
    )


if __name__ == "__main__":
    main()
