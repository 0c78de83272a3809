"""A method that cannot work on a backbone is left out of the plan, with the reason."""

from pathlib import Path

import pytest
from transformers import AlbertConfig, DebertaV2Config

from sartor.core.types import Backbone, Candidate
from sartor.search.applies import why_not
from tests.tiny import make_tiny_bert

SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def backbone(folder: Path) -> Backbone:
    return Backbone("b", "folder", str(folder), "0" * 64, "MIT", ("en",), 1_000, 12, 16)


def candidate(method: str) -> Candidate:
    return Candidate("b", "0" * 64, method, {}, 0)


def test_a_bert_can_be_trained_from_states(tmp_path: Path):
    make_tiny_bert(tmp_path / "bert")
    assert why_not(backbone(tmp_path / "bert"), candidate("top_layers")) is None


@pytest.mark.parametrize(
    "config",
    [
        AlbertConfig(embedding_size=16, **SMALL),
        DebertaV2Config(relative_attention=True, conv_kernel_size=3, **SMALL),
    ],
)
def test_what_cannot_be_cut_is_said_before_anything_is_loaded(tmp_path: Path, config):
    config.save_pretrained(tmp_path)
    assert "cannot be trained from cached states" in str(
        why_not(backbone(tmp_path), candidate("top_layers"))
    )
    assert why_not(backbone(tmp_path), candidate("lora")) is None
