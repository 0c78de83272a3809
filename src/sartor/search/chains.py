"""Which compressors are tried, and in which order.

One is always made: it is smaller and faster nearly everywhere, and costs seconds. The others are
tried only while the best form so far lacks size or speed that a criterion asks for, those that
train last, each put into the best chain so far at its place:

    weights → tokens → graph → numbers

so that what changes numbers, after which nothing else can be changed well, comes at the end. A
chain that holds parity and lies nearer to the criteria is the one that the next goes into.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from math import inf
from typing import Protocol, TypeVar

from sartor.core.errors import NothingToShrink
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict
from sartor.search.assess import timed
from sartor.shrink.api import COMPRESSORS, PLACES, Compressor, Eased

ALWAYS = ("int8_dynamic",)
Chain = tuple[str, ...]
"""Names of compressors, in the order in which they are applied; none is the model as exported."""


class Measured(Protocol):
    """What is known of a form: see `artefacts.Artefact`."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...
    @property
    def size_mb(self) -> float: ...
    @property
    def holds_parity(self) -> bool: ...


_Form = TypeVar("_Form", bound=Measured)


def title(chain: Chain, first: str) -> str:
    """What a form is called; `first` is the name of the one that nothing was done to."""
    return "+".join(chain) or first


def with_one_more(chain: Chain, name: str) -> Chain:
    """The chain with a compressor at its place; what stood at the same place gives way."""
    place = _of(name).place
    kept = [other for other in chain if _of(other).place != place]
    return tuple(sorted([*kept, name], key=lambda each: PLACES.index(_of(each).place)))


def compress(
    first: _Form,
    make: Callable[[Chain], _Form],
    clock: Callable[[_Form], _Form],
    asked: Sequence[Criterion],
    always: Sequence[str] = ALWAYS,
) -> list[_Form]:
    """All forms that were made, the first of them as it is.

    Args:
        first: The form that nothing was done to, measured.
        make: Makes and measures the form that a chain leaves; `NothingToShrink` where there is
            none.
        clock: Adds the verdicts on speed, which take seconds; once a form.
        asked: Criteria on size and speed.
        always: Compressors that are tried whatever is lacking.
    """
    made: dict[Chain, _Form] = {(): first}

    def attempt(chain: Chain) -> None:
        with suppress(NothingToShrink):
            made[chain] = make(chain)

    def rank(chain: Chain) -> tuple[bool, float, float]:
        return _rank(made[chain], asked)

    for name in always:
        attempt((name,))
    best = min(made, key=rank)
    made[best] = clock(made[best])
    if "speed" in _lacking(made[best], asked):
        made |= {chain: clock(form) for chain, form in made.items()}
        best = min(made, key=rank)
    waiting = _by_cost(set(COMPRESSORS.names()) - set(always))
    while waiting and (lacking := _lacking(made[best], asked)):
        name = waiting.pop(0)
        chain = with_one_more(best, name)
        if not lacking & set(_of(name).eases) or chain in made:
            continue
        attempt(chain)
        if chain not in made or not made[chain].holds_parity:
            continue
        made[chain] = clock(made[chain])
        if rank(chain) < rank(best):
            best = chain
            if _of(name).trains:
                # What found nothing to work on before may find it in other weights.
                waiting = [*_by_cost(set(_cheap()) - set(chain) - set(waiting)), *waiting]
    return list(made.values())


def _of(name: str) -> Compressor:
    return COMPRESSORS.get(name)()


def _cheap() -> list[str]:
    return [name for name in COMPRESSORS.names() if not _of(name).trains]


def _by_cost(names: Collection[str]) -> list[str]:
    return sorted(names, key=lambda name: (_of(name).trains, name))


def _lacking(form: Measured, asked: Sequence[Criterion]) -> set[Eased]:
    state = {verdict.criterion: verdict.state for verdict in form.verdicts}
    unmet = [c for c in asked if state.get(c.text) != "met"]
    return {"speed" if timed(criterion) else "size" for criterion in unmet}


def _rank(form: Measured, asked: Sequence[Criterion]) -> tuple[bool, float, float]:
    """Parity first, then how many times beyond the criteria the worst of them is, then size."""
    value = {verdict.criterion: verdict.value for verdict in form.verdicts}
    beyond = [_beyond(c, value[c.text]) for c in asked if c.text in value]
    return not form.holds_parity, max(beyond, default=0.0), form.size_mb


def _beyond(criterion: Criterion, value: float) -> float:
    least, most = sorted((value, criterion.threshold))
    ratio = most / least if least > 0 else inf
    missed = value < criterion.threshold if criterion.wants_more else value > criterion.threshold
    return ratio if missed else 1 / ratio
