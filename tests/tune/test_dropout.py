"""Pooled masks: the share and scale of stock dropout, repeatable, attention included."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from sartor.tune.dropout import MaskPool, PooledDropout, pooled_dropout, set_dropout


@pytest.fixture(scope="module")
def bert() -> BertModel:
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.4,
    )
    torch.manual_seed(0)
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    mask = torch.ones(3, 12, dtype=torch.long)
    mask[1, 7:] = 0
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(1, 50, (3, 12), generator=generator),
        "attention_mask": mask,
    }


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_dropped_is_p_and_the_mean_is_kept(p, dtype):
    mask = MaskPool(seed=0).mask(torch.empty(1000, 300, dtype=dtype), p)

    assert mask.dtype == dtype
    assert (mask == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert mask.float().mean().item() == pytest.approx(1.0, abs=0.01)


def test_masks_repeat_with_the_counter_and_differ_without():
    like = torch.empty(64, 64)
    pool = MaskPool(seed=1)
    first, second = pool.mask(like, 0.1).clone(), pool.mask(like, 0.1).clone()
    again = MaskPool(seed=1)
    again.drawn = 1

    assert not torch.equal(first, second)
    assert torch.equal(again.mask(like, 0.1), second)
    assert not torch.equal(MaskPool(seed=2).mask(like, 0.1), first)


def test_a_tensor_larger_than_the_pool_is_masked_whole():
    mask = MaskPool(seed=0, size=1024).mask(torch.empty(100, 100), 0.2)

    assert mask.shape == (100, 100)
    assert (mask == 0).float().mean().item() == pytest.approx(0.2, abs=0.05)


def test_gradients_flow_only_where_the_mask_let_through():
    layer = PooledDropout(0.5, MaskPool(seed=0)).train()
    x = torch.ones(50, 50, requires_grad=True)

    y = layer(x)
    y.sum().backward()

    assert torch.equal(x.grad, y.detach())


def test_in_eval_mode_outputs_are_those_of_the_stock_model(bert, batch):
    with torch.no_grad():
        stock = bert(**batch).last_hidden_state
        with pooled_dropout(bert, seed=0):
            pooled = bert(**batch).last_hidden_state

    real = batch["attention_mask"].bool()
    torch.testing.assert_close(pooled[real], stock[real], rtol=1e-4, atol=1e-5)


def test_attention_is_dropped_while_training(bert, batch):
    """The backbone's hidden dropout is 0, so only attention can make the outputs differ."""
    with torch.no_grad(), pooled_dropout(bert, seed=0):
        bert.train()
        first, second = (bert(**batch).last_hidden_state for _ in range(2))
        bert.eval()

    assert not torch.allclose(first, second)


def test_the_stock_layers_and_attention_come_back(bert):
    before = list(bert.modules())
    kind = bert.config._attn_implementation

    with pooled_dropout(bert, seed=0):
        assert not any(type(m) is nn.Dropout for m in bert.modules())

    assert all(a is b for a, b in zip(bert.modules(), before, strict=True))
    assert bert.config._attn_implementation == kind


def test_set_dropout_reaches_every_layer():
    model = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Dropout(0.2)))

    set_dropout(model, 0.3)

    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
