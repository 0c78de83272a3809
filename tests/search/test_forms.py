"""The forms of a model, and the compressors that no time was left for or that failed."""

from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any, cast

import pytest

from sartor.core.errors import (
    BundleError,
    Diverged,
    Interrupted,
    ModelError,
    NothingToShrink,
    WorkspaceError,
)
from sartor.search.artefact import left_out
from sartor.search.chains import Chain
from sartor.search.forms import Failed, Forms
from sartor.search.product import Product
from sartor.search.time_left import OutOfTime
from sartor.shrink.api import Form

FAULTS: dict[str, Exception] = {
    "invalid": ModelError("The graph is not valid.", fix="."),
    "odd": RuntimeError("[ONNXRuntimeError]\n : no such kernel"),
    "diverged": Diverged("The loss is not a number.", fix="."),
    "full": OSError(ENOSPC, "No space left on device"),
    "stopped": Interrupted("Stopped.", fix="sartor resume"),
    "no disk": WorkspaceError("No space left.", fix="free some."),
}


class Made:
    """A product of one empty file, and compressors that are late or find nothing by their name."""

    form, key = "onnx", "0123456789abcdef0123"

    def __init__(self, place: Path) -> None:
        self.place = place
        self.named: list[str] = []

    def write(self, to: Path) -> None:
        (to / "model.onnx").write_bytes(b"")

    def written(self, folder: Path) -> Form:
        return Form(folder / "model.onnx", folder / "tokenizer.json")

    def stage(self, name: str, build: Callable[[Path], None]) -> Path:
        (self.place / name).mkdir()
        build(self.place / name)
        return self.place / name

    def compressing(self, name: str, source: Form, named: str) -> Callable[[Path], None]:
        def made(to: Path) -> None:
            self.named.append(named)
            if name.startswith("late"):
                raise OutOfTime("late", fix="")
            if name.startswith("idle"):
                raise NothingToShrink("idle", fix="")
            if name in FAULTS:
                raise FAULTS[name]

        return made

    def forms(self, *always: Chain) -> Forms:
        return Forms(cast("Product", self), self.stage, self.compressing, always)


def test_those_that_are_late_are_kept_in_mind_and_those_without_work_are_not(tmp_path: Path):
    made = Made(tmp_path)
    forms = made.forms()
    for chain in (("late_1",), ("idle",), ("late_2", "int8")):
        with pytest.raises(NothingToShrink):
            forms.of(chain)
    assert forms.late == ["late_1", "late_2"]
    assert list(forms.made) == [()], "the model as exported, which is made once"


def test_what_is_always_made_is_asked_for_no_time_and_the_rest_by_a_name_of_its_own(tmp_path: Path):
    made = Made(tmp_path)
    forms = made.forms(("graph", "int8"))
    for chain in (("graph", "int8"), ("int8",), ("graph", "int8", "texts")):
        forms.of(chain)
    assert made.named == ["", "", "0123456789abcdef int8", "0123456789abcdef graph+int8+texts"]


@pytest.mark.parametrize("name", ["invalid", "odd", "diverged"])
def test_what_fails_is_left_out_by_name_and_not_tried_again(tmp_path: Path, name: str):
    made = Made(tmp_path)
    forms = made.forms()
    for chain in ((name,), (name, "int8"), (name,)):
        with pytest.raises(Failed, match=name):
            forms.of(chain)
    assert len(made.named) == 1
    assert list(forms.failed) == [name]
    assert forms.of(("int8",)).graph.parent.name == "int8"
    (said,) = left_out([], forms.failed)
    assert said.startswith(f"{name} failed, and is left out: ")
    assert "\n" not in said


def test_a_form_that_cannot_be_run_is_one_that_failed(tmp_path: Path):
    forms = Made(tmp_path).forms()
    forms.of(("int8",))
    with pytest.raises(Failed, match="refused"), forms.tried(("int8",)):
        raise BundleError("ONNX Runtime refused it.", fix=".")
    with pytest.raises(BundleError), forms.tried(()):
        raise BundleError("What was exported has to run.", fix=".")
    assert list(forms.failed) == ["int8"]


@pytest.mark.parametrize("name", ["full", "stopped", "no disk"])
def test_what_stops_a_run_goes_on_as_it_is(tmp_path: Path, name: str):
    forms = Made(tmp_path).forms()
    with pytest.raises(type(FAULTS[name])) as caught:
        forms.of((name,))
    assert caught.value is FAULTS[name]
    assert not forms.failed


def test_a_form_comes_from_the_fit_that_it_left_or_that_of_its_source(tmp_path: Path):
    made = Made(tmp_path)
    forms = made.forms()
    assert forms.fit_of(("int8",)) is None

    def trains(to: Path) -> None:
        (to / "fit").mkdir()

    student: Any = Forms(
        cast("Product", made),
        lambda name, build: made.stage(f"{name} again", build),
        lambda name, source, named: trains if name == "student" else made.write,
        (),
    )
    assert student.fit_of(("student", "int8")) == tmp_path / "student again" / "fit"
