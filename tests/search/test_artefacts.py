"""Down the ladder: the cheapest artefact that holds is kept, and only what may be kept is timed."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from sartor.bundle import Bundle, Manifest, open_bundle, record_verdicts, write_bundle
from sartor.core.events import Event, Note, silent
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.need.verdict import Verdict
from sartor.search.artefact import Artefact
from sartor.search.artefacts import Maker
from sartor.search.assess import Held
from sartor.search.product import Product
from sartor.search.publishing import publish
from sartor.serve.runtime import load
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.parity import Parity
from sartor.tasks import TASKS
from tests.manifests import draft
from tests.serve.conftest import LABELS, parts

__all__ = ["parts"]

ROWS = Examples(("1", "2"), {"text": ("a", "b")}, ("good", "bad"))
ANSWERS = tuple(
    {"label": la, "best": la, "probabilities": {"good": p, "bad": 1 - p}}
    for la, p in (("good", 0.9), ("bad", 0.1))
)
GOOD = Parity(1.0, 0.0, 0.0, 0.0, 100, 0.02)
WORSE = Parity(0.9, 0.05, 0.08, 0.3, 100, 0.02)


def manifest(**more: Any) -> Manifest:
    plain = {"name": "reviews", "outputs": ["bad", "good"], "need": {"name": "reviews"}}
    return draft(**plain | {"lineage": {"seed": 0}} | more)


def written(folder: Path, text: str = "name: reviews\n", **more: Any) -> Bundle:
    source = folder.with_suffix(".content")
    source.write_bytes(b"graph")
    return write_bundle(folder, manifest(**more), {"model.onnx": source}, text)


class Timed:
    """A clock: milliseconds by the bundle's folder name."""

    def __init__(self, **milliseconds: float) -> None:
        self.milliseconds, self.asked = milliseconds, list[str]()

    def __call__(self, bundle: Bundle, texts: Sequence[str]) -> Any:
        self.asked.append(bundle.folder.name)
        return np.full((6, 20), self.milliseconds[bundle.folder.name])


def maker(place: Path, timing: Timed, *criteria: str, text: str = "name: reviews\n") -> Maker:
    held = Held(
        TASKS.get("text_classification")(),
        ("bad", "good"),
        ROWS,
        tuple(parse_criterion(c) for c in criteria),
        100,
    )
    return Maker(held, ROWS, manifest(), text, place / "scratch", place / "bundles", timing, "here")


def artefact(
    place: Path,
    name: str,
    size: float,
    *,
    parity: Parity = GOOD,
    chance: float = 0.9,
    unmet: str = "",
) -> Artefact:
    verdicts = (Verdict(unmet, size, size, size, 0, "unmet"),) if unmet else ()
    bundle = written(place / name)
    answers = cast("Any", ANSWERS)
    return Artefact(name, bundle, parity, size, verdicts, chance, {}, answers)


def picked(made: Maker, *artefacts: Artefact) -> tuple[str, dict[str, str]]:
    everything, best = made._cheapest(artefacts, silent)
    return best.name, {a.name: a.why for a in everything}


@pytest.mark.parametrize(
    ("small", "kept"),
    [
        ({}, "int8"),
        ({"parity": WORSE}, "onnx"),
        ({"chance": 0.7}, "onnx"),
        ({"chance": 0.85}, "int8"),
        ({"unmet": "size_mb <= 10"}, "onnx"),
    ],
)
def test_the_smallest_that_holds_is_kept(tmp_path: Path, small: dict[str, Any], kept: str):
    made = maker(tmp_path, Timed(), "accuracy >= 0.8")
    pair = artefact(tmp_path, "onnx", 88), artefact(tmp_path, "int8", 22, **small)
    assert picked(made, *pair)[0] == kept


def test_one_that_is_enough_is_not_given_up_for_a_cheaper_one_on_the_threshold(tmp_path: Path):
    made = maker(tmp_path, Timed(), "accuracy >= 0.8")
    pair = artefact(tmp_path, "onnx", 88, chance=0.83), artefact(tmp_path, "int8", 22, chance=0.79)
    assert picked(made, *pair)[0] == "onnx"
    both = replace(pair[0], chance=0.7), replace(pair[1], chance=0.66)
    assert picked(made, *both)[0] == "int8", "where none is enough, size counts"


def test_where_none_holds_parity_counts_before_size(tmp_path: Path):
    made = maker(tmp_path, Timed(), "accuracy >= 0.8")
    large = artefact(tmp_path, "onnx", 88, unmet="size_mb <= 10")
    broken = artefact(tmp_path, "int8", 9, parity=WORSE)
    assert picked(made, large, broken)[0] == "onnx"


def test_where_none_is_fast_enough_the_nearest_counts_before_size(tmp_path: Path):
    clock = Timed(onnx=60.0, int8=50.0, short=29.0, other=28.5)
    made = maker(tmp_path, clock, "latency_p95_ms <= 20")
    sizes = {"onnx": 487, "int8": 135, "short": 137, "other": 138}
    forms = [artefact(tmp_path, name, size) for name, size in sizes.items()]
    assert picked(made, *forms)[0] == "short", "half a millisecond is noise, and then size counts"


