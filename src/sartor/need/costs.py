"""What running a bundle costs, as a need states it: targets, their prices, what a request earns.

Prices come from three places, the later ones replacing the earlier target by target: the files that
are shipped in `prices/` (a file a target), a file of the user's own (`costs.prices`), and what
stands in the need (`costs.targets`). An entry of a user's may leave out what the shipped target of
the same name has; as soon as it states something of its own, the shipped date and source no longer
speak for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sartor.core.errors import Fault, NeedError
from sartor.core.near import near_miss
from sartor.need.document import Tree, is_mapping, line_of, read_document, repeated_keys, short

MAX_BYTES = 50_000
"""Of a file of prices; one has a page."""
_MOST_TARGETS = 50
_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)

Amount = Annotated[float, Field(strict=True, ge=0, le=1e12)]
Positive = Annotated[float, Field(strict=True, gt=0, le=1e12)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Share = Annotated[float, Field(strict=True, gt=0, le=1)]
Words = Annotated[str, Field(max_length=300)]


class PerUse(BaseModel):
    """A target that bills by use: memory and processor time by duration, and each request."""

    model_config = _STRICT

    kind: Literal["per_use"]
    currency: Currency
    """Three capitals, e.g. USD."""
    dated: date | None = None
    """When the prices were read."""
    source: Words = ""
    """Where they were read."""
    speed: Positive = 1.0
    """How fast a vCPU there is, against a core of the machine that measures."""
    per_gib_second: Amount
    """Of memory, while a request is answered."""
    per_vcpu_second: Amount = 0.0
    """Of processors, while a request is answered."""
    per_million_requests: Amount
    duration_step_ms: Positive = 1.0
    """A duration is rounded up to a multiple of it."""
    sizes: Annotated[list[tuple[Positive, Positive]], Field(max_length=100)] | None = None
    """MiB of memory and the vCPUs that come with it; instead of the four below."""
    memory_least_mib: Positive | None = None
    memory_most_mib: Positive | None = None
    memory_step_mib: Positive | None = None
    mib_per_vcpu: Positive | None = None
    """Memory that comes with one vCPU; below it, a share of one."""
    memory_mib: Positive | None = None
    """The memory to take; the cheapest that holds the bundle when left out."""
    free_requests: Amount = 0.0
    """A month, for nothing."""
    free_gib_seconds: Amount = 0.0
    free_vcpu_seconds: Amount = 0.0

    @model_validator(mode="after")
    def _has_sizes(self) -> "PerUse":
        steps = (self.memory_least_mib, self.memory_most_mib, self.memory_step_mib)
        if not self.sizes and None in (*steps, self.mib_per_vcpu):
            raise ValueError(
                "it has neither sizes nor all of memory_least_mib, memory_most_mib,"
                " memory_step_mib and mib_per_vcpu"
            )
        least, most, step = (part or 1.0 for part in steps)
        if not self.sizes and not least <= most <= least + 100_000 * step:
            raise ValueError("memory_most_mib is below memory_least_mib, or 100,000 steps above it")
        return self


class Machine(BaseModel):
    """A target that costs the same however much it is used: a rented machine, or one's own."""

    model_config = _STRICT

    kind: Literal["machine"]
    currency: Currency
    """Three capitals, e.g. USD."""
    dated: date | None = None
    """When the prices were read."""
    source: Words = ""
    """Where they were read."""
    speed: Positive = 1.0
    """How fast a vCPU there is, against a core of the machine that measures."""
    rent_per_month: Amount = 0.0
    purchase: Amount = 0.0
    """What it cost to buy, spread evenly over `years`."""
    years: Positive = 4.0
    watts: Amount = 0.0
    """Drawn on average, day and night."""
    per_kwh: Amount = 0.0
    """Of electricity."""
    vcpus: Positive
    """Cores that answer requests."""
    memory_mib: Positive
    utilisation: Share = 0.5
    """Share of its processor time that requests may take, on average."""


Target = Annotated[PerUse | Machine, Field(discriminator="kind")]
_KINDS: Mapping[str, type[PerUse] | type[Machine]] = {"per_use": PerUse, "machine": Machine}
_NAME = Field(pattern=r"^[^\W\d][\w.-]{0,49}$")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Volumes = Annotated[
    list[Annotated[int, Field(strict=True, ge=1, le=10**12)]],
    BeforeValidator(_as_list),
    Field(max_length=6),
]


class Costs(BaseModel):
    """What serving may cost, and what it earns."""

    model_config = _STRICT

    target: str | None = None
    """Where the bundle will run: what a criterion of cost means that names no target."""
    price_per_1000: Positive | None = None
    """What 1,000 requests earn, in the target's currency: the report then shows the margin."""
    requests: Volumes = Field(default_factory=lambda: [10_000, 1_000_000, 100_000_000])
    """Requests a month that the report shows costs for."""
    prices: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """A file with prices of targets, relative to the need file; in the form of `targets`."""
    targets: dict[Annotated[str, _NAME], Target] = Field(default_factory=dict[str, Target])
    """Prices that replace or extend the shipped ones: target to its keys."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The targets there are, with their prices.

    Args:
        targets: By name.
        costs: What the need says besides.
    """

    targets: Mapping[str, PerUse | Machine]
    costs: Costs = field(default_factory=Costs)

    def named(self, target: str | None) -> str | None:
        """The target that is meant: the one named, else the need's; None where there is none."""
        return target if target is not None else self.costs.target

    def as_json(self) -> dict[str, Any]:
        """Prices alone, to be kept with a run."""
        return {name: target.model_dump(mode="json") for name, target in self.targets.items()}

    @staticmethod
    def of_json(found: Mapping[str, Any], costs: Costs) -> "PriceBook":
        """The inverse of `as_json`."""
        read = {n: _KINDS[t["kind"]].model_validate(t) for n, t in found.items()}
        return PriceBook(read, costs)


