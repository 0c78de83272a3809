"""Attention for training equals the plain form in value and gradient, mask and dropout included."""

import pytest
import torch
from torch import Tensor

from sartor.tune.attention import attend


def _plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, kept: Tensor | None) -> Tensor:
    scores = q @ k.transpose(2, 3) * 0.5
    shares = (scores if mask is None else scores + mask).softmax(-1)
    return ((shares if kept is None else shares * kept) @ v).transpose(1, 2)


@pytest.mark.parametrize("read", [5, 8], ids=["square", "virtual keys in front"])
@pytest.mark.parametrize("masked", ["no mask", "one for all", "one a text"])
@pytest.mark.parametrize("drops", [False, True])
def test_values_and_gradients_are_those_of_the_plain_form(read, masked, drops):
    draw = torch.Generator().manual_seed(0)
    shapes = (2, 3, 5, 4), (2, 3, read, 4), (2, 3, read, 4)
    mine = [torch.randn(s, generator=draw, dtype=torch.float64, requires_grad=True) for s in shapes]
    theirs = [x.detach().clone().requires_grad_() for x in mine]
    mask = None
    if masked != "no mask":
        mask = torch.zeros(1 if masked == "one for all" else 2, 1, 5, read, dtype=torch.float64)
        mask[-1, :, :, -2:] = torch.finfo(torch.float64).min
    kept = torch.rand(2, 3, 5, read, generator=draw, dtype=torch.float64).gt(0.3) / 0.7
    drop = (lambda shares: kept.view(shares.shape)) if drops else None

    out = attend(*mine, mask, scale=0.5, drop=drop)
    expected = _plain(*theirs, mask, kept if drops else None)
    towards = torch.randn(out.shape, generator=draw, dtype=torch.float64)
    out.backward(towards)
    expected.backward(towards)

    torch.testing.assert_close(out, expected)
    for a, b in zip(mine, theirs, strict=True):
        assert b.grad.abs().max() > 0.1
        torch.testing.assert_close(a.grad, b.grad)


def test_gradients_agree_with_finite_differences():
    draw = torch.Generator().manual_seed(1)
    inputs = [
        torch.randn(1, 2, 3, 4, generator=draw, dtype=torch.float64, requires_grad=True)
        for _ in range(3)
    ]

    assert torch.autograd.gradcheck(
        lambda q, k, v: attend(q, k, v, None, scale=0.5, drop=None), inputs
    )


def test_gradients_keep_their_type_where_softmax_answers_in_float32(monkeypatch):
    # As autocast has it on a GPU.
    plain = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda x, dim: plain(x.float(), dim))
    draw = torch.Generator().manual_seed(3)
    mine = [torch.randn(1, 2, 5, 4, generator=draw).bfloat16().requires_grad_() for _ in range(3)]

    out = attend(*mine, None, scale=0.5, drop=None)
    out.sum().backward()

    assert out.dtype == torch.bfloat16
    for tensor in mine:
        assert tensor.grad is not None
        assert tensor.grad.dtype == torch.bfloat16


def test_what_is_masked_gets_no_attention_in_bfloat16():
    draw = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 2, 6, 8, generator=draw).bfloat16() for _ in range(3))
    mask = torch.zeros(2, 1, 6, 6)
    mask[1, :, :, 4:] = torch.finfo(torch.float32).min

    out = attend(q, k, v, mask, scale=0.35, drop=None)
    v[1, :, 4:] = 1000.0
    again = attend(q, k, v, mask, scale=0.35, drop=None)

    assert out.dtype == torch.bfloat16
    assert torch.isfinite(out).all()
    assert torch.equal(out, again)
