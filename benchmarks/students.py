# pyright: reportFunctionMemberAccess=false
"""Compressors that train: size, time of single texts and accuracy of each, beside the whole model.

    python -m benchmarks.students [--rows 1500] [--cut 256] [--work FOLDER] [--only NAME ...]

MiniLM is tuned in full on reviews; each compressor makes its form of it, with its default settings,
and `int8_dynamic` one of that. *Accuracy* and agreement with the whole model are on the test
reviews, before training again (weights taken out, nothing learnt) and after it. *Time* is that of
100 single test texts on one thread of ONNX Runtime, all forms in turn, order reversed every other
pass; the fastest of three passes counts for each text. *Minutes* are those of making the form.

With `--work` what was made is kept, so that it can be done in turns: `--only NAME` makes one form
and measures nothing. About 20 minutes on two cores.
"""

import csv
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from benchmarks._harness import ROOT, Line, alternate, arguments, bootstrap, finish, machine
from tokenizers import Tokenizer

from sartor.core.errors import NothingToShrink
from sartor.core.events import silent
from sartor.core.protocols import Fitted, Floats
from sartor.core.types import Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.search.retraining import Retraining
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.tune.fit import TuneOptions, Tuner

REVIEWS = ROOT / "examples" / "reviews"
TASK, PASSES = "text_classification", 3
TEXTS = 100
WHOLE: Mapping[str, Any] = {"lr": 1e-4, "epochs": 3}
NAMES = [name for name in COMPRESSORS.names() if COMPRESSORS.get(name).trains]
INT8 = "int8_dynamic"