def read_book(costs: Costs, root: Path) -> PriceBook:
    """All targets: shipped, of the user's file, of the need; see the module.

    Args:
        costs: Of the need.
        root: Folder that `costs.prices` is relative to.

    Raises:
        NeedError: If the file cannot be used, with every fault and its line.
    """
    own = {} if costs.prices is None else _of_file(root / costs.prices)
    shipped = {name: _KINDS[raw["kind"]].model_validate(raw) for name, raw in _shipped().items()}
    return PriceBook({**shipped, **own, **costs.targets}, costs)


def read_targets(section: Tree, path: str) -> tuple[dict[str, PerUse | Machine], list[Fault]]:
    """Targets with their prices completed from the shipped ones, and everything wrong with them.

    Args:
        section: Mapping of target to its keys, as the YAML reader gave it.
        path: What stands before a target in messages, e.g. "costs.targets.".
    """
    found: dict[str, PerUse | Machine] = {}
    faults: list[Fault] = []
    if len(section) > _MOST_TARGETS:
        what = f"{path}: {len(section)} targets are more than {_MOST_TARGETS}"
        return {}, [Fault(line_of(section, ()), what, "leave some out.")]
    for name, given in section.items():
        target, wrong = _complete(str(name), given, path)
        faults += [Fault(line_of(section, (name, *at)), what, fix) for at, what, fix in wrong]
        if target is not None:
            found[str(name)] = target
    return found, faults


_Wrong = tuple[tuple[str, ...], str, str]
"""Keys below the target, what is wrong, and what to do."""


def _complete(name: str, given: Tree, path: str) -> tuple[PerUse | Machine | None, list[_Wrong]]:
    if not is_mapping(given):
        fix = f"write `{name}:` and indent its keys below it."
        return None, [((), f"{path}{name} is {short(given)}, not a mapping", fix)]
    shipped = _shipped().get(name, {})
    own: dict[str, Any] = dict(given)
    kind = own.get("kind", shipped.get("kind"))
    if kind is None:
        known = near_miss(name, _shipped())
        fix = f"write kind: per_use or kind: machine, or change the name: {known}"
        return None, [((), f"{path}{name} is no shipped target, and has no kind", fix)]
    model = _KINDS.get(str(kind))
    if model is None:
        what = f"{path}{name}.kind is {short(kind)}"
        return None, [(("kind",), what, near_miss(str(kind), _KINDS))]
    fields = list(model.model_fields)
    unknown = [key for key in own if key not in fields]
    wrong: list[_Wrong] = [
        ((key,), f"{path}{name} has the unknown key {key!r}", near_miss(str(key), fields))
        for key in unknown
    ]
    base = {k: v for k, v in shipped.items() if k in fields}
    if own.keys() - {"utilisation", "speed", "memory_mib"}:
        base = {k: v for k, v in base.items() if k not in ("dated", "source")}
    merged = {**base, **{k: v for k, v in own.items() if k in fields}}
    try:
        return model.model_validate(merged), wrong
    except ValidationError as error:
        return None, [*wrong, *(_said(problem, f"{path}{name}") for problem in error.errors())]


def _said(problem: Mapping[str, Any], path: str) -> _Wrong:
    at = tuple(str(part) for part in problem["loc"])
    where = ".".join((path, *at))
    if problem["type"] == "missing":
        return (), f"{where} is missing", f"add `{at[-1]}: …` to the target."
    expected = problem["msg"].removeprefix("Value error, ")
    expected = expected[:1].lower() + expected[1:]
    shown = short(problem["input"]) if at else "not complete"
    return at, f"{where} is {shown}: {expected}", "correct the value; prices are 0 or more."


def _of_file(path: Path) -> dict[str, PerUse | Machine]:
    name = str(path)
    if not path.is_file():
        fix = (
            "correct the path, which is relative to the need file (with a bundle, to the current"
            " folder), or write the prices under costs.targets."
        )
        raise NeedError(name, [Fault(0, "the file of prices does not exist", fix)])
    if path.stat().st_size > MAX_BYTES:
        what = f"{path.stat().st_size:,} bytes are more than {MAX_BYTES:,}"
        raise NeedError(name, [Fault(0, what, "keep only the targets that you compare.")])
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = Fault(0, f"byte {error.start} is not UTF-8", "save the file as UTF-8.")
        raise NeedError(name, [fault]) from None
    tree, root = read_document(text, name)
    found, faults = read_targets(tree, "")
    if faults := [*repeated_keys(root), *faults]:
        raise NeedError(name, sorted(faults, key=lambda fault: fault.line))
    return found


@lru_cache
def _shipped() -> Mapping[str, Mapping[str, Any]]:
    folder = files("sartor.need") / "prices"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {
        name.removesuffix(".yaml"): dict(
            read_document((folder / name).read_text("utf-8"), f"prices/{name}")[0]
        )
        for name in names
    }
