"""Layers that go, and what the head then reads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import ModernBertConfig, ModernBertModel

from sartor.core.errors import Diverged, NothingToShrink
from sartor.shrink.api import COMPRESSORS, TOKENIZER, Form
from sartor.shrink.compressors.drop_layers import spread, with_layers
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks._encoder.static import StaticClassifier
from sartor.tasks.text_classification.train import load
from tests.shrink.pupils import LAYERS, OUTPUTS, School, check_laws, matrices, right


def test_half_the_layers_go_and_the_rest_answers_as_the_whole_did(pupils: School, tmp_path: Path):
    made = check_laws(pupils, "drop_layers", tmp_path, lr=2e-3, epochs=8)

    assert made.fit is not None
    student = load(made.fit)
    assert isinstance(student, TextClassifier)
    assert student.encoder.config.num_hidden_layers == LAYERS // 2
    assert matrices(made.graph) == pytest.approx(matrices(pupils.form.graph) / 2, rel=0.02)
    assert made.graph.stat().st_size < 0.75 * pupils.form.graph.stat().st_size
    assert right(pupils.form) > 0.75, "there was something to learn"
    assert right(made) >= right(pupils.form) - 0.1


def test_states_that_the_head_reads_are_those_of_the_layers_that_stay(pupils: School):
    assert pupils.form.fit is not None
    model = load(pupils.form.fit)
    assert isinstance(model, TextClassifier)
    assert model.layers == (2, 4)
    assert with_layers(model, [0, 3]).layers == (1, 2)
    assert with_layers(model, [2, 3]).layers == (0, 2)
    same = with_layers(model, range(LAYERS))
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    with torch.no_grad():
        assert torch.equal(same(ids, mask), model(ids, mask))
        first = with_layers(model, [0, 1]).encoder(input_ids=ids, attention_mask=mask)
        states = model.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    torch.testing.assert_close(first.last_hidden_state, states.hidden_states[2])


def test_a_layer_that_does_nothing_is_the_first_to_go(pupils: School, tmp_path: Path):
    """What is measured is the effect: a layer whose two sublayers add nothing is not missed."""
    from sartor.shrink.compressors.drop_layers import _least_missed
    from sartor.shrink.students import Whole

    whole = Whole.opened("drop_layers", pupils.form, pupils.bench)
    idle = whole.layers()[1]
    with torch.no_grad():
        for name in ("attention.output.dense", "output.dense"):
            for tensor in idle.get_submodule(name).parameters():
                tensor.zero_()
    assert _least_missed(whole, LAYERS - 1) == [0, 2, 3]


@pytest.mark.parametrize(
    ("total", "count", "kept"), [(6, 3, [0, 2, 5]), (12, 4, [0, 4, 7, 11]), (6, 1, [5])]
)
def test_layers_are_spread_evenly_and_the_top_stays(total: int, count: int, kept: list[int]):
    assert spread(total, count) == kept


@pytest.mark.parametrize(
    "name",
    ["drop_layers", "prune_heads", "prune_ffn", "distil", "static_student", "quantise_aware"],
)
def test_without_weights_or_training_or_an_encoder_it_says_so(
    name: str, pupils: School, tmp_path: Path
):
    compressor = COMPRESSORS.get(name)()
    with pytest.raises(NothingToShrink, match="only the graph"):
        compressor.compress(replace(pupils.form, fit=None), tmp_path, pupils.bench)
    with pytest.raises(NothingToShrink, match="nothing to train with"):
        compressor.compress(pupils.form, tmp_path, replace(pupils.bench, retrain=None))
    StaticClassifier(80, len(OUTPUTS)).save(tmp_path / "static")
    static = Form(pupils.form.graph, pupils.form.tokenizer, tmp_path / "static")
    (tmp_path / "to").mkdir()
    with pytest.raises(NothingToShrink, match="StaticClassifier"):
        compressor.compress(static, tmp_path / "to", pupils.bench)
    assert not list((tmp_path / "to").iterdir())


def test_one_layer_is_the_least(pupils: School, tmp_path: Path):
    assert pupils.form.fit is not None
    model = load(pupils.form.fit)
    assert isinstance(model, TextClassifier)
    with_layers(model, [0]).save(tmp_path / "one")
    (tmp_path / "one" / TOKENIZER).write_bytes(pupils.form.tokenizer.read_bytes())
    form = replace(pupils.form, fit=tmp_path / "one")
    with pytest.raises(NothingToShrink, match="one layer is the least"):
        COMPRESSORS.get("drop_layers")().compress(form, tmp_path, pupils.bench)


def test_training_that_time_cut_leaves_no_student(pupils: School, tmp_path: Path):
    retrain = pupils.bench.retrain
    tuner = retrain.tuner  # type: ignore[union-attr]
    options = tuner.options
    (tmp_path / "to").mkdir()
    try:
        tuner.options = replace(options, deadline=0.0)
        with pytest.raises(NothingToShrink, match="ran out of time after 1 steps"):
            COMPRESSORS.get("drop_layers")(epochs=3).compress(
                pupils.form, tmp_path / "to", pupils.bench
            )
    finally:
        tuner.options = options
    assert not list((tmp_path / "to").iterdir())


def test_training_that_diverges_leaves_no_student(pupils: School, tmp_path: Path):
    def diverges(start, settings, teacher=None):
        raise Diverged("step 3 of 9: loss nan.", fix="lower the learning rate.")

    (tmp_path / "to").mkdir()
    bench = replace(pupils.bench, retrain=diverges)
    with pytest.raises(NothingToShrink, match="step 3 of 9"):
        COMPRESSORS.get("drop_layers")(which="top").compress(pupils.form, tmp_path / "to", bench)
    assert not list((tmp_path / "to").iterdir())


def test_an_architecture_whose_layers_are_numbered_is_refused(pupils: School, tmp_path: Path):
    """ModernBERT attends to all in every third layer: one that moves would change its kind."""
    torch.manual_seed(0)
    words = pupils.bench.max_length, 150
    config = ModernBertConfig(
        vocab_size=words[1],
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=words[0],
        local_attention=4,
        pad_token_id=0,
    )
    model = TextClassifier(ModernBertModel(config), 2, (4,)).eval()
    model.save(tmp_path / "odd")
    form = replace(pupils.form, fit=tmp_path / "odd")
    (tmp_path / "to").mkdir()
    with pytest.raises(NothingToShrink, match="not the same once it is loaded again"):
        COMPRESSORS.get("drop_layers")(which="alternate").compress(
            form, tmp_path / "to", pupils.bench
        )
