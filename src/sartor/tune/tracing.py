"""Answers of learners to a `Tracer`: one descent on all rows at once.

    min over all  Σ_rows −log p(right or wrong) + ½ Σ penalties
    easy_i = level + m_s + x_i · b + d_i      m_s of the skill, x_i what the item's text says

d_i, an item's own part, is drawn to 0: an item that few answered is taken to be as easy as its
skill and its text say, and one that nobody answered exactly so (explanatory item response: De Boeck
and Wilson 2004). Rows predict each answer from those before it, so what is minimised is what is
judged. L-BFGS in double precision: no rate to choose, the same result each time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.errors import SettingError
from sartor.core.histories import HISTORY, LENGTH
from sartor.core.protocols import Floats
from sartor.tasks.mastery.model import Seen, Sizes, Tracer
from sartor.tune.choices import decayed, texts_of
from sartor.tune.frozen import ClosedFit, Frozen
from sartor.tune.fused import table_of, wordless
from sartor.tune.generators import seeded

_ROWS, _MOST_ROWS = 4_096, 60_000
"""Rows in one pass; and rows that are learnt from, the latest."""
_ITERATIONS = 60
_TEXT_WIDTH = 32
_SKILL_PENALTY, _TEXT_PENALTY, _OWN_PENALTY, _GROWTH_PENALTY = 0.1, 2.0, 5.0, 10.0
_SPREADS = (0.5, 0.2)
"""Variances of θ and of δ that the descent starts from and is drawn to."""
_SPREAD_PENALTY = 1.0


@dataclass(frozen=True, slots=True)
class Tracing:
    """What a model has.

    Args:
        decays: One for each way of counting answers; none are counted where there is none.
        by_skill: Whether they are counted for each skill too, and skills differ in how easy.
        steps: Towards the likeliest θ and δ; 0 where none are sought.
        fade: Weight of an answer there against that of the next newer one.
        own: Strength with which an item's own part is drawn to 0.
        texts: (items, width) what their texts say, or None.
    """

    decays: tuple[float, ...] = ()
    by_skill: bool = True
    steps: int = 0
    fade: float = 1.0
    own: float = 1.0
    texts: Floats | None = None


@dataclass(frozen=True, slots=True)
class Lessons:
    """Training rows as tensors.

    Args:
        columns: (rows, 2 · places), as `Tracer.seen` takes them.
        asked: (rows,) items.
        right: (rows,) 1.0 where the answer was right.
        skill: (items,).
        skills: Number of them.
    """

    columns: Tensor
    asked: Tensor
    right: Tensor
    skill: Tensor
    skills: int

    def parts(self) -> Iterator["Lessons"]:
        for at in range(0, len(self.asked), _ROWS):
            rows = slice(at, at + _ROWS)
            yield Lessons(
                self.columns[rows], self.asked[rows], self.right[rows], self.skill, self.skills
            )


class _Easiness(nn.Module):
    """How easy items are: level, skill, text, and an own part."""

    def __init__(self, lessons: Lessons, how: Tracing) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))
        self.of_skill = nn.Parameter(torch.zeros(lessons.skills))
        self.own = nn.Parameter(torch.zeros(len(lessons.skill)))
        width = 0 if how.texts is None else how.texts.shape[1]
        self.of_text = nn.Parameter(torch.zeros(width))
        self.of_skill.requires_grad_(how.by_skill)
        texts = np.zeros((len(lessons.skill), 0)) if how.texts is None else how.texts
        self.register_buffer("texts", torch.from_numpy(np.asarray(texts, np.float32)))
        self.register_buffer("skill", lessons.skill)
        self.strength = how.own

    texts: Tensor
    skill: Tensor

    def forward(self) -> Tensor:
        """(items,) log odds."""
        return self.level + self.of_skill[self.skill] + self.texts @ self.of_text + self.own

    def penalty(self) -> Tensor:
        """Twice what is added to the loss of all rows."""
        return (
            self.strength * self.own.square().sum()
            + _SKILL_PENALTY * self.of_skill.square().sum()
            + _TEXT_PENALTY * self.of_text.square().sum()
        )


def lessons_of(frozen: Frozen) -> Lessons:
    """The training rows, the latest where there are many; places that no row fills are left out.

    Raises:
        SettingError: If the rows have no history.
    """
    table = table_of(frozen, frozen.train)[-_MOST_ROWS:]
    truth = frozen.labels[-_MOST_ROWS:].astype(np.int64)
    skill, skills = skills_of(frozen)
    used = max(1, int((table[:, :LENGTH] >= 0).any(0).sum()))
    columns = np.concatenate([table[:, :used], table[:, LENGTH : LENGTH + used]], axis=1)
    return Lessons(
        torch.from_numpy(columns).double(),
        torch.from_numpy(truth[:, 0]),
        torch.from_numpy(truth[:, 1]).double(),
        torch.from_numpy(skill),
        skills,
    )


def skills_of(frozen: Frozen) -> tuple[NDArray[np.int64], int]:
    """(items,) the number of each item's skill, and how many skills there are."""
    if frozen.code is None:
        raise SettingError(
            "the rows have no histories, and the method reads nothing else.",
            fix="use a method of the task's own.",
        )
    named = frozen.code.columns[HISTORY].skills or [""] * len(frozen.outputs)
    place = {name: at for at, name in enumerate(sorted(set(named)))}
    return np.array([place[name] for name in named], np.int64), len(place)