def test_a_student_that_may_meet_the_need_goes_before_what_cannot(tmp_path: Path):
    clock = Timed(onnx=50.0, int8=40.0, student=1.0, slow=30.0)
    made = maker(tmp_path, clock, "latency_p95_ms <= 20")
    whole = artefact(tmp_path, "onnx", 88, unmet="size_mb <= 10")
    student, slow = (
        replace(artefact(tmp_path, name, size, parity=WORSE, chance=chance), trained=True)
        for name, size, chance in (("student", 4, 0.4), ("slow", 2, 0.9))
    )
    assert picked(made, whole, slow, student)[0] == "student"
    assert clock.asked == ["slow", "student"]
    hopeless = replace(student, chance=0.0)
    assert picked(made, whole, hopeless)[0] == "onnx", "it cannot meet the need either"
    small = artefact(tmp_path, "int8", 9)
    assert picked(maker(tmp_path, Timed(int8=2.0), "latency_p95_ms <= 20"), whole, small, student)[
        0
    ] == ("int8"), "what answers like the fitted model goes first"


def test_a_smaller_one_that_is_too_slow_loses_and_only_candidates_are_timed(tmp_path: Path):
    clock = Timed(onnx=5.0, int8=40.0, tiny=1.0)
    made = maker(tmp_path, clock, "latency_p95_ms <= 20")
    trio = (
        artefact(tmp_path, "onnx", 88),
        artefact(tmp_path, "int8", 22),
        artefact(tmp_path, "tiny", 4, parity=WORSE),
    )
    assert picked(made, *trio)[0] == "onnx"
    assert clock.asked == ["int8", "onnx"], "the one that broke parity is not worth timing"


def test_larger_ones_are_not_timed_once_one_holds(tmp_path: Path):
    clock = Timed(onnx=5.0, int8=4.0)
    made = maker(tmp_path, clock, "latency_p95_ms <= 20")
    assert picked(made, artefact(tmp_path, "onnx", 88), artefact(tmp_path, "int8", 22))[0] == "int8"
    assert clock.asked == ["int8"]


def test_a_form_is_measured_without_being_timed(tmp_path: Path, parts: dict[str, Path]):
    clock = Timed(onnx=5.0)
    rows = Examples(("1", "2"), {"text": ("money", "bill")}, ("refund", "invoice"))
    made = maker(tmp_path, clock, "latency_p95_ms <= 20", "accuracy >= 0.1")
    held = replace(made.held, outputs=LABELS, validation=rows)
    made = replace(made, held=held, manifest=manifest(outputs=list(LABELS)))
    made.scratch.mkdir()
    found = made._measure("onnx", parts, None)
    assert clock.asked == []
    assert set(found.scores) == {"accuracy >= 0.1"}
    timed = made._timed(found)
    assert clock.asked
    assert timed.scores["latency_p95_ms <= 20"] == 5.0
    assert [v.criterion for v in timed.verdicts] == ["latency_p95_ms <= 20"]


@pytest.mark.parametrize("left", ["nothing that runs", "nothing at all"])
def test_where_the_form_that_is_always_made_fails_the_exported_model_ships(
    tmp_path: Path, parts: dict[str, Path], monkeypatch: pytest.MonkeyPatch, left: str
):
    def compress(self: Any, source: Form, target: Path, bench: Bench) -> None:
        if left == "nothing at all":
            raise ValueError("unseen shape")
        (target / GRAPH).write_bytes(b"no graph")

    for name in ("int8_rows", "optimise_graph"):
        monkeypatch.setattr(COMPRESSORS.get(name), "compress", compress)
    rows = Examples(("1", "2"), {"text": ("money", "bill")}, ("refund", "invoice"))
    made = maker(tmp_path, Timed(), "accuracy >= 0.1")
    held = replace(made.held, outputs=LABELS, validation=rows)
    made = replace(made, held=held, train=rows, manifest=manifest(outputs=list(LABELS)))

    def stage(name: str, build: Callable[[Path], None]) -> Path:
        (tmp_path / "stages" / name).mkdir(parents=True)
        build(tmp_path / "stages" / name)
        return tmp_path / "stages" / name

    def write(to: Path) -> None:
        shutil.copyfile(parts[GRAPH], to / GRAPH)

    told: list[Event] = []
    kept, every = made.make(Product("k" * 64, parts[TOKENIZER], write), None, stage, told.append)

    assert (kept.name, [each.name for each in every]) == ("onnx", ["onnx"])
    assert load(kept.bundle.folder, unreleased="allow").predict(["money"])[0]["label"] == "refund"
    first = "optimise_graph" if left == "nothing at all" else "optimise_graph+int8_rows"
    assert list(kept.failed) == [first, "int8_rows"]
    notes = [each.text for each in told if isinstance(each, Note) and each.level == "warning"]
    assert len(notes) == 2
    assert notes[1].startswith("int8_rows failed, and is left out: ")


def test_the_same_bundle_is_published_once_and_another_need_gets_its_own(tmp_path: Path):
    def place(name: str, text: str = "name: reviews\n") -> Bundle:
        return publish(written(tmp_path / name, text), tmp_path / "bundles", text)

    first = place("one")
    verdict = Verdict("accuracy >= 0.8", 0.9, 0.85, 0.95, 100, "met")
    record_verdicts(first, [verdict], released=True)
    again = place("two")
    assert again.folder == first.folder
    assert again.manifest.released, "what was judged stays"

    beside = place("three", "name: reviews # stricter\n")
    assert beside.manifest.id == first.manifest.id
    assert beside.folder != first.folder
    assert not beside.manifest.released
    assert open_bundle(first.folder).manifest.released
    assert place("four", "name: reviews # stricter\n").folder == beside.folder
