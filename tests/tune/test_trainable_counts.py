"""What each method trains is what its paper says, tensor for tensor counted."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.api import METHODS, is_head

D, F, L = 24, 40, 3
"""Width, feed-forward width, layers."""
CASES: list[tuple[str, Mapping[str, Any], int]] = [
    # Biases of q, k, v and output, of the two feed-forward layers, of two norms; and the
    # embeddings' norm.
    ("bitfit", {}, L * (4 * D + F + D + 2 * D) + D),
    # l_k and l_v are as wide as the model, l_ff as its feed-forward part.
    ("ia3", {}, L * (2 * D + F)),
    ("lora", {"rank": 2}, L * 2 * (4 * 2 * D + 2 * (D + F))),
    # LoRA's A and B, and one E a rank.
    ("adalora", {"rank": 1, "initial_rank": 2}, L * 2 * (4 * 2 * D + 2 * (D + F) + 6)),
    # Two adapters a layer of 2md + d + m, and the norms beside them.
    ("adapter", {"placement": "houlsby", "bottleneck": 5}, L * 2 * (2 * 5 * D + D + 5 + 2 * D)),
    ("adapter", {"placement": "pfeiffer", "bottleneck": 5}, L * (2 * 5 * D + D + 5)),
    ("prompt", {"prompt_tokens": 7}, 7 * D),
    ("prefix", {"prefix_tokens": 7, "reparameterise": False}, 7 * L * 2 * D),
    (
        "prefix",
        {"prefix_tokens": 7, "reparameterise": True, "hidden": 9},
        7 * D + D * 9 + 9 + L * (9 * 2 * D + 2 * D),
    ),
]


def attached(method: str, settings: Mapping[str, Any]) -> TextClassifier:
    config = BertConfig(
        vocab_size=30,
        hidden_size=D,
        intermediate_size=F,
        num_hidden_layers=L,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    model = TextClassification().build(BertModel(config, add_pooling_layer=False), 2)
    METHODS.get(method)(**settings).attach(model)
    return model


@pytest.mark.parametrize(("method", "settings", "count"), CASES, ids=lambda v: str(v))
def test_as_many_weights_train_as_the_paper_says_and_the_head(
    method: str, settings: Mapping[str, Any], count: int
):
    model = attached(method, settings)

    trained = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}

    assert sum(n for name, n in trained.items() if not is_head(name)) == count
    assert sum(n for name, n in trained.items() if is_head(name)) == 2 * D + 2


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_virtual_tokens_move_the_answers_but_are_not_counted_in_the_mean(method: str, rows: int):
    """A prompt or prefix that nothing attends to leaves the plain model's answers."""
    model = attached(method, {f"{method}_tokens": 5}).eval()
    plain = (
        TextClassification()
        .build(BertModel(model.encoder.config, add_pooling_layer=False), 2)
        .eval()
    )
    names = {n.replace(".base.", "."): t for n, t in model.state_dict().items()}
    lacking, _ = plain.load_state_dict(names, strict=False)
    assert lacking == []
    ids, mask = torch.randint(1, 30, (rows, 6)), torch.ones(rows, 6, dtype=torch.long)
    mask[0, 4:] = 0
    with torch.no_grad():
        wanted, found = plain(ids, mask), model(ids, mask)
        _hide(model, 5)
        hidden = model(ids, mask)

    assert not torch.allclose(found, wanted, atol=1e-4)
    torch.testing.assert_close(hidden, wanted, rtol=0, atol=1e-6)


def _hide(model: TextClassifier, tokens: int) -> None:
    """Close the virtual tokens to every attention."""
    for name, module in model.named_modules():
        if name.endswith("attention.self") or name.endswith("attention.self.base"):
            inner: Callable[..., Any] = module.forward

            def closed(
                states: torch.Tensor, attention_mask: Any = None, *, inner=inner, **kwargs: Any
            ):
                if attention_mask is None:
                    length = states.shape[1] + (tokens if "past_key_values" in kwargs else 0)
                    attention_mask = torch.zeros(len(states), 1, 1, length)
                if attention_mask.dtype == torch.bool:
                    attention_mask = torch.zeros(attention_mask.shape).masked_fill(
                        ~attention_mask, torch.finfo(torch.float32).min
                    )
                attention_mask = attention_mask.clone()
                attention_mask[..., :tokens] = torch.finfo(torch.float32).min
                return inner(states, attention_mask=attention_mask, **kwargs)

            if hasattr(module, "query"):
                module.forward = closed  # type: ignore[method-assign]
