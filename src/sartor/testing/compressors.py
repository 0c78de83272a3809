"""Laws that every compressor obeys, built-in or from another distribution.

A distribution that adds a compressor tests it by importing these into a test module:

    from sartor.testing.compressors import *  # noqa: F403

The model is a BERT of some ten thousand weights that has learnt to tell praise from blame; nothing
is downloaded. What a compressor saves in time is never taken from a clock here, but from what there
is to compute.
"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from sartor.core.errors import NothingToShrink
from sartor.core.protocols import Floats
from sartor.shrink.api import COMPRESSORS, FIT, GRAPH, LENGTH, PLACES, TOKENIZER, Form
from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.graphs import every_node, every_weight
from sartor.shrink.merge import merge_graphs
from sartor.tasks._decision.logits import softmax
from sartor.testing.documented import undocumented
from sartor.testing.workbench import LENGTH as MOST
from sartor.testing.workbench import OUTPUTS, Workbench, workbench

__all__ = [
    "benches",
    "compressor",
    "forms",
    "made",
    "test_a_form_with_nothing_to_work_on_is_refused_and_no_graph_is_left",
    "test_answers_stay_close",
    "test_every_setting_is_documented_and_it_says_what_it_is_for",
    "test_it_changes_the_form_and_leaves_no_other_file",
    "test_it_works_on_joined_models_or_says_that_it_does_not",
    "test_making_it_again_gives_the_same_bytes_and_no_path_of_this_machine_and_leaves_its_source",
    "test_once_more_changes_more_or_is_refused",
    "test_what_it_is_tried_for_becomes_less",
]

_TRACES = (b"machine-of-mine", b"site-packages", b"/src/sartor", b"/tmp/")


@pytest.fixture(params=COMPRESSORS.names())
def compressor(request: pytest.FixtureRequest, benches: tuple[Workbench, Workbench]) -> str:
    """Every registered compressor; it works with its default settings."""
    name: str = request.param
    if COMPRESSORS.get(name).trains and benches[0].bench.retrain is None:  # type: ignore[attr-defined]
        pytest.skip(f"{name} trains, and nothing here can train a saved model on")
    return name


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workbench, Workbench]]:
    """Two models of one tokenizer; on one thread, since bytes are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("machine-of-mine")
    yield workbench(place / "one", 1), workbench(place / "two", 2, layers=(1,))
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def forms() -> dict[str, Form]:
    """What each compressor made of the first model."""
    return {}


@pytest.fixture
def made(
    compressor: str,
    benches: tuple[Workbench, Workbench],
    forms: dict[str, Form],
    tmp_path_factory: pytest.TempPathFactory,
) -> Form:
    """What the compressor makes of the first model; made once."""
    if compressor not in forms:
        place = tmp_path_factory.mktemp("machine-of-mine") / compressor
        forms[compressor] = benches[0].compressed(compressor, place)
    return forms[compressor]


def test_it_changes_the_form_and_leaves_no_other_file(
    benches: tuple[Workbench, Workbench], made: Form
) -> None:
    assert {path.name for path in made.graph.parent.iterdir()} <= {GRAPH, TOKENIZER, FIT, LENGTH}
    assert _changed(benches[0].form, made)


def test_making_it_again_gives_the_same_bytes_and_no_path_of_this_machine_and_leaves_its_source(
    compressor: str, benches: tuple[Workbench, Workbench], made: Form, tmp_path: Path
) -> None:
    bench = benches[0]
    before = _bytes(*_folders(bench.form))

    bench.compressed(compressor, tmp_path / "machine-of-mine")

    assert _bytes(*_folders(bench.form)) == before
    found = _bytes(tmp_path / "machine-of-mine")
    assert found == _bytes(made.graph.parent)
    assert not [name for name, held in found.items() for trace in _TRACES if trace in held]


def test_answers_stay_close(
    compressor: str, benches: tuple[Workbench, Workbench], made: Form
) -> None:
    bench = benches[0]
    before, after = bench.logits(bench.form), bench.logits(made)

    truth = np.array([OUTPUTS.index(label) for label in bench.bench.validation.target])
    assert _right(before, truth) > 0.8, "a model that learnt nothing would prove nothing"
    kind: Any = COMPRESSORS.get(compressor)
    if kind.trains or not kind.eases:  # by name only: whoever asks for it takes what it costs
        assert _right(after, truth) > 0.75 * _right(before, truth)
    else:
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.98