@dataclass(frozen=True, slots=True)
class Made:
    """A form, and what it took.

    Args:
        form: As the compressor left it.
        int8: The same, quantised; without a graph where there was nothing to quantise.
        minutes: Of making the form.
        before: Test accuracy before training again; None where nothing was trained through it.
    """

    form: Form
    int8: Form
    minutes: float
    before: float | None


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_500)
    parser.add_argument("--cut", type=int, default=256, help="tokens a text is cut at")
    parser.add_argument("--tests", type=int, default=1_000, help="test rows")
    parser.add_argument("--work", type=Path, help="folder to keep what was made in")
    parser.add_argument("--only", nargs="*", help=f"among whole, {', '.join(NAMES)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(options.work or Path(folder), options.rows, options.tests, options.cut)
        if options.only:
            for name in options.only:
                print(name, shop.made(name), flush=True)
            return
        sides = {name: shop.made(name) for name in ["whole", *NAMES]}
        lines, detail = measured(sides, shop)
    finish("students", facts, lines, detail)


class Shop:
    """Makes forms, each once."""

    def __init__(self, work: Path, rows: int, tests: int, cut: int) -> None:
        self.work, self.cut = work.resolve(), cut
        train, held = _rows("reviews.csv"), max(rows // 3, 100)
        order = np.random.default_rng(0).permutation(len(train))[: rows + held].tolist()
        self.train, self.held = (
            _examples([train[i] for i in part]) for part in (order[:rows], order[rows:])
        )
        self.test = _examples(_rows("test.csv")[:tests])
        self.outputs = tuple(sorted(set(self.train.target)))
        self.backbone = find_backbone("minilm")
        self.tuner = Tuner(
            {self.backbone.name: self.backbone},
            lambda backbone: None,  # type: ignore[arg-type, return-value]
            self.work / "fits",
            self.outputs,
            TuneOptions(max_length=cut, checkpoint_seconds=20),
        )

    def made(self, name: str) -> Made:
        folder = self.work / name
        record = folder / "made.json"
        if not record.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a stopped turn left
            folder.mkdir(parents=True)
            started = time.perf_counter()
            before = self._make_whole(folder) if name == "whole" else self._make(name, folder)
            minutes = (time.perf_counter() - started) / 60
            (folder / INT8).mkdir(exist_ok=True)
            if name != "quantise_aware":  # its graph is of int8 already
                with suppress(NothingToShrink):  # a table of scores has no product
                    bench = self._bench(None)
                    COMPRESSORS.get(INT8)().compress(self._form(name), folder / INT8, bench)
            record.write_text(json.dumps({"minutes": minutes, "before": before}))
        form = self._form(name)
        return Made(form, form.left_in(folder / INT8), **json.loads(record.read_text()))

    def _form(self, name: str) -> Form:
        whole = self.work / "whole"
        found = Form(whole / GRAPH, whole / TOKENIZER, whole / "fit")
        return found if name == "whole" else found.left_in(self.work / name)

    def _make_whole(self, folder: Path) -> None:
        fitted = self.tuner(
            Candidate(self.backbone.name, self.backbone.sha256, "full", WHOLE, 0),
            self.train,
            self.held,
            silent,
        )
        (folder / "fit").symlink_to(fitted.folder)
        (folder / TOKENIZER).write_bytes((fitted.folder / TOKENIZER).read_bytes())
        to_onnx(fitted.folder, TASK, folder / GRAPH)

    def _make(self, name: str, folder: Path) -> float | None:
        self.made("whole")
        train, held, prefix = self.train, self.held, self.backbone.prefix
        retrain = Retraining(self.tuner, train, held, prefix, self.cut, 0, silent)
        asked = Asked(self, retrain)
        COMPRESSORS.get(name)().compress(self._form("whole"), folder, self._bench(asked))
        return asked.before

    def _bench(self, retrain: Any) -> Bench:
        return Bench(
            TASK,
            self.outputs,
            self.cut,
            self.backbone.prefix,
            self.train,
            self.held,
            self.answers,  # pyright: ignore[reportArgumentType]
            retrain,
            0,
            silent,
        )

    def tokenised(self, form: Form, texts: Sequence[str]) -> list[dict[str, np.ndarray]]:
        """What a session is fed, text by text."""
        tokenizer = Tokenizer.from_file(str(form.tokenizer))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.cut)
        prefixed = [self.backbone.prefix + text for text in texts]
        rows = [np.array([e.ids], np.int64) for e in tokenizer.encode_batch(prefixed)]
        return [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in rows]

    def answers(self, form: Form, texts: Sequence[str]) -> Floats:
        """(texts, outputs) logits, text by text."""
        session = _session(form)
        return np.concatenate([session.run(None, fed)[0] for fed in self.tokenised(form, texts)])  # pyright: ignore[reportArgumentType, reportCallIssue]

    def right(self, logits: Floats) -> np.ndarray:
        """(test rows,) whether the answer is the label."""
        truth = np.array([self.outputs.index(label) for label in self.test.target])
        return logits.argmax(1) == truth


class Asked:
    """A `Retrain` that first asks what it starts from."""

    def __init__(self, shop: Shop, retrain: Retraining) -> None:
        self.shop, self.retrain, self.before = shop, retrain, None

    def __call__(
        self, start: Path, settings: Mapping[str, Any], teacher: Floats | None = None
    ) -> Fitted:
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / GRAPH
            to_onnx(start, TASK, graph)
            form = Form(graph, start / TOKENIZER)
            found = self.shop.answers(form, self.shop.test.inputs["text"])
        self.before = float(self.shop.right(found).mean())
        return self.retrain(start, settings, teacher)


def measured(sides: Mapping[str, Made], shop: Shop) -> tuple[list[Line], dict[str, Any]]:
    """The lines, and what they were computed from."""
    forms = {
        f"{name}{kind}": form
        for name, made in sides.items()
        for kind, form in (("", made.form), (f" + {INT8}", made.int8))
        if form.graph.exists()
    }
    texts = shop.test.inputs["text"]
    logits = {name: shop.answers(form, texts) for name, form in forms.items()}
    times = timed(forms, shop.tokenised(sides["whole"].form, texts[:TEXTS]))
    best = {name: logits[name].argmax(1) for name in forms}
    right = {name: shop.right(logits[name]) for name in forms}
    lines: list[Line] = []
    for name, form in forms.items():
        made = sides[name.removesuffix(f" + {INT8}")]
        size = (form.graph.stat().st_size + form.tokenizer.stat().st_size) / 1e6
        lines.append(Line(f"{name}: graph and tokenizer", size, "MB"))
        pair = np.column_stack([times[name], times["whole"]])
        speed = bootstrap([pair], lambda p: float(p[0][:, 1].sum() / p[0][:, 0].sum()))
        lines.append(Line.of(f"{name}: single texts", speed, "times", against="whole"))
        share = bootstrap([right[name]], lambda p: 100 * float(p[0].mean()))
        lines.append(Line.of(f"{name}: test accuracy", share, "%"))
        agreed = bootstrap([best[name] == best["whole"]], lambda p: 100 * float(p[0].mean()))
        lines.append(Line.of(f"{name}: answers as the whole", agreed, "%"))
        if name in sides:
            lines.append(Line(f"{name}: making it", made.minutes, "minutes"))
        if name in sides and made.before is not None:
            what = f"{name}: test accuracy before training again"
            lines.append(Line(what, 100 * made.before, "%"))
    return lines, {"milliseconds": {name: found.tolist() for name, found in times.items()}}


def timed(
    forms: Mapping[str, Form], fed: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """(texts,) milliseconds of each form, the fastest of the passes."""
    sessions = {name: _session(form) for name, form in forms.items()}
    for session in sessions.values():
        session.run(None, fed[0])
    found = {name: np.full(len(fed), np.inf) for name in forms}
    for i, one in enumerate(fed):
        for _, name in alternate(list(forms), PASSES):
            started = time.perf_counter()
            sessions[name].run(None, one)
            found[name][i] = min(found[name][i], 1000 * (time.perf_counter() - started))
    return found


def _session(form: Form) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(form.graph, settings, providers=["CPUExecutionProvider"])


def _examples(rows: Sequence[Mapping[str, str]]) -> Examples:
    return Examples(
        tuple(row["id"] for row in rows),
        {"text": tuple(row["text"] for row in rows)},
        tuple(row["label"] for row in rows),
    )


def _rows(name: str) -> list[dict[str, str]]:
    with (REVIEWS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
