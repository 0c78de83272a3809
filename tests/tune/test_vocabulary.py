"""Training the used rows of the word table is training the table."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune import vocabulary
from sartor.tune.batching import Tokens
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.loop import Recipe, Rows, Watch, log_loss, score, train
from sartor.tune.settings import Loop
from sartor.tune.vocabulary import used_rows

WORDS, USED = 200, 40
TABLE = "encoder.embeddings.word_embeddings.weight"


def _model() -> TextClassifier:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return TextClassification().build(BertModel(config, add_pooling_layer=False), 2)


def _rows(count: int, seed: int, words: int) -> Rows:
    draw = np.random.default_rng(seed)
    # Every fifth id: the used rows are not the first ones.
    step = WORDS // words
    ids = [(step * draw.integers(1, words, draw.integers(3, 15))).tolist() for _ in range(count)]
    return Rows(Tokens(ids, pad=0), np.array([row[0] // step % 2 for row in ids]))


DATA = (_rows(64, 1, USED), _rows(32, 2, WORDS))


def _train(model: nn.Module, watch: Watch | None = None, **settings: object):
    recipe = Recipe(
        Loop(epochs=2, batch_rows=16, patience=99, **settings),  # type: ignore[arg-type]
        seed=0,
        loss=nn.functional.cross_entropy,
        rate=lambda name: 3e-3,
    )
    return train(model, DATA, recipe, watch or Watch())


def _table(model: nn.Module) -> Tensor:
    return model.get_parameter(TABLE).detach()


@pytest.mark.parametrize("settings", [{}, {"average": "ema", "average_start": 0.1}])
def test_the_result_is_that_of_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
):
    ours, whole = _model(), _model()
    told = _train(ours, weight_decay=0.0, **settings)
    monkeypatch.setattr(vocabulary, "_WORTH", 0.0)
    expected = _train(whole, weight_decay=0.0, **settings)

    for mine, theirs in zip(told.history, expected.history, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    for (name, one), (_, other) in zip(
        ours.named_parameters(), whole.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)


def test_used_words_move_and_the_others_keep_their_bytes():
    model = _model()
    before = _table(model).clone()

    _train(model, weight_decay=0.1)

    moved = (_table(model) != before).any(1)
    assert moved.nonzero().squeeze(1).tolist() == sorted(
        {i for row in DATA[0].inputs.ids for i in row}
    )


def test_words_that_training_did_not_hold_are_read_when_it_evaluates():
    model = _model()

    told = _train(model, evaluations=1)

    found = log_loss(score(model, DATA[1].inputs), DATA[1].labels)
    assert min(h["validation_log_loss"] for h in told.history) == pytest.approx(found, abs=1e-6)


def test_checkpoints_hold_the_used_rows_alone(tmp_path: Path):
    _train(_model(), Watch(Checkpoints(tmp_path), every_steps=4))

    used = len(DATA[0].inputs.vocabulary())
    (newest, *_) = sorted(tmp_path.glob("step-*"), reverse=True)
    assert load_file(newest / "model.safetensors")[TABLE].shape == (used, 16)
    assert load_file(newest / "optimizer.safetensors")[f"{TABLE}/exp_avg"].shape == (used, 16)


def test_an_id_that_training_was_not_said_to_read_is_refused():
    model = _model()
    with used_rows(model, DATA[0].inputs, None) as rows:
        assert rows is not None
        with pytest.raises(IndexError):
            model(torch.tensor([[3]]), torch.ones(1, 1))

    model(torch.tensor([[3]]), torch.ones(1, 1))


def test_a_table_that_is_frozen_or_shared_is_left_whole():
    frozen, shared = _model(), _model()
    frozen.encoder.get_input_embeddings().requires_grad_(False)
    shared.decoder = nn.Linear(16, WORDS, bias=False)
    shared.decoder.weight = shared.encoder.get_input_embeddings().weight

    for model in (frozen, shared):
        with used_rows(model, DATA[0].inputs, None) as rows:
            assert rows is None
            assert _table(model).shape == (WORDS, 16)