def item_texts(frozen: Frozen, layers: tuple[int, ...]) -> Floats:
    """(items, width) what the items' texts say; see `choices.texts_of`."""
    return texts_of(frozen, layers, _TEXT_WIDTH)


def traced(frozen: Frozen, lessons: Lessons, how: Tracing, seed: int) -> ClosedFit:
    """The model that makes the training rows likeliest.

    Args:
        frozen: Validation rows to score.
        lessons: From `lessons_of`.
        how: What it has.
        seed: Of the candidate; nothing is drawn, but the fit must not depend on what was.
    """
    with seeded(seed):
        model, easiness = _begun(lessons, how)
    _descend(model, easiness, lessons)
    with torch.no_grad():
        model.easy.copy_(easiness())
        model = model.float().eval()
        held = torch.from_numpy(table_of(frozen, frozen.validation))
        scored = [model(part).numpy() for part in held.split(_ROWS)]
    logits = np.concatenate([np.empty((0, model.sizes.items), np.float32), *scored])
    made = (model.requires_grad_(False), wordless())
    return ClosedFit(logits, np.empty((0, model.sizes.items), np.float32), made=made)


def _begun(lessons: Lessons, how: Tracing) -> tuple[Tracer, _Easiness]:
    """The model before it is learnt, with what is open to learning."""
    sizes = Sizes(len(lessons.skill), lessons.skills, len(how.decays), how.steps)
    model, easiness = Tracer(sizes).double(), _Easiness(lessons, how).double()
    with torch.no_grad():
        model.skill.copy_(lessons.skill)
        for at, decay in enumerate(how.decays):
            model.decay[at] = torch.from_numpy(decayed(decay, LENGTH, LENGTH))
        model.fade.copy_(torch.from_numpy(decayed(how.fade, LENGTH, LENGTH)))
        model.spread.copy_(torch.tensor(_SPREADS).log())
    model.easy.requires_grad_(False)
    model.own.requires_grad_(how.by_skill)
    for tensor in (model.growth, model.spread):
        tensor.requires_grad_(how.steps > 0)
    return model, easiness


def _descend(model: Tracer, easiness: _Easiness, lessons: Lessons) -> None:
    opened = [p for p in (*model.parameters(), *easiness.parameters()) if p.requires_grad]
    descent = torch.optim.LBFGS(
        [p for p in opened if p.numel()],
        max_iter=_ITERATIONS,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    rows = len(lessons.asked)

    def closure() -> Tensor:
        descent.zero_grad()
        total = _penalty(model, easiness) / (2 * rows)
        total.backward()
        for part in lessons.parts():
            loss = _loss(model, easiness(), part) / rows
            loss.backward()
            total = total.detach() + loss.detach()
        return total

    descent.step(closure)


def _loss(model: Tracer, easy: Tensor, part: Lessons) -> Tensor:
    """Sum over rows, in nats."""
    seen: Seen = model.seen(part.columns)
    common, own = model.state(easy, seen)
    skill = part.skill[part.asked]
    odds = easy[part.asked] + common[:, 0] + own.gather(1, skill[:, None])[:, 0]
    return nn.functional.binary_cross_entropy_with_logits(odds, part.right, reduction="sum")


def _penalty(model: Tracer, easiness: _Easiness) -> Tensor:
    apart = model.growth - model.growth.mean()
    usual = model.spread.new_tensor(_SPREADS).log()
    return (
        easiness.penalty()
        + _OWN_PENALTY * model.own.square().sum()
        + _GROWTH_PENALTY * apart.square().sum()
        + _SPREAD_PENALTY * (model.spread - usual).square().sum()
    )


def fitted(frozen: Frozen, hows: Sequence[Tracing], seeds: Sequence[int]) -> list[ClosedFit]:
    """One fit for each, on the same rows."""
    lessons = lessons_of(frozen)
    return [traced(frozen, lessons, how, seed) for how, seed in zip(hows, seeds, strict=True)]
