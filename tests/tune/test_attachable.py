"""Whether a method fits a backbone is known from its config.json alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    ModernBertConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from sartor.core.errors import UnknownName
from sartor.core.types import Backbone, Candidate
from sartor.tune.api import tuning_methods
from sartor.tune.attachable import why_not

SIZE = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZE),
    "roberta": RobertaConfig(**SIZE),
    "deberta": DebertaV2Config(**SIZE),
    "modernbert": ModernBertConfig(**SIZE, pad_token_id=0),
    "distilbert": DistilBertConfig(
        vocab_size=60, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64
    ),
    "gpt2": GPT2Config(
        vocab_size=60, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1
    ),
}


def ask(
    folder: Path, kind: str, method: str, settings: Mapping[str, Any] | None = None
) -> str | None:
    CONFIGS[kind].to_json_file(folder / "config.json", use_diff=False)
    backbone = Backbone(kind, "folder", str(folder), "0" * 64, "MIT", ("en",), 1, 2, 16)
    candidate = Candidate(kind, backbone.sha256, method, settings or {}, 0)
    return why_not(backbone, candidate, "text_classification")


@pytest.mark.parametrize("method", tuning_methods())
def test_every_method_fits_a_bert_and_no_weights_are_asked_for(tmp_path: Path, method: str):
    assert ask(tmp_path, "bert", method) is None
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
@pytest.mark.parametrize("method", ["ia3", "adapter", "prompt", "bitfit", "adalora"])
def test_the_same_parts_are_found_under_other_names(tmp_path: Path, kind: str, method: str):
    assert ask(tmp_path, kind, method) is None


@pytest.mark.parametrize(
    ("kind", "method", "settings", "why"),
    [
        ("gpt2", "lora", {}, "none of the encoder's 0 linear layers"),
        ("gpt2", "ia3", {}, "no layer of GPT2Model has a second linear layer"),
        ("gpt2", "prompt", {}, "GPT2Model: it has no embedding layer"),
        ("distilbert", "prefix", {}, "no layer of DistilBertModel has a self-attention"),
        ("deberta", "prefix", {}, "DisentangledSelfAttention takes no cached keys"),
        ("modernbert", "bitfit", {}, "no biases"),
        ("modernbert", "adapter", {"placement": "pfeiffer"}, "a normalisation after"),
        # Known by its name, and yet the longer sequence does not pass: the shapes tell.
        ("deberta", "prompt", {}, "'prompt' does not fit DebertaV2Model: "),
        ("bert", "lora", {"where": "*.qurey"}, "where='*.qurey' matches none of the encoder's 12"),
        ("bert", "lora", {"rnak": 8}, "no setting 'rnak'"),
        ("bert", "adalora", {"rank": 12}, "leaves nothing to cut"),
        ("bert", "full", {"layers": [7]}, "hidden states are 0 to 2"),
    ],
)
def test_what_does_not_fit_is_told_when_planning(
    tmp_path: Path, kind: str, method: str, settings: dict[str, Any], why: str
):
    assert why in (ask(tmp_path, kind, method, settings) or "")


def test_pfeiffers_place_may_be_missing_where_houlsbys_is_there(tmp_path: Path):
    assert ask(tmp_path, "modernbert", "adapter", {"placement": "houlsby"}) is None


def test_a_configuration_that_cannot_be_is_told(tmp_path: Path):
    broken = BertConfig(**SIZE | {"num_attention_heads": 3})
    broken.to_json_file(tmp_path / "config.json", use_diff=False)
    backbone = Backbone("b", "folder", str(tmp_path), "0" * 64, "MIT", ("en",), 1, 2, 16)
    candidate = Candidate("b", backbone.sha256, "lora", {}, 0)

    assert "describes no BertModel" in (why_not(backbone, candidate, "text_classification") or "")


def test_an_unknown_method_is_a_mistake_not_a_misfit(tmp_path: Path):
    with pytest.raises(UnknownName, match="prefix"):
        ask(tmp_path, "bert", "prefiks")


def test_asking_leaves_the_random_generator_alone(tmp_path: Path):
    before = torch.get_rng_state()
    ask(tmp_path, "bert", "adapter")
    assert torch.equal(torch.get_rng_state(), before)
