"""What each compressor costs and saves: size, speed at batch 1 and 8, accuracy, agreement.

    python -m benchmarks.compressors [--rounds 5] [--openvino PYTHON] [--backbone minilm]

A frozen head on MiniLM for the reviews (600 training rows) is exported and compressed, by single
compressors and by chains; beside them the same model in torch, the graph as exported, ONNX
Runtime's dynamic int8 with its own defaults, and, where the Python of a virtual environment with
openvino and nncf is named, OpenVINO's int8 of the same graph, by nncf's recipe for transformers.

Every side answers the same texts on one thread and on two: one at a time, and in batches of eight
of like length. Sides run in turn, in an order that reverses every round; figures are medians over
rounds, ratios medians over the rounds' ratios. Accuracy and agreement with torch are counted on
rows of the test file that nothing was chosen by. Splitting texts into tokens is not timed. About
5 minutes on two quiet cores.
"""

import csv
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    finish,
    machine,
    median_of,
    median_ratio,
)
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.protocols import Floats
from sartor.core.types import Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.precision import probe
from sartor.serve.graph import Graph
from sartor.serve.reading import Reader
from sartor.serve.session import Session
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.tasks.text_classification.train import load
from sartor.tune.fit import TuneOptions, Tuner

TASK, LONGEST = "text_classification", 256
TRAIN, VALIDATION, TEST = 600, 200, 300
SINGLE, BATCHED, BATCH = 16, 48, 8
THREADS = (1, 2)
TORCH, EXPORTED, DEFAULTS = "torch fp32", "exported graph", "ONNX Runtime dynamic int8"
OPENVINO = "OpenVINO int8"
CHAINS = (
    ("fp16",),
    ("optimise_graph",),
    ("trim_vocabulary",),
    ("int8_dynamic",),
    ("int8_static",),
    ("optimise_graph", "int8_dynamic"),
    ("trim_vocabulary", "int8_dynamic"),
    ("trim_vocabulary", "int8_static"),
    ("trim_vocabulary", "optimise_graph", "int8_static"),
)
REVIEWS = ROOT / "examples" / "reviews"
Ids = NDArray[np.int64]
Forward = Callable[[Ids, Ids], Any]
Timed = Callable[[Sequence[tuple[Ids, Ids]]], list[float]]