def test_what_it_is_tried_for_becomes_less(
    compressor: str, benches: tuple[Workbench, Workbench], made: Form
) -> None:
    before, eases = benches[0].form, COMPRESSORS.get(compressor).eases  # type: ignore[attr-defined]

    if "size" in eases:
        assert _size(made) < 0.97 * _size(before)
    if "speed" in eases:
        assert _work(made) < _work(before)


def test_a_form_with_nothing_to_work_on_is_refused_and_no_graph_is_left(
    compressor: str, benches: tuple[Workbench, Workbench], tmp_path: Path
) -> None:
    bench = benches[0]
    floats = TensorProto.FLOAT
    plain = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("x", floats, ["n", 4])],
        [helper.make_tensor_value_info("logits", floats, ["n", 4])],
    )
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(plain, opset_imports=[opset], ir_version=10), tmp_path / "p.onnx")

    with pytest.raises(NothingToShrink) as caught:
        bench.compressed(
            compressor, tmp_path / "new", Form(tmp_path / "p.onnx", bench.form.tokenizer)
        )

    assert caught.value.fix
    assert not (tmp_path / "new" / GRAPH).exists(), "no graph that only looks compressed"


def test_once_more_changes_more_or_is_refused(
    compressor: str, benches: tuple[Workbench, Workbench], made: Form, tmp_path: Path
) -> None:
    bench = benches[0]
    try:
        again = bench.compressed(compressor, tmp_path / "again", made)
    except NothingToShrink:
        assert not (tmp_path / "again" / GRAPH).exists()
        return
    assert _changed(made, again)
    assert _size(again) < _size(made) or _work(again) < _work(made)


@pytest.mark.parametrize("joined", ["merged", "cascade"])
def test_it_works_on_joined_models_or_says_that_it_does_not(
    compressor: str, joined: str, benches: tuple[Workbench, Workbench], tmp_path: Path
) -> None:
    bench, other = benches
    graph, (one, two) = tmp_path / GRAPH, (b.form.graph for b in benches)
    if joined == "merged":
        merge_graphs([(one, 0.6), (two, 0.4)], graph)
    else:
        sure = _confidence(other.logits(other.form))
        cascade_graphs((two, 1.0), (one, 1.0), float(np.median(sure)) + 1e-4, graph)
    form = Form(graph, bench.form.tokenizer)

    try:
        smaller = bench.compressed(compressor, tmp_path / "new", form)
    except NothingToShrink:
        assert not (tmp_path / "new" / GRAPH).exists()
        return
    assert _changed(form, smaller)
    before, after = bench.logits(form), bench.logits(smaller)
    # Rounding moves some rows of a cascade over its threshold: most of them must not.
    apart = np.abs(after - before).max(1) > 0.3 * before.std()
    assert apart.mean() < 0.15


def test_every_setting_is_documented_and_it_says_what_it_is_for(compressor: str) -> None:
    owner: Any = COMPRESSORS.get(compressor)

    assert undocumented(owner) == []
    assert (owner.__doc__ or "").strip()
    assert all(hasattr(owner(), field.name) for field in fields(cast("Any", owner)))
    assert owner.place in PLACES


def _folders(form: Form) -> list[Path]:
    return [form.graph.parent, form.tokenizer.parent, *([form.fit] if form.fit else [])]


def _bytes(*folders: Path) -> dict[str, bytes]:
    """Every file's content, by its place below its folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def _size(form: Form) -> int:
    return form.graph.stat().st_size + form.tokenizer.stat().st_size


def _changed(before: Form, after: Form) -> bool:
    """Whether another graph answers, or less is read of a text."""
    shorter = (after.max_length or MOST) < (before.max_length or MOST)
    return shorter or after.graph.read_bytes() != before.graph.read_bytes()


def _work(form: Form) -> tuple[int, int, int]:
    """(tokens of a long text, numbers in float matrices that are multiplied with, nodes)."""
    model = onnx.load(form.graph)
    weights = every_weight(model.graph)
    nodes = list(every_node(model.graph))
    floats = {
        name: int(np.prod(weights[name].dims))
        for node in nodes
        if node.op_type in ("MatMul", "Gemm")
        for name in node.input
        if name in weights and weights[name].data_type == TensorProto.FLOAT
    }
    return form.max_length or MOST, sum(floats.values()), len(nodes)


def _right(logits: Floats, truth: Any) -> float:
    return float((logits.argmax(1) == truth).mean())


def _confidence(logits: Floats) -> Any:
    return softmax(logits).max(1)
