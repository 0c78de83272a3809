"""What traces a learner, as arrays: what their answers say of them, added to how easy an item is.

    logit_i = easy_i + common(h) + own(h)[skill of i]

A history says it in one way or both:

    counts     common = Σ_d c_d · (log(1 + R_d), log(1 + W_d)),  R_d, W_d the right and wrong
               answers, an answer p places back weighing decay_d^p; own the same for each skill
               (performance factors: Pavlik, Cen and Koedinger 2009)
    response   θ and δ_s that are likeliest where every answer of the history was right with log
               odds easy + θ + δ_s + γ_s log(1 + n), n answers to the skill before it, θ ~ N(0, v),
               δ_s ~ N(0, u); common = θ, own = δ_s + γ_s log(1 + n now). Item response with growth

The likeliest are sought by a fixed number of steps, each a Newton step with the largest curvature
there can be, 1/4 an answer, which never overshoots (Böhning and Lindsay 1988). What was learnt is
learnt through these very steps.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sartor.core.histories import LENGTH
from sartor.tasks._encoder.files import write_model

KIND = "tracer"
_CURVE = 0.25


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is of everything.

    Args:
        items: Number of outputs.
        skills: At least 1.
        decays: Ways in which answers are counted; 0 where they are not.
        steps: Towards the likeliest θ and δ; 0 where none are sought.
    """

    items: int
    skills: int
    decays: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """Histories as tensors, the newest answer first.

    Args:
        item: (rows, places) integers; 0 where nothing is.
        skill: (rows, places) of the items.
        right: (rows, places) 1.0 where the answer was right.
        there: (rows, places) 1.0 where there is one.
        before: (rows, places) answers to the same skill before it.
    """

    item: Tensor
    skill: Tensor
    right: Tensor
    there: Tensor
    before: Tensor


class Tracer(nn.Module):
    """See above.

    Args:
        sizes: See `Sizes`.
    """

    skill: Tensor
    decay: Tensor
    fade: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.register_buffer("skill", torch.zeros(sizes.items, dtype=torch.int64))
        self.register_buffer("decay", torch.ones(sizes.decays, LENGTH))
        self.register_buffer("fade", torch.ones(LENGTH))
        self.easy = nn.Parameter(torch.zeros(sizes.items))
        self.common = nn.Parameter(torch.zeros(sizes.decays, 2))
        self.own = nn.Parameter(torch.zeros(sizes.decays, 2, sizes.skills))
        self.growth = nn.Parameter(torch.zeros(sizes.skills))
        self.spread = nn.Parameter(torch.zeros(2))
        """Logarithms of the variances v and u."""

    @property
    def reads(self) -> int:
        """Numbers of a row."""
        return 2 * LENGTH

    def forward(self, columns: Tensor) -> Tensor:
        """Logits (batch, items).

        Args:
            columns: (batch, 2 · LENGTH) as `core.histories.encode_answers` gives them.
        """
        common, own = self.state(self.easy, self.seen(columns))
        return self.easy + common + own.index_select(1, self.skill)

    def seen(self, columns: Tensor) -> Seen:
        """What rows hold, of as many places as they have, half as many as columns."""
        codes, before = columns.chunk(2, dim=1)
        there = (codes >= 0).to(columns.dtype)
        whole = codes.clamp(min=0).long()
        item = whole // 2
        right = (whole - 2 * item).to(columns.dtype)
        return Seen(item, self.skill[item], right, there, before.clamp(min=0))

    def state(self, easy: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """((rows, 1), (rows, skills)): what is added to every item, and to those of a skill.

        Args:
            easy: (items,) log odds of each.
            seen: Histories.
        """
        rows = seen.item.shape[0]
        common = easy.new_zeros(rows, 1)
        own = easy.new_zeros(rows, self.sizes.skills)
        places = seen.item.shape[1]
        for at in range(self.sizes.decays):
            weight = seen.there * self.decay[at, :places]
            hit = weight * seen.right
            for side, each in enumerate((hit, weight - hit)):
                counted = torch.log1p(each.sum(1, keepdim=True))
                common = common + self.common[at, side] * counted
                own = own + self.own[at, side] * torch.log1p(self._by_skill(seen, each))
        if self.sizes.steps:
            theta, delta = self._likeliest(easy, seen, self.fade[:places])
            now = torch.log1p(self._by_skill(seen, seen.there))
            common, own = common + theta, own + delta + self.growth * now
        return common, own

    def _by_skill(self, seen: Seen, each: Tensor) -> Tensor:
        """(rows, skills) sums of (rows, places)."""
        empty = each.new_zeros(each.shape[0], self.sizes.skills)
        return empty.scatter_add(1, seen.skill, each)

    def _likeliest(self, easy: Tensor, seen: Seen, fade: Tensor) -> tuple[Tensor, Tensor]:
        weight = seen.there * fade
        known = easy[seen.item] + self.growth[seen.skill] * torch.log1p(seen.before)
        tight = torch.exp(-self.spread)
        theta = known.new_zeros(known.shape[0], 1)
        delta = known.new_zeros(known.shape[0], self.sizes.skills)
        common = _CURVE * weight.sum(1, keepdim=True) + tight[0]
        own = _CURVE * self._by_skill(seen, weight) + tight[1]
        for _ in range(self.sizes.steps):
            missed = self._missed(seen, weight, known + theta + delta.gather(1, seen.skill))
            theta = theta + (missed.sum(1, keepdim=True) - tight[0] * theta) / common
            missed = self._missed(seen, weight, known + theta + delta.gather(1, seen.skill))
            delta = delta + (self._by_skill(seen, missed) - tight[1] * delta) / own
        return theta, delta

    @staticmethod
    def _missed(seen: Seen, weight: Tensor, odds: Tensor) -> Tensor:
        """(rows, places) what was answered less what was expected."""
        return weight * (seen.right - torch.sigmoid(odds))

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        write_model(self, folder, {"kind": KIND, **asdict(self.sizes)})


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tracer:
    """What `save` wrote.

    Raises:
        KeyError, RuntimeError, ValueError: If the two do not fit each other.
    """
    if shape["kind"] != KIND:
        raise ValueError(f"no model that traces learners is called {shape['kind']!r}")
    sizes = Sizes(**{each.name: shape[each.name] for each in fields(Sizes)})
    model = Tracer(sizes)
    model.load_state_dict(dict(tensors))
    if not 0 <= int(model.skill.min()) <= int(model.skill.max()) < sizes.skills:
        raise RuntimeError(f"skills point outside the {sizes.skills} there are")
    return model.eval()
