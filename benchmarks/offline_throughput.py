# pyright: reportFunctionMemberAccess=false
"""Texts a second offline: our bundles beside torch, ONNX Runtime's own int8 and OpenVINO's.

    python -m benchmarks.offline_throughput [BUNDLE] [--rounds 5] [--texts 1000] [--students]
        [--openvino-python PYTHON] [--work FOLDER]

One head on MiniLM is fitted to the reviews, and answers test texts as our float bundle, as our int8
bundles (a range a batch, or a range a token), through torch in float32, as ONNX Runtime's
`quantize_dynamic` makes it, and as OpenVINO and nncf make it; a BUNDLE of the reviews that is given
answers the same texts too. With --students so does a smaller model in int8, of three layers with
half the neurons, that learnt from the model's answers on the labelled reviews and on 3,000 without
a label, and so do two forms that read less of long texts: of our int8 bundle and of the student.
Every side is a process of its own that has loaded; all get the same texts and threads, and take
turns. The peers sort by length and pad batches of 32. OpenVINO is measured where a Python that has
openvino, nncf and tokenizers is named. Under --work the forms are kept, so that a second run only
measures. About 6 minutes, of which 2 make the forms, and 15 more for the student.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    bootstrap,
    finish,
    gate,
    machine,
    median_ratio,
    spread,
)
from benchmarks._offline_students import STUDENTS, make_students, shorten

from sartor.bundle import Manifest, Preprocess, write_bundle
from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.types import Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.precision import probe
from sartor.serve.cores import cores
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.tasks import TASKS
from sartor.tune.api import METHODS
from sartor.tune.fit import TuneOptions, Tuner

REVIEWS = ROOT / "examples" / "reviews"
SIDE = Path(__file__).with_name("_offline_side.py")
TEXTS = "texts.json"
LONGEST, TRAIN, VALIDATION = 256, 800, 200
FLOAT, INT8, GIVEN = "ours, fp32", "ours, int8", "ours, the bundle given"
ROWS = "ours, int8 by token"
SMALLER = {name: f"ours, a student of {name[-1]} layers, int8" for name in STUDENTS}
SHORTER = {"int8-short": INT8, "student-3-short": SMALLER["student-3"]}
SMALLER |= {name: f"{side}, less of long texts" for name, side in SHORTER.items()}
TORCH, PLAIN, OPENVINO = "torch fp32", "ONNX Runtime dynamic int8", "OpenVINO int8"
GOALS = {TORCH: "at least 10", PLAIN: "at least 3", OPENVINO: "at least 1.5"}
COMPRESSED = {"int8": "int8_dynamic", "rows": "int8_rows"}
LOST = 0.01
"""Accuracy that the faster side may lose against the peer before the ratio no longer counts."""


@dataclass(frozen=True, slots=True)
class Side:
    """How a side is started, and what of it lies on the disk."""

    kind: str
    model: Path
    python: str = sys.executable

    @property
    def megabytes(self) -> float:
        """Model and tokenizer: a bundle's folder, or the files with the weights."""
        if self.model.is_dir() and self.kind == "ours":
            files = [self.model / GRAPH, self.model / TOKENIZER]
        elif self.kind == "torch":
            files = [*self.model.glob("*.safetensors"), self.model / TOKENIZER]
            files = [file for file in files if file.name != "logits.safetensors"]
        elif self.kind == "openvino":
            folder = self.model.parent
            files = [folder / "openvino.xml", folder / "openvino.bin", folder / TOKENIZER]
        else:
            files = [self.model, self.model.with_name(TOKENIZER)]
        return sum(file.stat().st_size for file in files) / 1e6


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, help="a bundle of the reviews to add")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--students", action="store_true", help="measure smaller models too")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--openvino-python", help="a Python with openvino, nncf and tokenizers")
    parser.add_argument("--work", type=Path, help="folder to keep the forms in")
    given = parser.parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        place = given.work or Path(folder)
        if not (place / TEXTS).exists():
            place.mkdir(parents=True, exist_ok=True)
            prepare(place, given.texts)
        if given.students:
            add_students(place)
        truth = np.array(json.loads((place / TEXTS).read_text())["truth"])
        sides = made(place, given)
        with ExitStack() as stack:
            running = {
                name: stack.enter_context(started(side, place, given.threads))
                for name, side in sides.items()
            }
            taken: dict[str, list[float]] = {name: [] for name in sides}
            labels: dict[str, list[int]] = {}
            for number, name in alternate(list(sides), given.rounds):
                found = asked(running[name])
                taken[name].append(found["seconds"])
                labels[name] = found["labels"]
                print(f"round {number}, {name}: {found['seconds']:.2f} s", flush=True)
        sizes = {name: side.megabytes for name, side in sides.items()}
    right = {name: np.array(found) == truth for name, found in labels.items()}
    lines = [*described(taken, right, sizes), *compared(taken, right)]
    accuracy = {name: float(each.mean()) for name, each in right.items()}
    detail = {"seconds": taken, "accuracy": accuracy, "megabytes": sizes, "texts": len(truth)}
    finish("offline_throughput", facts, lines, {**detail, "threads": given.threads})


