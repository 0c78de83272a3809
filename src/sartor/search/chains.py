"""Which compressors are tried, and in which order.

One form is always made: it is smaller and faster nearly everywhere, and costs seconds. Other
compressors are tried only while the best form so far lacks size or speed that a criterion asks for,
those that train last, each put into the best chain so far at its place:

    layers → heads → neurons → weights → tokens → graph → numbers → texts

so that what changes numbers, after which nothing else can be changed well, comes at the end. A
chain that holds parity and lies nearer to the criteria is the one that the next goes into.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from math import inf
from typing import Generic, Protocol, TypeVar

from sartor.core.errors import NothingToShrink
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict
from sartor.search.assess import timed
from sartor.shrink.api import COMPRESSORS, PLACES, Compressor, Eased

Chain = tuple[str, ...]
"""Names of compressors, in the order in which they are applied; none is the model as exported."""
ALWAYS: tuple[Chain, ...] = (("optimise_graph", "int8_rows"), ("int8_rows",))
"""The first of these that finds something to work on is made, whatever is lacking."""
REPLIES: tuple[Chain, ...] = (("int8_rows",),)
"""All that is made of a model that writes."""


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
    always: Sequence[Chain] = ALWAYS,
    only: Collection[str] | None = None,
) -> list[_Form]:
    """All forms that were made, the first of them as it is.

    Args:
        first: The form that nothing was done to, measured.
        make: Makes and measures the form that a chain leaves; `NothingToShrink` where there is
            none.
        clock: Adds the verdicts on speed, which take seconds; once a form.
        asked: Criteria on size and speed.
        always: See `ALWAYS`.
        only: Compressors that are all tried, whatever is lacking, and no others; None for those
            that ease what is.
    """
    forms = _Forms(first, make, clock, asked)
    for chain in always:
        if forms.attempt(chain, chain[-1]):
            break
    best = forms.best()
    names = set(COMPRESSORS.names() if only is None else only)
    waiting = _by_cost(names - {chain[-1] for chain in always})
    idle = set[str]()
    while waiting and ((lacking := forms.lacking(best)) or only):
        name = waiting.pop(0)
        chain = with_one_more(best, name)
        idles = not lacking & set(_of(name).eases) or forms.spares(name)
        if chain in forms.made or (idles and only is None):
            continue
        if not (chain := forms.attempt(chain, name)):
            idle.add(name)
        elif forms.nearer(chain, best):
            best = chain
            if _of(name).trains:
                # What found nothing to work on before may find it in other weights.
                again = {name for name in idle if not _of(name).trains}
                waiting = [*_by_cost(again), *waiting]
    return list(forms.made.values())


class _Forms(Generic[_Form]):
    """The forms of one model by the chain that made them; arguments as for `compress`."""

    def __init__(
        self,
        first: _Form,
        make: Callable[[Chain], _Form],
        clock: Callable[[_Form], _Form],
        asked: Sequence[Criterion],
    ) -> None:
        self.made: dict[Chain, _Form] = {(): first}
        self._make, self._clock, self._asked = make, clock, asked

    def attempt(self, chain: Chain, name: str) -> Chain:
        """The chain that was made: without one or all of what, after `name`, finds no work.

        Empty where `name` finds nothing itself.
        """
        if self._there(chain):
            return chain
        upto = chain.index(name) + 1
        alone = chain[:upto]
        if alone == chain or not self._there(alone):
            return ()
        fewer = (tuple(n for n in chain if n != later) for later in chain[upto:])
        return next((c for c in fewer if c != alone and self._there(c)), alone)

    def _there(self, chain: Chain) -> bool:
        """Whether the form was made, or can be."""
        if chain not in self.made:
            with suppress(NothingToShrink):
                self.made[chain] = self._make(chain)
        return chain in self.made

    def best(self) -> Chain:
        """Of those that there are; its speed is known."""
        best = min(self.made, key=self._rank)
        self._time(best)
        if "speed" in self.lacking(best):
            for chain in self.made:
                self._time(chain)
            best = min(self.made, key=self._rank)
        return best

    def nearer(self, chain: Chain, best: Chain) -> bool:
        """Whether one holds parity and is nearer to the criteria than the best so far."""
        if not self.made[chain].holds_parity:
            return False
        self._time(chain)
        return self._rank(chain) < self._rank(best)

    def lacking(self, chain: Chain) -> set[Eased]:
        """What criteria that are not met ask for."""
        state = {verdict.criterion: verdict.state for verdict in self.made[chain].verdicts}
        unmet = [c for c in self._asked if state.get(c.text) != "met"]
        return {"speed" if timed(criterion) else "size" for criterion in unmet}

    def spares(self, name: str) -> bool:
        """Whether the loss that a compressor makes up for was not there: then it is no faster and
        no smaller, and has to be trained."""
        regained = getattr(_of(name), "regains", "")
        return any(regained in chain and form.holds_parity for chain, form in self.made.items())

    def _time(self, chain: Chain) -> None:
        self.made[chain] = self._clock(self.made[chain])

    def _rank(self, chain: Chain) -> tuple[bool, float, float]:
        """Parity first, then how far beyond the criteria the worst of them is, then size."""
        form = self.made[chain]
        value = {verdict.criterion: verdict.value for verdict in form.verdicts}
        far = [beyond(c, value[c.text]) for c in self._asked if c.text in value]
        return not form.holds_parity, max(far, default=0.0), form.size_mb


def _of(name: str) -> Compressor:
    return COMPRESSORS.get(name)()


def _by_cost(names: Collection[str]) -> list[str]:
    """The quick ones, then those that train, by their passes over the rows where they state any."""

    def cost(name: str) -> tuple[bool, int, str]:
        compressor = _of(name)
        return compressor.trains, getattr(compressor, "epochs", 0), name

    return sorted(names, key=cost)


def beyond(criterion: Criterion, value: float) -> float:
    """How many times the threshold the value is beyond it; below 1 where it is met."""
    least, most = sorted((value, criterion.threshold))
    ratio = most / least if least > 0 else inf
    missed = value < criterion.threshold if criterion.wants_more else value > criterion.threshold
    return ratio if missed else 1 / ratio
