"""Heads and neurons that go: the matrices are smaller, saved, loaded and exported so."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel

from sartor.core.errors import ModelError, NothingToShrink
from sartor.shrink.api import COMPRESSORS
from sartor.shrink.compressors.drop_layers import with_layers
from sartor.shrink.pruning import importance, prune, shared_out
from sartor.shrink.students import Whole, answers
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.adapter import Adapter
from sartor.tasks._encoder.model import TextClassifier, layer_stack
from sartor.tasks._encoder.sizes import Part, heads_of, neurons_of, sizes_of
from sartor.tasks.text_classification.train import load
from tests.shrink.pupils import LAYERS, School, check_laws, matrices, right

PRUNERS = {"prune_heads": {}, "prune_ffn": {"keep": 0.5}}


def opened(pupils: School) -> Whole:
    return Whole.opened("prune_heads", pupils.form, pupils.bench)


@pytest.mark.parametrize("name", PRUNERS)
def test_what_goes_leaves_smaller_matrices_that_answer_as_before(
    name: str, pupils: School, tmp_path: Path
):
    made = check_laws(pupils, name, tmp_path, lr=2e-3, epochs=6, **PRUNERS[name])

    assert made.fit is not None
    student = load(made.fit)
    assert isinstance(student, TextClassifier)
    sizes = sizes_of(list(layer_stack(student.encoder) or ()))
    assert sizes is not None
    kept, had = (sizes.heads, 4) if name == "prune_heads" else (sizes.neurons, 64)
    assert sum(kept) == LAYERS * had // 2
    said = json.loads((made.fit / "classifier.json").read_text())["sizes"]
    assert said == {"heads": list(sizes.heads), "neurons": list(sizes.neurons)}
    gone = LAYERS * (4 * 32 * 32 if name == "prune_heads" else 2 * 32 * 64) // 2
    assert matrices(made.graph) == matrices(pupils.form.graph) - gone
    shapes = [list(t.dims) for t in onnx.load(made.graph).graph.initializer]
    assert name != "prune_ffn" or [64, 32] not in shapes, "no matrix is as large as before"
    assert right(made) >= right(pupils.form) - 0.1


@pytest.mark.slow
def test_a_pruned_model_can_be_pruned_and_cut_again(pupils: School, tmp_path: Path):
    first = pupils.compressed("prune_heads", tmp_path / "one", lr=1e-3, epochs=1)
    (tmp_path / "two").mkdir()
    COMPRESSORS.get("prune_ffn")(epochs=1).compress(first, tmp_path / "two", pupils.bench)
    second = first.left_in(tmp_path / "two")
    assert second.fit is not None
    student = load(second.fit)
    assert isinstance(student, TextClassifier)
    sizes = sizes_of(list(layer_stack(student.encoder) or ()))
    assert sizes is not None
    assert (sum(sizes.heads), sum(sizes.neurons)) == (8, 128)
    fewer = with_layers(student, [1, 3])
    fewer.save(tmp_path / "three")
    ids, mask = torch.randint(5, 40, (2, 7)), torch.ones(2, 7, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "three")(ids, mask), fewer.eval()(ids, mask))


@pytest.mark.parametrize("find", [heads_of, neurons_of])
def test_units_that_nothing_reads_are_those_that_go(find, pupils: School):
    whole = opened(pupils)
    parts = [find(layer) for layer in whole.layers()]
    idle = torch.arange(parts[0].units)[: parts[0].units // 2]
    for part in parts:
        columns = (idle.unsqueeze(1) * part.width + torch.arange(part.width)).flatten()
        with torch.no_grad():
            part.reader.weight[:, columns] = 0
    before = whole.batches(pupils.bench.validation)
    scores = importance(whole, parts, 64)
    student = prune(whole, find, 0.5, 64)
    assert all(float(s[idle].max()) == 0 for s in scores)
    torch.testing.assert_close(
        answers(student, before), answers(whole.model, before), atol=1e-5, rtol=1e-4
    )


def test_the_importance_of_a_head_is_the_change_of_the_loss_to_first_order(pupils: School):
    """Against silencing it a little: the derivative of the loss by a factor on the head."""
    whole = opened(pupils)
    rows = pupils.bench.train.take(range(8))
    some = replace(whole, bench=replace(whole.bench, train=rows))
    parts = [heads_of(layer) for layer in whole.layers()]
    found = importance(some, parts, 8)[1]
    labels = torch.tensor([whole.bench.outputs.index(x) for x in rows.target])
    batches = some.batches(rows)

    def losses(factor: float, head: int) -> torch.Tensor:
        part = parts[1]
        columns = slice(head * part.width, (head + 1) * part.width)
        saved = part.reader.weight.data.clone()
        part.reader.weight.data[:, columns] *= factor
        z = answers(whole.model, batches).double()
        part.reader.weight.data.copy_(saved)
        return torch.nn.functional.cross_entropy(z, labels, reduction="none")

    step = 1e-2
    wanted = torch.stack(
        [
            ((losses(1 + step, h) - losses(1 - step, h)) / (2 * step)).abs().sum()
            for h in range(parts[1].units)
        ]
    )
    torch.testing.assert_close(found.double(), wanted / wanted.norm(), atol=2e-2, rtol=2e-2)


def test_every_layer_keeps_something_and_steps_are_kept():
    order = [0] * 8 + [1] * 8
    assert shared_out([8, 8], order, 0.5, 1) == [8, 1]
    assert shared_out([64, 64], [0] * 40 + [1] * 64 + [0] * 24, 0.5, 32) == [32, 32]
    assert shared_out([8, 8], order, 0.5, 32) == [8, 8]


def test_nothing_to_take_out_is_said(pupils: School, tmp_path: Path):
    with pytest.raises(NothingToShrink, match="has the least that it can have"):
        prune(opened(pupils), neurons_of, 0.5, 16, step=64)

    class Bare(torch.nn.Module):
        pass

    with pytest.raises(NothingToShrink, match="under no known name"):
        prune(opened(pupils), lambda layer: None, 0.5, 16)


def test_distilbert_keeps_its_parts_under_other_names(tmp_path: Path):
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=40, dim=16, hidden_dim=64, n_heads=4, n_layers=2)
    model = TextClassifier(DistilBertModel(config), 2, (2,)).eval()
    for layer in layer_stack(model.encoder) or ():
        for part, units in ((heads_of(layer), [1, 3]), (neurons_of(layer), list(range(0, 64, 2)))):
            assert isinstance(part, Part)
            part.keep(torch.tensor(units))
    model.save(tmp_path)
    ids, mask = torch.randint(5, 40, (2, 7)), torch.ones(2, 7, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(load(tmp_path)(ids, mask), model(ids, mask))


def test_layers_with_an_adapter_have_no_sizes(pupils: School, tmp_path: Path):
    assert pupils.form.fit is not None
    model = load(pupils.form.fit)
    assert isinstance(model, TextClassifier)
    name = "encoder.encoder.layer.0.output.dense"
    install(model, Adapter(at=(name,), bottleneck=4, activation="relu"))
    model.save(tmp_path)
    assert "sizes" not in json.loads((tmp_path / "classifier.json").read_text())
    assert isinstance(load(tmp_path), TextClassifier)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": [2, 2, 2, 2]}, "neurons"),
        ({"heads": [2, 2, 2, 0], "neurons": [64] * 4}, r"heads\.3=0"),
        ({"heads": [2] * 3, "neurons": [64] * 4}, "4 layers"),
        ({"heads": [2] * 4, "neurons": [65] * 4}, "65 of 64"),
        ({"heads": [1] * 100_000, "neurons": [64] * 4}, "heads="),
        ([], "Sizes"),
        ({"heads": [2] * 4, "neurons": [64] * 4, "more": 1}, "more"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    sizes: object, message: str, pupils: School, tmp_path: Path
):
    assert pupils.form.fit is not None
    load(pupils.form.fit).save(tmp_path)
    said = json.loads((tmp_path / "classifier.json").read_text())
    (tmp_path / "classifier.json").write_text(json.dumps({**said, "sizes": sizes}))
    with pytest.raises(ModelError, match=message):
        load(tmp_path)