def prepare(place: Path, texts: int) -> None:
    """Fit the head, write every form of it, and last the texts with their labels' numbers."""
    rows, asked = read("reviews.csv"), read("test.csv")[:texts]
    tuner, bench = tools(place)
    backbone = find_backbone("minilm")
    head = next(iter(METHODS.get("head").portfolio()))
    candidate = Candidate(backbone.name, backbone.sha256, "head", head, 0)
    fit = tuner(candidate, bench.train, bench.validation, silent).folder
    (place / "fit").symlink_to(fit)
    for name in ("exported", "float", *COMPRESSED):
        (place / name).mkdir()
    to_onnx(fit, "text_classification", place / "exported" / GRAPH)
    form = whole(place)
    # As every search has it first: it changes no answer.
    COMPRESSORS.get("optimise_graph")().compress(form, place / "float", bench)
    for name, compressor in COMPRESSED.items():
        COMPRESSORS.get(compressor)().compress(form.left_in(place / "float"), place / name, bench)
    for name in ("float", *COMPRESSED):
        pack(place, name, bench)
    for peer in ("onnxruntime", "openvino"):
        (place / peer).mkdir()
        (place / peer / GRAPH).write_bytes((place / "exported" / GRAPH).read_bytes())
        (place / peer / TOKENIZER).write_bytes((fit / TOKENIZER).read_bytes())
    plain_int8(place / "onnxruntime" / GRAPH)
    written = {
        "train": [backbone.prefix + row["text"] for row in rows[:TRAIN]],
        "test": [backbone.prefix + row["text"] for row in asked],
        "truth": [bench.outputs.index(row["label"]) for row in asked],
    }
    (place / TEXTS).write_text(json.dumps(written))


def add_students(place: Path) -> None:
    """Make the smaller models too, where they are not there."""
    tuner, bench = tools(place)
    if not all((place / f"{name}-bundle").exists() for name in STUDENTS):
        _students(place, tuner, bench)
    for name in SHORTER:
        if not (place / f"{name}-bundle").exists():
            source = whole(place).left_in(place / name.removesuffix("-short"))
            shutil.rmtree(place / name, ignore_errors=True)
            found = shorten(whole(place), source, bench, place / name)
            print(f"{name}: {found.max_length} tokens of a text are read", flush=True)
            pack(place, name, bench, found.max_length)


def _students(place: Path, tuner: Tuner, bench: Bench) -> None:
    more = examples(read("reviews.csv")[TRAIN + VALIDATION :])
    for name in STUDENTS:
        for left in place.glob(f"{name}*"):  # what a stopped turn left
            shutil.rmtree(left)
    make_students(whole(place), bench, tuner, more, place)
    for name in STUDENTS:
        pack(place, name, bench)


def tools(place: Path) -> tuple[Tuner, Bench]:
    """What fits and compresses."""
    rows = read("reviews.csv")
    names = tuple(sorted({row["label"] for row in rows}))
    backbone = find_backbone("minilm")
    settings = EncodeSettings(max_length=LONGEST)
    cache = Activations(place / "activations")
    encoder = TextEncoder(backbone, cache, precision=probe(), settings=settings)
    options = TuneOptions(max_length=LONGEST)
    known = {backbone.name: backbone}
    tuner = Tuner(known, lambda _: encoder, place / "fits", names, options)
    bench = Bench(
        task="text_classification",
        outputs=names,
        max_length=LONGEST,
        prefix=backbone.prefix,
        train=examples(rows[:TRAIN]),
        validation=examples(rows[TRAIN : TRAIN + VALIDATION]),
        answers=lambda form, texts: np.zeros((len(texts), len(names)), np.float32),
        retrain=None,
        seed=0,
        emit=silent,
    )
    return tuner, bench


def whole(place: Path) -> Form:
    """The model as it was fitted."""
    fit = (place / "fit").resolve()
    return Form(place / "exported" / GRAPH, fit / TOKENIZER, fit)


