"""A tiny model that has learnt something, and a bench on which others can learn from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from tokenizers import Tokenizer

from sartor.core.events import silent
from sartor.core.types import Candidate
from sartor.search.retraining import Retraining
from sartor.shrink.api import COMPRESSORS, FIT, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.tune.fit import TuneOptions, Tuner
from tests.shrink.runs import logits
from tests.tune.killed import NoFeatures, reviews, tiny_backbone

OUTPUTS = ("great", "other")
TRAIN, HELD = reviews(240, 1), reviews(120, 2)
LAYERS = 4
LENGTH = 64


@dataclass(frozen=True)
class School:
    """What compressors that train are tested on."""

    form: Form
    bench: Bench

    def compressed(self, name: str, to: Path, **settings: object) -> Form:
        """The form that a compressor left."""
        to.mkdir()
        COMPRESSORS.get(name)(**settings).compress(self.form, to, self.bench)
        return self.form.left_in(to)


def answers(form: Form, texts: Sequence[str]) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding()
    found = tokenizer.encode_batch(list(texts))
    ids = np.array([e.ids for e in found])
    return logits(form.graph, ids, np.array([e.attention_mask for e in found]))


def right(form: Form) -> float:
    """Accuracy on rows that nothing was fitted on."""
    truth = [OUTPUTS.index(label) for label in HELD.target]
    return float((answers(form, HELD.inputs["text"]).argmax(1) == truth).mean())


def matrices(graph: Path) -> int:
    """Numbers in matrices that are multiplied with, tables of words aside."""
    model = onnx.load(graph)
    taken = {name for node in model.graph.node if node.op_type in PRODUCTS for name in node.input}
    return sum(
        int(np.prod(t.dims))
        for t in model.graph.initializer
        if t.name in taken and len(t.dims) == 2
    )


PRODUCTS = ("MatMul", "Gemm")


def school(place: Path, layers: Sequence[int] = (2, 4)) -> School:
    """Train the whole model and put it on a bench."""
    backbone = tiny_backbone(place / "tiny", layers=LAYERS)
    options = TuneOptions(max_length=LENGTH)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), place / "fits", OUTPUTS, options)
    settings = {"epochs": 8, "lr": 3e-3, "head_lr": 3e-3, "batch_rows": 16, "patience": 99}
    candidate = Candidate("tiny", "0" * 64, "full", {**settings, "layers": list(layers)}, seed=1)
    fitted = tuner(candidate, TRAIN, HELD, silent)
    (place / "whole").mkdir()
    graph = place / "whole" / GRAPH
    to_onnx(fitted.folder, "text_classification", graph)
    bench = Bench(
        task="text_classification",
        outputs=OUTPUTS,
        max_length=LENGTH,
        prefix="",
        train=TRAIN,
        validation=HELD,
        answers=answers,
        retrain=Retraining(tuner, TRAIN, HELD, "", LENGTH, 1, silent),
        seed=1,
        emit=silent,
    )
    return School(Form(graph, fitted.folder / TOKENIZER, fitted.folder), bench)


def hashes(folder: Path) -> dict[str, bytes]:
    """Every file's content, below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def check_laws(pupils: School, name: str, place: Path, **settings: object) -> Form:
    """What holds for all that train: the source stays, and there is no trace of here. That the same
    bytes come again is among the shipped laws (`testing.compressors`)."""
    assert pupils.form.fit is not None
    before = hashes(pupils.form.fit) | hashes(pupils.form.graph.parent)
    made = pupils.compressed(name, place / "one", **settings)

    assert hashes(pupils.form.fit) | hashes(pupils.form.graph.parent) == before
    left = hashes(place / "one")
    assert set(left) >= {GRAPH, f"{FIT}/{TOKENIZER}", f"{FIT}/classifier.json"}
    traces = (str(place).encode(), b"site-packages", b"/src/sartor", b"/tmp/")
    assert not [path for path, content in left.items() for t in traces if t in content]
    assert (place / "one" / GRAPH).read_bytes() != pupils.form.graph.read_bytes()
    return made
