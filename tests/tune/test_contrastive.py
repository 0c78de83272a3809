"""The contrastive loss against a direct reading of its formula."""

import math

import torch
from torch import nn

from sartor.tune.methods.contrastive import supervised_contrast


def test_the_loss_is_the_papers_sum_over_pairs_written_out() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 0, 1])
    z = [row / row.norm() for row in features]
    total = 0.0
    for i in range(5):
        others = [a for a in range(5) if a != i]
        bottom = math.log(sum(math.exp(float(z[i] @ z[a]) / 0.2) for a in others))
        partners = [p for p in others if labels[p] == labels[i]]
        total -= sum(float(z[i] @ z[p]) / 0.2 - bottom for p in partners) / len(partners)

    found = supervised_contrast(features, labels, 0.2)

    torch.testing.assert_close(found.double(), torch.tensor(total / 5, dtype=torch.float64))


def test_rows_alone_in_their_class_add_nothing_and_lengths_do_not_count() -> None:
    torch.manual_seed(1)
    features, labels = torch.randn(4, 3), torch.tensor([0, 0, 1, 2])

    found = supervised_contrast(features, labels, 0.1)
    longer = supervised_contrast(features * torch.tensor([[2.0], [1.0], [7.0], [0.5]]), labels, 0.1)
    none = supervised_contrast(features, torch.arange(4), 0.1)

    torch.testing.assert_close(found, longer)
    assert float(none) == 0.0


def test_its_gradient_is_the_finite_difference_and_never_nan() -> None:
    torch.manual_seed(2)
    features = torch.randn(6, 4, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])

    supervised_contrast(features, labels, 0.3).backward()

    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    step = torch.zeros(6, 4)
    step[3, 2] = 1e-2
    with torch.no_grad():
        up = supervised_contrast(features + step, labels, 0.3)
        down = supervised_contrast(features - step, labels, 0.3)
    torch.testing.assert_close(features.grad[3, 2], (up - down) / 2e-2, rtol=1e-2, atol=1e-4)


def test_descending_on_it_gathers_the_classes() -> None:
    torch.manual_seed(3)
    points = nn.Parameter(torch.randn(12, 2))
    labels = torch.arange(12) % 3
    before = float(supervised_contrast(points.detach(), labels, 0.2))
    optimizer = torch.optim.Adam([points], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        supervised_contrast(points, labels, 0.2).backward()
        optimizer.step()

    unit = nn.functional.normalize(points.detach(), dim=1)
    cosine, same = unit @ unit.T, labels[:, None] == labels[None, :]
    assert float(supervised_contrast(points.detach(), labels, 0.2)) < before / 2
    assert float(cosine[same].min()) > float(cosine[~same].max())
