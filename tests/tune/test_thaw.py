"""Gradual unfreezing: the head learns first, the embeddings last."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sartor.core.events import silent
from sartor.core.types import Candidate
from sartor.models.loading import load_text_backbone
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.methods.full import Full
from tests.tune.killed import NoFeatures, reviews, tiny_backbone

EMBEDDINGS, BOTTOM, TOP = "embeddings", ".layer.0.", ".layer.1."


@pytest.fixture
def model(tmp_path: Path) -> nn.Module:
    encoder, _ = load_text_backbone(tiny_backbone(tmp_path / "tiny"))
    return TextClassification().build(encoder, 2)


def _open(model: nn.Module) -> set[str]:
    found: set[str] = set()
    for name, tensor in model.named_parameters():
        if tensor.requires_grad:
            found |= {part for part in (EMBEDDINGS, BOTTOM, TOP, "head.") if part in name}
    return found


def test_layers_open_from_the_top_over_their_share_of_the_steps(model: nn.Module):
    method = Full(thaw=0.6)
    method.attach(model)
    method.begin(model, 10)
    seen = [_open(model)]
    for step in range(1, 11):
        method.after_step(model, step)
        seen.append(_open(model))

    assert [len(parts) for parts in seen] == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4]
    assert seen[0] == {"head."}
    assert seen[2] == {"head.", TOP}
    assert seen[4] == {"head.", TOP, BOTTOM}


def test_all_is_open_at_once_by_default(model: nn.Module):
    method = Full()
    method.attach(model)
    method.begin(model, 10)

    assert all(tensor.requires_grad for tensor in model.parameters())
    assert method.state(model) == {}


def test_a_restored_plan_has_the_same_tensors_open(model: nn.Module):
    method = Full(thaw=1.0)
    method.attach(model)
    method.begin(model, 9)
    method.after_step(model, 4)
    before, state = _open(model), method.state(model)
    method.begin(model, 9)
    assert _open(model) != before

    method.restore(model, state)

    assert _open(model) == before


def test_a_thawed_fit_differs_from_one_that_was_open_from_the_start(tmp_path: Path):
    backbone = tiny_backbone(tmp_path / "tiny")
    options = TuneOptions(max_length=64, scored_train_rows=4)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), tmp_path, ["great", "other"], options)

    def fit(settings: dict[str, Any]) -> torch.Tensor:
        candidate = Candidate("tiny", backbone.sha256, "full", settings, seed=1)
        fitted = tuner(candidate, reviews(48, 1), reviews(16, 2), silent)
        return torch.from_numpy(fitted.validation_logits)

    plain, thawed = (
        fit({"epochs": 2, "batch_rows": 8}),
        fit({"epochs": 2, "batch_rows": 8, "thaw": 0.5}),
    )

    assert not torch.allclose(plain, thawed, atol=1e-5)