def pack(place: Path, name: str, bench: Bench, length: int | None = None) -> None:
    """Write a form as a bundle that reads so many tokens of a text."""
    content = {GRAPH: place / name / GRAPH, TOKENIZER: place / "fit" / TOKENIZER}
    about = manifest(bench.outputs, bench.prefix, length or LONGEST)
    write_bundle(place / f"{name}-bundle", about, content, "")


def manifest(names: Sequence[str], prefix: str, length: int) -> Manifest:
    assert not prefix, "the peers are given texts with the prefix"
    task = TASKS.get("text_classification")()
    return Manifest(
        format=1,
        id="",
        name="offline",
        task="text_classification",
        inputs=dict(task.roles.inputs),
        outputs=list(names),
        decision={},
        preprocess=Preprocess(max_length=length),
        files={},
        need={},
        lineage={},
    )


def plain_int8(graph: Path) -> None:
    """What a user gets from ONNX Runtime's documentation: its own tool with its own defaults."""
    from onnxruntime.quantization import quantize_dynamic

    small = graph.with_suffix(".int8")
    quantize_dynamic(graph, small)
    small.replace(graph)


def made(place: Path, given: argparse.Namespace) -> dict[str, Side]:
    sides = {
        INT8: Side("ours", place / "int8-bundle"),
        ROWS: Side("ours", place / "rows-bundle"),
        FLOAT: Side("ours", place / "float-bundle"),
        TORCH: Side("torch", place / "fit"),
        PLAIN: Side("onnxruntime", place / "onnxruntime" / GRAPH),
    }
    if given.bundle is not None:
        sides[GIVEN] = Side("ours", given.bundle.resolve())
    if given.students:
        for name, side in SMALLER.items():
            sides[side] = Side("ours", place / f"{name}-bundle")
    if given.openvino_python:
        sides[OPENVINO] = Side("openvino", place / "openvino" / GRAPH, given.openvino_python)
    return sides


@contextmanager
def started(side: Side, place: Path, threads: int) -> Iterator["subprocess.Popen[str]"]:
    """A side that has loaded and answered a few texts."""
    tokenizer, texts = place / "fit" / TOKENIZER, place / TEXTS
    command = [side.python, str(SIDE), side.kind, str(side.model), str(tokenizer), str(texts)]
    command += [str(threads), str(LONGEST)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    pipes: Mapping[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            if said(process.stdout) != "ready":
                raise SystemExit(f"{side.kind} did not start: {' '.join(command)}")
            yield process
        finally:
            process.kill()


def asked(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return json.loads(said(process.stdout))


def said(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def described(
    taken: Mapping[str, list[float]], right: Mapping[str, np.ndarray], sizes: Mapping[str, float]
) -> list[Line]:
    lines: list[Line] = []
    for name, seconds in taken.items():
        rates = spread([len(right[name]) / each for each in seconds])
        lines.append(Line.of(f"Texts, {name}; median, slowest, fastest round", rates, "a second"))
        share = bootstrap([right[name]], lambda parts: 100 * float(parts[0].mean()))
        lines.append(Line.of(f"Accuracy, {name}", share, "%"))
        if name != TORCH:
            pair = right[name].astype(float) - right[TORCH]
            apart = bootstrap([pair], lambda parts: 100 * float(parts[0].mean()))
            lines.append(Line.of(f"Accuracy, {name}, less", apart, "points", against=TORCH))
        lines.append(Line(f"Model and tokenizer, {name}", sizes[name], "MB"))
    return lines


def compared(taken: Mapping[str, list[float]], right: Mapping[str, np.ndarray]) -> list[Line]:
    """Each of our sides against each peer, and whether it buys its speed with quality."""
    lines: list[Line] = []
    for mine in (INT8, ROWS, *SMALLER.values(), FLOAT, GIVEN):
        for peer in (TORCH, PLAIN, OPENVINO):
            if mine not in taken or peer not in taken:
                continue
            loss = float(right[peer].mean() - right[mine].mean())
            fault = gate(loss <= LOST, f"accuracy {100 * loss:.1f} points below")
            ratio = median_ratio(taken[peer], taken[mine])
            what = f"Texts a second, {mine}{fault}"
            goal = "" if mine == FLOAT else GOALS[peer]
            lines.append(Line.of(what, ratio, "times", against=peer, goal=goal))
    return lines


def read(name: str) -> list[dict[str, str]]:
    with (REVIEWS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def examples(rows: Sequence[dict[str, str]]) -> Examples:
    texts = tuple(row["text"] for row in rows)
    labels = tuple(row["label"] for row in rows)
    return Examples(tuple(map(str, range(len(rows)))), {"text": texts}, labels)


if __name__ == "__main__":
    main()
