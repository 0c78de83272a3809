"""What serving costs, by target: as a run or `sartor cost` found it, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from sartor.core.phrases import money
from sartor.report.words import Words

Ends = tuple[float, float, float]
"""Value, lowest and highest."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A target, and the requests a month from which it is the cheapest."""

    target: str
    requests: int


@dataclass(frozen=True, slots=True)
class Beside:
    """A target beside the need's own: whether it is the cheaper for the first request, and from how
    many requests a month that turns round; None for never."""

    target: str
    cheaper_at_first: bool
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class TargetCosts:
    """Costs in `currency`; `why` says why there are none. Machines have a `month` and a `capacity`
    in requests, targets that bill by use a `duration_ms`."""

    target: str = ""
    currency: str = ""
    dated: str = ""
    source: str = ""
    why: str = ""
    per_1000: Ends | None = None
    monthly: tuple[Ends, ...] = ()
    margin_per_1000: Ends | None = None
    margin_monthly: tuple[Ends, ...] = ()
    memory_mib: float | None = None
    vcpus: float | None = None
    duration_ms: float | None = None
    month: float | None = None
    capacity: float | None = None
    utilisation: float | None = None


@dataclass(frozen=True, slots=True)
class ServingCosts:
    """Columns of each target's `monthly` are those of `requests`."""

    cpu_ms: Ends
    busy_ms: Ends
    memory_mib: float
    busy_memory_mib: float
    needs_mib: float
    processes: int
    conditions: str = ""
    requests: tuple[int, ...] = ()
    price_per_1000: float | None = None
    target: str = ""
    targets: tuple[TargetCosts, ...] = ()
    comparable: bool = True
    cheapest: tuple[str, ...] = ()
    cheapest_from: tuple[Turn, ...] = ()
    beside_target: tuple[Beside, ...] = ()
    horizon: int = 0


@dataclass(frozen=True, slots=True)
class CostWords:
    """Sentences and cells of one table of costs."""

    words: Words
    found: ServingCosts

    def measured(self) -> str:
        """What a request takes, and what that holds for."""
        _, number = self.words.translate, self.words.number
        (value, low, high), busy = self.found.cpu_ms, self.found.busy_ms
        return _(
            "A request takes {value} ms of processor time ({low} – {high}, {n} fresh serving "
            "processes) and {memory} MiB of memory; where eight are always at hand, {busy} ms "
            "({least} – {most}) and {crowd} MiB."
        ).format(
            value=number(value),
            low=number(low),
            high=number(high),
            busy=number(busy[0]),
            least=number(busy[1]),
            most=number(busy[2]),
            n=self.found.processes,
            memory=number(self.found.memory_mib, 0),
            crowd=number(self.found.busy_memory_mib, 0),
        )

    def cell(self, ends: Ends | None, currency: str) -> str:
        """An amount with its currency and its range."""
        if ends is None:
            return self.words.translate("not measured")
        value, low, high = map(money, ends)
        return f"{currency} {value}" if low == high else f"{currency} {value} ({low} – {high})"

    def how(self, row: TargetCosts) -> str:
        """What is billed."""
        _, number = self.words.translate, self.words.number
        if row.why:
            return row.why
        if row.duration_ms is not None:
            return _("{memory} MiB, {vcpus} vCPU, {ms} ms billed").format(
                memory=number(row.memory_mib, 0),
                vcpus=number(row.vcpus),
                ms=number(row.duration_ms),
            )
        return _(
            "{month} a month each; {capacity} requests a month on one, at {share} of {vcpus} vCPU"
        ).format(
            month=f"{row.currency} {money(row.month or 0.0)}",
            capacity=number(row.capacity, 0),
            share=self.words.percent(row.utilisation),
            vcpus=number(row.vcpus),
        )

    def volume(self, requests: int) -> str:
        return self.words.translate("{n} requests a month").format(n=f"{requests:,}")

    def verdicts(self) -> list[str]:
        """Which target is the cheapest where, and from where on others beat the need's own."""
        _ = self.words.translate
        if not self.found.comparable:
            return [_("The prices are in different currencies: they are not compared.")]
        beside = (self._beside(other) for other in self.found.beside_target)
        return [*self._turns(self.found.cheapest_from), *beside]

    def _beside(self, other: Beside) -> str:
        _ = self.words.translate
        if other.requests is None:
            message = _(
                "{target} is cheaper than {other} at any volume up to {n} requests a month."
            )
        else:
            message = _("{target} is cheaper than {other} below {n} requests a month.")
        pair = (other.target, self.found.target)
        first, second = pair if other.cheaper_at_first else pair[::-1]
        n = f"{other.requests or self.found.horizon:,}"
        return message.format(target=first, other=second, n=n)

    def _turns(self, turns: Sequence[Turn]) -> list[str]:
        _ = self.words.translate
        if len(turns) == 1:
            return [
                _("{target} is the cheapest at any volume up to {n} requests a month.").format(
                    target=turns[0].target, n=f"{self.found.horizon:,}"
                )
            ]
        if not turns:
            return []
        first = _("{target} is the cheapest below {n} requests a month.").format(
            target=turns[0].target, n=f"{turns[1].requests:,}"
        )
        later = (
            _("From {n} requests a month, {target} is the cheapest.").format(
                n=f"{turn.requests:,}", target=turn.target
            )
            for turn in turns[1:]
        )
        return [first, *later]

    def limits(self) -> str:
        """What the numbers leave out."""
        return self.words.translate(
            "Left out: cold starts, traffic, storage and people's work. A vCPU is taken to be as "
            "fast as a core here, where its prices do not say otherwise. Prices change: check them "
            "before you rely on them."
        )
