"""Which rungs there are: methods by cost, on the backbones the need allows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sartor.core.errors import NothingToTune, SettingError
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.types import Backbone, Candidate
from sartor.search.estimates import Estimate, Range, Work, estimate
from sartor.search.feasible import Attaches, Body, Dropped, Sieve
from sartor.search.folds import FOLDS
from sartor.search.ladder import EARLIER, Rung
from sartor.search.portfolio import given_to, known_to, over, paced, settings_of
from sartor.search.suiting import FewRows, by_piece, other_answers, reads_pairs, unfit
from sartor.tasks import TASKS
from sartor.tune.api import (
    METHODS,
    Choosy,
    Labours,
    Reads,
    ReadsColumns,
    ReadsItems,
    ReadsStates,
    Sheds,
)
from sartor.tune.attachable import why_not
from sartor.tune.inputs import input_of
from sartor.tune.minding import MindsPairs
from sartor.tune.settings import Settings, read_settings
from sartor.tune.stated import share_read

_FEW_MB = 512.0
"""Token states that are kept before it is known whether they are read: seconds of writing."""


def method_order(
    wanted: Sequence[str] | None,
    *,
    llm: bool = False,
    task: str = "text_classification",
    few: bool = False,
) -> list[str]:
    """Methods to climb: the need's own list in its order, else the default ladder.

    Args:
        wanted: Names, or None.
        llm: Whether there is a language model to ask; without one the default ladder asks none.
        task: Name in the tasks registry: labels, documents and columns have ladders of their own.
        few: Whether labelled rows are so few that folds choose.

    Raises:
        UnknownName: If the need names a method that does not exist.
    """
    if wanted is not None:
        named = [name for name in wanted if name != EARLIER]  # nothing is fitted there
        for name in named:
            METHODS.get(name)
        return named
    places: dict[str, Any] = {name: METHODS.get(name) for name in METHODS.names()}
    usable = [
        name
        for name, method in places.items()
        if method.rung is not None
        and (llm or method.reads != "answers")
        and input_of(method) == TASKS.get(task)().roles.holds
        and not other_answers(name, task)
        and (not isinstance(method, FewRows) or (few and _suits_few(name, task)))
    ]
    return sorted(usable, key=lambda n: places[n].rung)


def _suits_few(method: str, task: str) -> bool:
    return not reads_pairs(task) and not unfit(method, task)


Remember = Callable[[str, Callable[[], str]], str]
"""A key and how to find an answer out, to the answer: found out once for each key."""


def afresh(_: str, find: Callable[[], str]) -> str:
    """A `Remember` that does not."""
    return find()


def obstacles(
    task: str,
    outputs: Sequence[str],
    descriptions: Mapping[str, str],
    remember: Remember = afresh,
) -> Attaches:
    """Tells, for this task and these labels, why a method cannot be used.

    Args:
        task: Name in the tasks registry.
        outputs: Names of the labels.
        descriptions: What the need says they mean.
        remember: See `Remember`: finding out builds models, and imports what the method needs.
    """
    code = sources_sha256("sartor.models", "sartor.tasks", "sartor.tune")
    libraries = versions("torch", "transformers", "peft")
    asked = [task, list(outputs), dict(descriptions), code, libraries]
    tried: dict[tuple[str, ...], str] = {}
    pairs = reads_pairs(task)

    def reason(backbone: Backbone, candidate: Candidate) -> str | None:
        method: Any = METHODS.get(candidate.method)
        reads: Reads = method.reads
        if pairs and isinstance(method, MindsPairs):
            return method.pair_obstacle(outputs) or None
        if reads != "tokens" and not isinstance(method, Choosy):
            return None
        # Names of places and parts can make a difference to what fits; rates and sizes cannot.
        named = sorted(f"{k}={v}" for k, v in candidate.settings.items() if isinstance(v, str))
        place = (backbone.sha256, candidate.method, *named)

        def find() -> str:
            if isinstance(method, Choosy):
                return method.obstacle(backbone, outputs, descriptions)
            return why_not(backbone, candidate, task) or ""

        if place not in tried:
            tried[place] = remember(digest(place, asked), find)
        return tried[place] or None

    return reason


@dataclass(frozen=True, slots=True)
class Aim:
    """What is the same for every candidate.

    Args:
        task: Its name.
        seed: Of everything random.
        sieve: What rules one out.
        asked: The rung of a method that asks a language model, or why there is none.
        text: Whether rows hold a text.
        rows: Training rows; 0 where they are not known.
        outputs: Of the model; 0 where they are not known.
        few: Whether folds choose: what owes held-out rows nothing is fitted once a fold as well.
        given: Settings that the need gives.
    """

    task: str
    seed: int
    sieve: Sieve = field(default_factory=Sieve)
    asked: Callable[[str], Rung | Dropped] = field(default=lambda name: Dropped(name, "", "no LLM"))
    text: bool = True
    rows: int = 0
    outputs: int = 0
    few: bool = False
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])


def build_rungs(
    backbones: Sequence[Backbone],
    methods: Sequence[str],
    aim: Aim,
    work: Callable[[Backbone, int | None], Work],
) -> tuple[list[Rung], list[Dropped]]:
    """(one rung a method and backbone, those of which nothing is left).

    Cheaper methods of every backbone come before dearer ones. Settings that read a layer the
    backbone does not have are left out, and so is what cannot meet a criterion on size or speed.

    Args:
        backbones: That the need allows.
        methods: Names, in the order to climb.
        aim: What all candidates share.
        work: How much there is to compute with a backbone; given a layer, what its cached token
            states do not cover yet.
    """
    amounts = {backbone.name: work(backbone, None) for backbone in backbones}
    rungs: list[Rung] = []
    dropped: list[Dropped] = []
    for name in methods:
        method: Any = METHODS.get(name)
        if why := unfit(name, aim.task, text=aim.text):
            asks = method.reads == "answers"
            dropped += [
                Dropped(name, "" if asks else b.name, why) for b in backbones[: 1 if asks else None]
            ]
            continue
        if method.reads == "answers":
            found = aim.asked(name)
            (rungs if isinstance(found, Rung) else dropped).append(found)  # type: ignore[arg-type]
            continue
        frozen = method.reads == "activations"
        given = given_to(aim.given, name, known_to(name, aim.task))
        portfolio = over(settings_of(method, aim.task), given)
        for backbone in backbones[: 1 if _alone(name) else None]:
            amount = amounts[backbone.name]
            kept, refused = _sift(portfolio, (name, backbone), aim, amount)
            if not kept:
                # The reason of the one that came nearest.
                dropped += [refused[min(refused)]] if refused else []
                continue
            epochs = [_passes(c, aim) for c in kept]
            if (frozen_layers := _below(kept[0].settings, name, aim.task, backbone)) is not None:
                amount = work(backbone, frozen_layers)
            found = estimate(backbone, method.reads, max(epochs), amount, frozen=frozen_layers or 0)
            if shed := _shed(name, backbone):
                light = estimate(shed, method.reads, max(epochs), amount)
                found = replace(found, seconds=light.seconds, size_mb=light.size_mb)
            if aim.few and not frozen and _settings(kept[0], aim.task).closed:
                found = replace(found, seconds=found.seconds.times(FOLDS))
            rungs.append(
                Rung(
                    name=name,
                    candidates=tuple(kept),
                    together=frozen,
                    estimate=_grid(found, kept, aim, amount) if frozen else found,
                )
            )
    return rungs, dropped


def states_ahead(
    rungs: Sequence[Rung], task: str, backbones: Mapping[str, Backbone]
) -> dict[str, int]:
    """Backbone to the layer whose token states a rung will read after another has encoded.

    Where they are few: the rung may never be reached, and then they were written for nothing.

    Args:
        rungs: In the order of the climb.
        task: Name in the tasks registry.
        backbones: By name.
    """
    found: dict[str, int] = {}
    encoded: set[str] = set()
    for rung in (each for each in rungs if each.name != EARLIER):
        first, method = rung.candidates[0], cast(Any, METHODS.get(rung.name))
        reads: Reads = method.reads
        if reads == "activations":
            encoded.add(first.backbone)
        elif reads == "states" and first.backbone in encoded and rung.estimate.disk_mb <= _FEW_MB:
            layer = _below(first.settings, rung.name, task, backbones[first.backbone])
            # Of pieces and pairs the states are read in another way than of texts.
            alone = not (reads_pairs(task) or by_piece(task))
            if layer is not None and alone:
                found.setdefault(first.backbone, layer)
    return found


def _settings(candidate: Candidate, task: str) -> Settings:
    return read_settings(candidate.settings, task=task, method=candidate.method)


def _passes(candidate: Candidate, aim: Aim) -> float:
    """Over the tokens of the training rows, at most."""
    settings, rows, method = candidate.settings, aim.rows, _settings(candidate, aim.task).method
    whole = reads_pairs(aim.task) or by_piece(aim.task)
    epochs, steps = int(settings.get("epochs", 1)), int(settings.get("max_steps", 0))
    # An epoch ends short of a whole batch; rows that are not known bound nothing.
    most = steps * int(settings.get("batch_rows", 0)) / rows if rows else 0.0
    return share_read(method, whole=whole) * (min(epochs, most) if most else epochs)


def _alone(method: str) -> bool:
    """Whether it reads no text: columns and counts are the same on every backbone."""
    found = METHODS.get(method)
    if isinstance(found, ReadsItems):
        return found.items == "alone"
    return isinstance(found, ReadsColumns) and found.columns == "alone"


def _sift(
    portfolio: Sequence[Mapping[str, Any]], of: tuple[str, Backbone], aim: Aim, work: Work
) -> tuple[list[Candidate], dict[int, Dropped]]:
    """(candidates to try, reasons of those that are ruled out by the layers they run)."""
    method, backbone = of
    kept: list[Candidate] = []
    refused: dict[int, Dropped] = {}
    for settings in portfolio:
        depth = _depth(settings, method, aim.task, backbone)
        if depth is None:
            continue
        pace = paced(settings, method, aim.task, aim.rows)
        candidate = Candidate(backbone.name, backbone.sha256, method, pace, aim.seed)
        if reason := _refused(candidate, depth, (backbone, work), aim):
            refused[depth] = reason
        else:
            kept.append(candidate)
    return kept, refused


def ruled_out(candidate: Candidate, of: tuple[Backbone, Work], aim: Aim) -> str:
    """Why a candidate cannot meet the need whatever it learns, or "".

    Args:
        candidate: Of any settings.
        of: Its backbone, and how much there is to compute with that.
        aim: See `build_rungs`.
    """
    backbone, _ = of
    depth = _depth(candidate.settings, candidate.method, aim.task, backbone)
    if depth is None:
        return f"{backbone.name} lacks a layer that is read"
    found = _refused(candidate, depth, of, aim)
    return "" if found is None else found.why


def _refused(
    candidate: Candidate, depth: int, of: tuple[Backbone, Work], aim: Aim
) -> Dropped | None:
    backbone, work = of
    return aim.sieve.why_not(_body(candidate.method, backbone, depth), candidate, work)


def costs(task: str, backbones: Mapping[str, Backbone]) -> Callable[[Candidate], float]:
    """Candidate to the operations of its encoder for a token, in a unit of their own.

    Args:
        task: Name in the tasks registry.
        backbones: By name.
    """

    def of(candidate: Candidate) -> float:
        backbone = backbones[candidate.backbone]
        depth = _depth(candidate.settings, candidate.method, task, backbone)
        body = _body(candidate.method, backbone, backbone.layers if depth is None else depth)
        return float(body.depth * body.backbone.width**2)

    return of


def _body(method: str, backbone: Backbone, depth: int) -> Body:
    shed = _shed(method, backbone)
    return Body(backbone, depth) if shed is None else Body(shed, 0)


def _shed(name: str, backbone: Backbone) -> Backbone | None:
    """What a method ships in the backbone's place; None where it ships the backbone."""
    method: Any = METHODS.get(name)
    return method.shipped(backbone) if isinstance(method, Sheds) else None


def _depth(settings: Mapping[str, Any], method: str, task: str, backbone: Backbone) -> int | None:
    """The highest layer that is run; None where the backbone lacks one that is read or trained."""
    read = read_settings(settings, task=task, method=method)
    try:
        _below(settings, method, task, backbone)
        return max(read.task.resolve(backbone.layers))
    except (SettingError, NothingToTune):
        return None


def _below(settings: Mapping[str, Any], method: str, task: str, backbone: Backbone) -> int | None:
    """The layer whose states a method reads; None where it reads something else."""
    read = read_settings(settings, task=task, method=method)
    layers = read.task.resolve(backbone.layers)
    return read.method.below(layers) if isinstance(read.method, ReadsStates) else None


def _grid(found: Estimate, kept: Sequence[Candidate], aim: Aim, work: Work) -> Estimate:
    """Heads of one grid share the encoding; each adds a fraction of a second to some seconds."""
    method = METHODS.get(kept[0].method)
    labour = method.operations(aim.rows, aim.outputs) if isinstance(method, Labours) else 0.0
    each, count = labour / (work.gflops * 1e9), len(kept)
    more = Range((0.05 + each) * count, (1.5 + 8 * each) * count)
    return replace(found, seconds=found.seconds + more)
