"""Hidden states between layers: bfloat16 under autocast, and only for the block."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sartor.models.loading import load_text_backbone
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.narrow import narrow_states
from tests.tune.killed import tiny_backbone


@pytest.fixture
def model(tmp_path: Path) -> TextClassifier:
    encoder, _ = load_text_backbone(tiny_backbone(tmp_path / "tiny"))
    torch.manual_seed(0)
    return TextClassifier(encoder, 2, [2])


IDS, MASK = torch.arange(1, 9).view(2, 4), torch.ones(2, 4, dtype=torch.long)


def _seen(model: TextClassifier) -> tuple[torch.dtype, torch.Tensor]:
    """What the normalisation at the end of the first layer is given, and the logits."""
    named = model.encoder.encoder.named_modules()
    norms = [module for _, module in named if isinstance(module, nn.LayerNorm)]
    found: list[torch.dtype] = []
    handle = norms[0].register_forward_pre_hook(lambda m, args: found.append(args[0].dtype))
    logits = model(IDS, MASK)
    handle.remove()
    return found[0], logits


def test_under_autocast_the_stream_is_bfloat16_and_the_answers_stay(model):
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wide, expected = _seen(model)
        with narrow_states(model):
            narrow, logits = _seen(model)
        again, _ = _seen(model)

    assert (wide, narrow, again) == (torch.float32, torch.bfloat16, torch.float32)
    torch.testing.assert_close(logits.float(), expected.float(), atol=0.05, rtol=0.05)


def test_without_autocast_nothing_changes(model):
    model.eval()
    _, expected = _seen(model)

    with narrow_states(model):
        kind, logits = _seen(model)

    assert kind == torch.float32
    assert torch.equal(logits, expected)


def test_gradients_of_the_weights_are_float32(model):
    with narrow_states(model), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(IDS, MASK)
    logits.float().sum().backward()

    kinds = {p.grad.dtype for p in model.parameters() if p.grad is not None}
    assert kinds == {torch.float32}
