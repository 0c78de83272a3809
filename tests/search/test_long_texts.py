"""Long texts: said before training, read in windows where asked, and what that changes is told."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sartor.bundle import Preprocess, Windows, open_bundle, write_bundle
from sartor.core.errors import NothingToShrink
from sartor.core.events import Note
from sartor.core.types import Backbone, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.need.grammar import parse_criterion
from sartor.need.model import Need
from sartor.search.artefact import Artefact
from sartor.search.artefacts import Maker
from sartor.search.assess import Held
from sartor.search.lineage import preprocess_of
from sartor.search.long_texts import tell_of_long_texts
from sartor.search.product import Product
from sartor.serve.runtime import load
from sartor.shrink.api import Form
from sartor.tasks import TASKS
from tests.manifests import draft
from tests.serve.conftest import LABELS, parts
from tests.tiny import make_tiny_bert

__all__ = ["parts"]

LENGTH = 8


def need(how: str, **prefer: int) -> Need:
    return Need.model_validate(
        {
            "name": "tickets",
            "task": "text_classification",
            "data": {"train": "a.csv", "roles": {"text": "text", "label": "label"}},
            "accept": [parse_criterion("accuracy >= 0.8")],
            "prefer": {"long_texts": how, **prefer},
        }
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return find_backbone(str(make_tiny_bert(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture
def make(parts: dict[str, Path], tmp_path: Path) -> Callable[..., tuple[Artefact, list[Note]]]:
    """Artefacts of a graph that says what the most words of a text speak of."""

    def made(how: str, texts: tuple[str, ...], labels: tuple[str, ...]):
        backbone = Backbone("b", "folder", "", "", "MIT", ("en",), 1, 1, 1, max_length=LENGTH)
        read = preprocess_of(need(how), backbone)
        manifest = draft(format=read.format, outputs=list(LABELS), preprocess=read)
        rows = Examples(tuple(map(str, range(len(texts)))), {"text": texts}, labels)
        task = TASKS.get("text_classification")()
        held = Held(task, LABELS, rows, (parse_criterion("accuracy >= 0.5"),), 100)
        place = tmp_path / how
        maker = Maker(
            held, rows, manifest, "", place / "scratch", place / "bundles", no_timing, "here"
        )

        def write(to: Path) -> None:
            shutil.copy(parts["model.onnx"], to / "model.onnx")

        def stage(name: str, build: Callable[[Path], None]) -> Path:
            (place / name).mkdir(parents=True, exist_ok=True)
            build(place / name)
            return place / name

        notes: list[Note] = []
        # As fitted, the model answers by what it was trained to read: the first tokens.
        before = cut_answers(maker, parts, texts)
        kept, _ = maker.make(
            Product("key", parts["tokenizer.json"], write),
            before,
            stage,
            lambda event: notes.append(event) if isinstance(event, Note) else None,
        )
        return kept, notes

    return made


def no_timing(bundle, texts):
    raise AssertionError("nothing is timed")


def cut_answers(maker: Maker, parts: dict[str, Path], texts: tuple[str, ...]):
    read = Preprocess(max_length=LENGTH)
    plain = maker.manifest.model_copy(update={"preprocess": read, "format": 1})
    maker.scratch.mkdir(parents=True)
    drafted = write_bundle(maker.scratch / "before", plain, parts, "")
    return load(drafted.folder, unreleased="allow").predict(list(texts))


LATE = ("hello " * 8 + "money " * 40, "hello " * 8 + "tax " * 40, *["hello"] * 10)
MEANT = ("refund", "invoice", *["other"] * 10)


def test_what_is_shipped_reads_long_texts_as_the_need_says(make):
    cut, notes = make("cut", LATE, MEANT)
    assert notes == []
    assert open_bundle(cut.bundle.folder).manifest.preprocess.windows is None
    assert [a["best"] for a in cut.answers[:2]] == ["other", "other"]

    whole, notes = make("windows", LATE, MEANT)
    manifest = open_bundle(whole.bundle.folder).manifest
    assert (manifest.format, manifest.preprocess.windows is not None) == (2, True)
    assert [a["best"] for a in whole.answers[:2]] == ["refund", "invoice"]
    served = load(whole.bundle.folder, unreleased="allow").predict(list(LATE))
    assert served == list(whole.answers), "what was measured is what is served"
    assert whole.scores["accuracy >= 0.5"] == 1.0
    # The export is held against cut answers, so what windows gain does not pass for its merit.
    assert (whole.parity.agreement, whole.parity.drop) == (1.0, 0.0)
    assert "83.3% of 12 answers alike, accuracy +16.7 points" in manifest.lineage["windows"]
    assert [(note.level, manifest.lineage["windows"] in note.text) for note in notes] == [
        ("info", True)
    ]


def test_windows_that_lose_answers_are_warned_of(make):
    _, notes = make("windows", LATE * 5, ("other",) * 60)
    (note,) = notes
    assert note.level == "warning"
    assert "accuracy -16.7 points" in note.text


def test_a_language_model_reads_what_it_is_sent():
    backbone = Backbone("b", "folder", "", "", "MIT", ("en",), 1, 1, 1, max_length=LENGTH)
    assert preprocess_of(need("windows"), backbone).windows is not None
    asked = replace(backbone, source="llm")
    assert preprocess_of(need("windows"), asked).windows is None


@pytest.mark.parametrize(
    ("how", "level", "said"),
    [("cut", "warning", "`long_texts: windows` under prefer"), ("windows", "info", "in windows")],
)
def test_many_long_texts_are_told_of_before_training(tiny: Backbone, how, level, said: str):
    encoder = TextEncoder(tiny, None, settings=EncodeSettings(max_length=LENGTH))
    notes: list[Note] = []
    texts = ["good product", *["very good product and great price"] * 3] * 10
    tell_of_long_texts(how, encoder, texts, notes.append)
    assert notes == []
    texts[:3] = ["good " * 20] * 3
    tell_of_long_texts(how, encoder, texts, notes.append)
    (note,) = notes
    assert note.text.startswith("8% of the training texts are longer than the 8 tokens")
    assert note.level == level
    assert said in note.text
    assert ("`max_length: 128`" in note.text) == (how == "cut"), "the backbone reads more"


def test_more_than_a_backbone_reads_is_told_of(tiny: Backbone):
    notes: list[Note] = []
    for length in (128, 129):
        encoder = TextEncoder(tiny, None, settings=EncodeSettings(max_length=length))
        tell_of_long_texts("cut", encoder, ["good"], notes.append)
    (note,) = notes
    assert "prefer.max_length is 129" in note.text
    assert "reads at most 128 tokens" in note.text


def test_a_bundle_reads_as_many_tokens_as_the_need_says():
    backbone = Backbone("b", "folder", "", "", "MIT", ("en",), 1, 1, 1, max_length=512)
    assert preprocess_of(need("cut"), backbone).max_length == 256
    assert preprocess_of(need("cut", max_length=64), backbone).max_length == 64
    assert preprocess_of(need("cut", max_length=1024), backbone).max_length == 512


def test_what_is_too_slow_reads_less_of_long_texts(parts: dict[str, Path], tmp_path: Path):
    texts = ("money " * 60, "tax " * 60, *["hello"] * 10)
    rows = Examples(tuple(map(str, range(12))), {"text": texts}, MEANT)
    manifest = draft(outputs=list(LABELS), preprocess=Preprocess(max_length=64))
    criteria = tuple(map(parse_criterion, ("accuracy >= 0.5", "latency_p95_ms <= 20")))
    held = Held(TASKS.get("text_classification")(), LABELS, rows, criteria, 100)

    def timing(bundle, texts):
        return np.full((6, 20), float(bundle.manifest.preprocess.max_length))

    maker = Maker(
        held, rows, manifest, "", tmp_path / "scratch", tmp_path / "bundles", timing, "here"
    )

    def stage(name: str, build: Callable[[Path], None]) -> Path:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        build(tmp_path / name)
        return tmp_path / name

    def write(to: Path) -> None:
        shutil.copy(parts["model.onnx"], to / "model.onnx")

    product = Product("key", parts["tokenizer.json"], write)
    kept, made = maker.make(product, None, stage, lambda _: None)

    assert kept.name.endswith("shorten_texts")
    assert [v.state for v in kept.verdicts] == ["met"]
    bundle = open_bundle(kept.bundle.folder)
    assert bundle.manifest.preprocess.max_length == 16, "a quarter of what is read of a long one"
    assert bundle.manifest.format == 1, "older versions read it"
    assert "cut after 16 tokens" in bundle.path("README.md").read_text("utf-8")
    served = load(bundle.folder, unreleased="allow").predict(list(texts))
    assert served == list(kept.answers), "what was measured is what is served"
    assert kept.parity.drop == 0.0
    whole = next(each for each in made if each.name == "onnx")
    assert whole.bundle.manifest.preprocess.max_length == 64


def test_what_is_answered_piece_by_piece_is_read_as_far_as_before(
    parts: dict[str, Path], tmp_path: Path
):
    def none(bundle, texts):
        raise AssertionError("nothing is timed")

    rows = Examples(("0",), {"text": ("money " * 60,)}, ("refund",))
    held = Held(TASKS.get("text_classification")(), LABELS, rows, (), 100)
    windows = Preprocess(max_length=64, windows=Windows(stride=32, most=4, aggregate="mean"))
    whole = draft(format=2, outputs=list(LABELS), preprocess=windows)
    maker = Maker(held, rows, whole, "", tmp_path, tmp_path / "bundles", none, "here")
    form = Form(parts["model.onnx"], parts["tokenizer.json"])
    with pytest.raises(NothingToShrink, match="all of it read"):
        maker._compressing("shorten_texts", form, lambda _: None, None)(tmp_path)
