"""Two ways to read a pair: apart, from activations of each text; joined, as one sequence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import ModelError
from sartor.core.types import Examples
from sartor.models.loading import load_model
from sartor.tasks import TASKS
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks._encoder.segments import segments, separator_of
from sartor.tasks.text_pair.comparing import PairSource
from sartor.tasks.text_pair.train import PairClassifier, TextPair, load
from tests.tiny import make_tiny_bert, tiny_tokenizer

PAIRS = [("good product", "bad taste"), ("my order is late", "money back please"), ("a", "a")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bert(tmp_path_factory.mktemp("tiny") / "bert")


class Hidden:
    """Mean hidden states of single texts, computed as they are asked for."""

    max_length = 64

    def __init__(self, folder: Path) -> None:
        self.encoder, self.tokenizer = load_model(folder), tiny_tokenizer()

    def features(self, texts, layers):
        rows = []
        for text in texts:
            ids = torch.tensor([self.tokenizer.encode(text).ids])
            with torch.no_grad():
                found = self.encoder(input_ids=ids, output_hidden_states=True).hidden_states
            rows.append(torch.cat([found[layer].mean(1) for layer in layers], -1)[0].numpy())
        return np.stack(rows)


def padded(texts):
    encoded = [tiny_tokenizer().encode(text).ids for text in texts]
    width = max(map(len, encoded))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in encoded])
    return ids, (ids != 0).long()


def inputs(pairs=PAIRS):
    return (*padded([a for a, _ in pairs]), *padded([b for _, b in pairs]))


@pytest.mark.parametrize("symmetric", [False, True])
def test_what_the_model_compares_is_what_the_cache_gave(folder, symmetric):
    layers = (1, 2)
    model = PairClassifier(load_model(folder), 2, layers, symmetric).eval()
    with torch.no_grad():
        found = model.features(*inputs())
    wanted = PairSource(Hidden(folder), symmetric).features(PAIRS, layers)
    assert found.shape == (3, model.head_width)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)


def test_a_symmetric_model_answers_either_order_alike_and_another_does_not(folder):
    torch.manual_seed(0)
    one = inputs()
    other = (*one[2:], *one[:2])
    for symmetric in (True, False):
        model = PairClassifier(load_model(folder), 2, (2,), symmetric).eval()
        with torch.no_grad():
            same = torch.allclose(model(*one), model(*other), atol=1e-5)
        assert same is symmetric


@pytest.mark.parametrize("head", [{}, {"kind": "hidden", "hidden": 5}, {"kind": "similarity"}])
def test_a_model_that_reads_apart_is_the_same_once_it_is_loaded_again(folder, tmp_path, head):
    torch.manual_seed(1)
    model = PairClassifier(load_model(folder), 2, (1,), False, head).eval()
    if head.get("kind") == "similarity":
        model.head.slope.copy_(torch.tensor([-3.0, 3.0]))
    model.save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, PairClassifier)
    with torch.no_grad():
        assert torch.equal(again(*inputs()), model(*inputs()))


def test_a_joined_model_keeps_where_its_first_text_ends(folder, tmp_path):
    torch.manual_seed(2)
    model = TextPair().build(load_model(folder), 2, tiny_tokenizer()).eval()
    assert model.separator == tiny_tokenizer().token_to_id("[SEP]")
    model.save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, TextClassifier)
    assert again.separator == model.separator
    ids = torch.tensor([tiny_tokenizer().encode("good taste", "bad price").ids])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        assert torch.equal(again(ids, mask), model(ids, mask))
        again.separator = None
        assert not torch.allclose(again(ids, mask), model(ids, mask))


def test_a_damaged_model_is_refused(folder, tmp_path):
    PairClassifier(load_model(folder), 2, (1,), True).save(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="does not hold a saved text classifier"):
        load(tmp_path)


words = st.lists(st.sampled_from(["good", "bad", "order", "late", "x"]), max_size=6).map(" ".join)


@given(words, words)
def test_segments_are_those_that_the_tokenizer_would_say(one, other):
    tokenizer = tiny_tokenizer()
    found = tokenizer.encode(one, other)
    separator = tokenizer.token_to_id("[SEP]")
    assert segments(torch.tensor([found.ids]), separator).tolist() == [found.type_ids]
    alone = tokenizer.encode(one)
    assert segments(torch.tensor([alone.ids]), separator).sum() == 0


def test_a_model_with_one_kind_of_token_has_no_segments():
    class One:
        type_vocab_size = 1

    assert separator_of(tiny_tokenizer(), One) is None
    assert separator_of(tiny_tokenizer(), object()) is None


def test_the_decision_rule_and_the_answers_are_those_of_text_classification():
    one, two = TASKS.get("text_classification")(), TASKS.get("text_pair")()
    assert list(two.roles.inputs) == ["text", "text_pair"]
    rows = Examples(tuple("abcd"), {"text": tuple("abcd")}, ("x", "y", "x", "y"))
    logits = np.array([[2, 0], [0, 2], [1, 0], [1, 0]], np.float32)
    outputs = two.outputs(rows, None)
    assert outputs == one.outputs(rows, None) == ["x", "y"]
    rule = two.settle(logits, rows, outputs, [])
    assert rule == one.settle(logits, rows, outputs, [])
    assert two.decode(logits, outputs, rule) == one.decode(logits, outputs, rule)