@dataclass(frozen=True, slots=True)
class Side:
    """One thing that is timed.

    Args:
        name: On the page.
        size: Bytes of graph and tokenizer; 0 where it is not shipped.
        timed: Threads to a function of batches that gives the seconds of each.
        logits: Of texts.
        batches: (one at a time, eight at a time), as (ids, mask).
    """

    name: str
    size: int
    timed: dict[int, Timed]
    logits: Callable[[Sequence[str]], Floats]
    batches: tuple[list[tuple[Ids, Ids]], list[tuple[Ids, Ids]]]


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--openvino", help="Python of an environment with openvino and nncf")
    parser.add_argument("--backbone", default="minilm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        form, bench, test = _fitted(options.backbone, Path(folder))
        sides = _sides(form, bench, Path(folder), options.openvino)
        found = _times(sides, options.rounds)
        lines = [line for side in sides for line in _lines(side, found, test, sides[0])]
    detail = {
        f"{side} {how} {threads} threads": values for (side, how, threads), values in found.items()
    }
    finish("compressors", facts, lines, {"rounds": detail})


def _fitted(name: str, place: Path) -> tuple[Form, Bench, Examples]:
    """The exported model, its bench, and rows that nothing is chosen by."""
    backbone = find_backbone(name)
    rows = _rows("reviews.csv")
    order = np.random.default_rng(0).permutation(len(rows))
    train, held = (
        _examples([rows[i] for i in part])
        for part in np.split(order[: TRAIN + VALIDATION], [TRAIN])
    )
    outputs = sorted(set(train.target))
    settings = EncodeSettings(max_length=LONGEST)
    cache = Activations(place / "activations")
    encoder = TextEncoder(backbone, cache, precision=probe(), settings=settings)
    options = TuneOptions(task=TASK, max_length=LONGEST)
    tuner = Tuner({backbone.name: backbone}, lambda _: encoder, place / "fits", outputs, options)
    candidate = Candidate(backbone.name, backbone.sha256, "head", {"layers": [-1]}, 0)
    fit = tuner(candidate, train, held, silent).folder
    (place / "exported").mkdir()
    to_onnx(fit, TASK, place / "exported" / GRAPH)

    def answers(form: Form, texts: Sequence[str]) -> Floats:
        return _graph(form, backbone.prefix, len(outputs), max(THREADS)).logits(texts)

    bench = Bench(
        task=TASK,
        outputs=tuple(outputs),
        max_length=LONGEST,
        prefix=backbone.prefix,
        train=train,
        validation=held,
        answers=answers,  # pyright: ignore[reportArgumentType]
        retrain=None,
        seed=0,
        emit=silent,
    )
    form = Form(place / "exported" / GRAPH, fit / TOKENIZER, fit)
    return form, bench, _examples(_rows("test.csv")[:TEST])


def _sides(form: Form, bench: Bench, place: Path, openvino: str | None) -> list[Side]:
    """Torch first, then the graph, then what was made of it."""
    torched = _torch_side(form, bench)
    forms = {EXPORTED: form, DEFAULTS: _defaults(form, place / "defaults")}
    for chain in CHAINS:
        made = form
        for done, name in enumerate(chain, 1):
            to = place / "+".join(chain[:done])
            if not to.exists():
                to.mkdir()
                COMPRESSORS.get(name)().compress(made, to, bench)
            made = made.left_in(to)
        forms["+".join(chain)] = made
    sides = [torched, *(_graph_side(name, made, bench) for name, made in forms.items())]
    return sides if openvino is None else [*sides, _openvino_side(openvino, form, bench, place)]


def _torch_side(form: Form, bench: Bench) -> Side:
    assert form.fit is not None
    model = load(form.fit)

    def forward(ids: Ids, mask: Ids) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    def timed(threads: int) -> Timed:
        def run(batches: Sequence[tuple[Ids, Ids]]) -> list[float]:
            torch.set_num_threads(threads)
            return _seconds(forward, batches)

        return run

    def logits(texts: Sequence[str]) -> Floats:
        batches = [_padded([ids]) for ids in _ids(form, bench, texts)]
        return np.concatenate([forward(*batch) for batch in batches])

    size = sum(file.stat().st_size for file in form.fit.glob("*.safetensors"))
    return Side(TORCH, size, {t: timed(t) for t in THREADS}, logits, _batches(form, bench))


def _graph_side(name: str, form: Form, bench: Bench) -> Side:
    sessions = {threads: Session.open(form.graph, threads) for threads in THREADS}

    def timed(threads: int) -> Timed:
        return lambda batches: _seconds(sessions[threads].run, batches)

    return Side(
        name,
        form.graph.stat().st_size + form.tokenizer.stat().st_size,
        {threads: timed(threads) for threads in THREADS},
        lambda texts: bench.answers(form, texts),
        _batches(form, bench),
    )


def _defaults(form: Form, to: Path) -> Form:
    """ONNX Runtime's own quantisation, as its documentation calls it."""
    to.mkdir()
    quantize_dynamic(form.graph, to / GRAPH, weight_type=QuantType.QInt8)
    return form.left_in(to)


def _openvino_side(python: str, form: Form, bench: Bench, place: Path) -> Side:
    """A process of its own, that is told which batches to run and says how long each took."""
    side = _graph_side(OPENVINO, form, bench)
    texts = bench.train.inputs["text"][:TEST]
    test = _rows("test.csv")[:TEST]
    held = [_padded([ids]) for ids in _ids(form, bench, [row["text"] for row in test])]
    given = {"calibration": [_padded([ids]) for ids in _ids(form, bench, texts)]}
    given |= {"single": side.batches[0], "batched": side.batches[1], "test": held}
    arrays = {
        f"{part} {i} {what}": array
        for part, batches in given.items()
        for i, batch in enumerate(batches)
        for what, array in zip(("ids", "mask"), batch, strict=True)
    }
    np.savez(place / "batches.npz", **arrays)  # pyright: ignore[reportArgumentType]
    script = Path(__file__).with_name("_openvino_side.py")
    peer = subprocess.Popen(
        [python, str(script), str(form.graph), str(place / "batches.npz")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert peer.stdin is not None
    assert peer.stdout is not None
    given_in, said = peer.stdin, peer.stdout

    def ask(part: str, threads: int) -> list[float]:
        given_in.write(f"{part} {threads}\n")
        given_in.flush()
        return [float(value) for value in said.readline().split()]

    def timed(threads: int) -> Timed:
        return lambda batches: ask("single" if len(batches[0][0]) == 1 else "batched", threads)

    return replace(
        side,
        size=int(ask("size", 1)[0]),
        timed={threads: timed(threads) for threads in THREADS},
        logits=lambda _: np.array(ask("logits", 1), np.float32).reshape(len(test), -1),
    )


def _times(sides: Sequence[Side], rounds: int) -> dict[tuple[str, str, int], list[float]]:
    """(side, "single" or "batched", threads) to milliseconds a text, one of each round."""
    by_name = {side.name: side for side in sides}
    for side in sides:
        for threads in THREADS:
            side.timed[threads](side.batches[0][:4])
    found: dict[tuple[str, str, int], list[float]] = {}
    for number, name in alternate(list(by_name), rounds):
        side = by_name[name]
        for threads in THREADS:
            single, batched = (side.timed[threads](batches) for batches in side.batches)
            found.setdefault((name, "single", threads), []).append(1e3 * float(np.median(single)))
            each = 1e3 * sum(batched) / BATCHED
            found.setdefault((name, "batched", threads), []).append(each)
        print(f"round {number + 1}, {name}", flush=True)
    return found


def _lines(
    side: Side,
    found: dict[tuple[str, str, int], list[float]],
    test: Examples,
    first: Side,
) -> list[Line]:
    texts, outputs = list(test.inputs["text"]), sorted(set(test.target))
    truth = np.array([outputs.index(label) for label in test.target])
    best, wanted = side.logits(texts).argmax(1), first.logits(texts).argmax(1)
    lines = [Line(f"{side.name}: size", side.size / 1e6, "MB")]
    for threads in THREADS:
        single = median_of(found[side.name, "single", threads])
        batched = median_of([1e3 / v for v in found[side.name, "batched", threads]])
        lines += [
            Line.of(f"{side.name}: one text, {threads} threads", single, "ms"),
            Line.of(
                f"{side.name}: batches of {BATCH}, {threads} threads", batched, "texts a second"
            ),
        ]
    for peer in (TORCH, DEFAULTS):
        if side.name not in (TORCH, EXPORTED, DEFAULTS):
            pairs = [found[name, "batched", max(THREADS)] for name in (peer, side.name)]
            what = f"{side.name}: batches of {BATCH}, {max(THREADS)} threads"
            lines.append(Line.of(what, median_ratio(*pairs), "times", against=peer))
    accuracy, alike = float((best == truth).mean()), float((best == wanted).mean())
    lines.append(Line(f"{side.name}: accuracy", 100 * accuracy, "%"))
    lines.append(Line(f"{side.name}: answers like torch", 100 * alike, "%"))
    return lines


def _seconds(forward: Forward, batches: Sequence[tuple[Ids, Ids]]) -> list[float]:
    found: list[float] = []
    for ids, mask in batches:
        started = time.perf_counter()
        forward(ids, mask)
        found.append(time.perf_counter() - started)
    return found


def _graph(form: Form, prefix: str, outputs: int, threads: int) -> Graph:
    reader = Reader(_tokenizer(form), None, prefix, None, LONGEST, 0)
    return Graph(Session.open(form.graph, threads), reader, outputs)


def _tokenizer(form: Form) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


def _ids(form: Form, bench: Bench, texts: Sequence[str]) -> list[list[int]]:
    encoded = _tokenizer(form).encode_batch_fast([bench.prefix + text for text in texts])
    return [found.ids for found in encoded]


def _batches(form: Form, bench: Bench) -> tuple[list[tuple[Ids, Ids]], list[tuple[Ids, Ids]]]:
    """Validation texts one at a time, and eight of like length at a time."""
    ids = _ids(form, bench, bench.validation.inputs["text"][:BATCHED])
    ranked = sorted(ids, key=len)
    together = [_padded(ranked[i : i + BATCH]) for i in range(0, len(ranked), BATCH)]
    return [_padded([each]) for each in ids[:SINGLE]], together


def _padded(texts: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    shape = len(texts), max(map(len, texts))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, found in enumerate(texts):
        ids[row, : len(found)] = found
        mask[row, : len(found)] = 1
    return ids, mask


def _rows(name: str) -> list[dict[str, str]]:
    with (REVIEWS / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _examples(rows: Sequence[dict[str, str]]) -> Examples:
    ids = tuple(str(i) for i in range(len(rows)))
    texts = tuple(row["text"] for row in rows)
    return Examples(ids, {"text": texts}, tuple(row["label"] for row in rows))


if __name__ == "__main__":
    main()
