"""First layers of a backbone, and its random twin."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DebertaV2Config

from sartor.core.activations import Activations
from sartor.core.errors import ModelError, UnknownName
from sartor.models.catalogue import find_backbone
from sartor.models.encode import TextEncoder
from sartor.models.loading import draw_model, load_text_backbone
from sartor.models.precision import Precision
from sartor.models.variants import random_twin, split_name
from tests.tiny import make_tiny_bert

FP32 = Precision("float32")
TEXTS = ["the product is very good", "refund please", "late and broken"]


@pytest.fixture
def deep(tmp_path: Path):
    return find_backbone(str(make_tiny_bert(tmp_path / "deep", layers=4)))


def test_the_first_layers_are_described_as_a_backbone_of_their_own(deep):
    found = find_backbone(f"{deep.path}@2")
    model, _ = load_text_backbone(found)
    assert (found.name, found.layers, found.width) == (f"{deep.path}@2", 2, deep.width)
    assert found.parameters == sum(p.numel() for p in model.parameters()) < deep.parameters
    assert found.sha256 not in (deep.sha256, find_backbone(f"{deep.path}@3").sha256)
    assert found.whole == deep


def test_the_first_layers_compute_what_the_whole_one_computes_there(deep):
    found = find_backbone(f"{deep.path}@2")
    ids = torch.tensor([[2, 9, 14, 3]])
    with torch.inference_mode():
        short = load_text_backbone(found)[0](input_ids=ids).last_hidden_state
        states = load_text_backbone(deep)[0](input_ids=ids, output_hidden_states=True)
    torch.testing.assert_close(short, states.hidden_states[2])
    assert not torch.allclose(short, states.hidden_states[4], atol=0.05)


def test_the_first_layers_read_what_the_whole_one_has_encoded(deep, tmp_path):
    cache, events = Activations(tmp_path / "cache"), []
    whole = TextEncoder(deep, cache, precision=FP32).encode(TEXTS)
    short = TextEncoder(find_backbone(f"{deep.path}@2"), cache, precision=FP32, emit=events.append)
    np.testing.assert_array_equal(short.encode(TEXTS), whole[:, :3])
    np.testing.assert_array_equal(short.features(TEXTS, [-1]), whole[:, 2])
    assert events == []
    alone = TextEncoder(find_backbone(f"{deep.path}@2"), None, precision=FP32)
    np.testing.assert_array_equal(alone.encode(TEXTS), whole[:, :3])


@pytest.mark.parametrize("layers", [0, 4, 9])
def test_a_depth_that_the_backbone_lacks_is_refused_with_those_it_has(deep, layers):
    with pytest.raises(ModelError, match="has 4 layers") as caught:
        find_backbone(f"{deep.path}@{layers}")
    assert "1 to 3" in caught.value.fix


def test_only_one_or_two_digits_are_layers():
    assert split_name("minilm@4") == ("minilm", 4)
    assert split_name("org/name@main@12") == ("org/name@main", 12)
    assert split_name("org/name@v1.0") == ("org/name@v1.0", None)
    assert split_name("org/name@1234567") == ("org/name@1234567", None)
    with pytest.raises(UnknownName, match="minilmm"):
        find_backbone("minilmm@4")


def test_a_folder_of_that_very_name_is_that_folder(tmp_path):
    make_tiny_bert(tmp_path / "tiny@1", seed=5)
    found = find_backbone("./tiny@1", root=tmp_path)
    assert found.whole is None
    assert found.layers == 2


def test_a_twin_is_the_same_network_with_other_weights_drawn_by_its_seed(deep):
    before = torch.get_rng_state()
    first, again, other = (load_text_backbone(random_twin(deep, s))[0] for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    real = load_text_backbone(deep)[0]
    shapes = {name: p.shape for name, p in real.named_parameters()}
    assert {name: p.shape for name, p in first.named_parameters()} == shapes
    weight = "embeddings.word_embeddings.weight"
    assert torch.equal(first.get_parameter(weight), again.get_parameter(weight))
    assert not torch.equal(first.get_parameter(weight), other.get_parameter(weight))
    assert not torch.equal(first.get_parameter(weight), real.get_parameter(weight))


def test_a_twins_activations_are_never_taken_for_the_backbones(deep, tmp_path):
    cache = Activations(tmp_path / "cache")
    short = find_backbone(f"{deep.path}@2")
    found = [
        TextEncoder(b, cache, precision=FP32).features(TEXTS, [2])
        for b in (deep, short, random_twin(deep, 0), random_twin(short, 0), random_twin(deep, 1))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])
    assert not np.allclose(found[0], found[2], atol=0.05)
    assert not np.allclose(found[2], found[4], atol=0.05)


@pytest.mark.parametrize("kind", ["whole", "first layers", "random twin"])
@pytest.mark.parametrize("change", ["tokenizer", "configuration"])
def test_equal_weights_behind_another_tokenizer_share_no_activations(tmp_path, kind, change):
    made = {
        "whole": find_backbone,
        "first layers": lambda name: find_backbone(f"{name}@2"),
        "random twin": lambda name: random_twin(find_backbone(name), 0),
    }[kind]
    one, other = (make_tiny_bert(tmp_path / name, layers=4) for name in ("one", "other"))
    if change == "tokenizer":
        tokenizer = (other / "tokenizer.json").read_text()
        (other / "tokenizer.json").write_text(
            tokenizer.replace('"good":', '"X":').replace('"bad":', '"good":')
        )
    else:
        config = (other / "config.json").read_text()
        (other / "config.json").write_text(config.replace('"gelu"', '"relu"'))
    cache = Activations(tmp_path / "cache")
    TextEncoder(made(str(one)), cache, precision=FP32).encode(TEXTS)

    found = TextEncoder(made(str(other)), cache, precision=FP32).encode(TEXTS)

    alone = TextEncoder(made(str(other)), None, precision=FP32).encode(TEXTS)
    np.testing.assert_array_equal(found, alone)
    first = TextEncoder(made(str(one)), cache, precision=FP32).encode(TEXTS)
    assert not np.array_equal(first, found), "both read alike: the test is vacuous"


def test_a_copy_of_a_folder_elsewhere_is_the_same_backbone(tmp_path):
    one, other = (make_tiny_bert(tmp_path / name) for name in ("one", "other"))
    assert find_backbone(str(one)).sha256 == find_backbone(str(other)).sha256


def test_a_control_can_be_drawn_of_an_architecture_without_fused_attention(tmp_path):
    small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}
    DebertaV2Config(**small, num_attention_heads=2, intermediate_size=32).save_pretrained(tmp_path)

    one, same, other = (draw_model(tmp_path, seed) for seed in (0, 0, 1))

    weights = [next(model.encoder.layer[0].parameters()) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
