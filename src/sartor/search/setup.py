"""Everything before the first fit: rows by role, backbones, and the ladder with its prices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sartor.core.activations import Activations
from sartor.core.columns import TableCode
from sartor.core.durable import write_durably
from sartor.core.errors import Fault, NeedError, SettingError
from sartor.core.events import Emit, Note, StageDone, StageStarted
from sartor.core.near import near_miss
from sartor.core.texts import Text, flat
from sartor.core.types import Backbone, Candidate
from sartor.core.workspace import Workspace
from sartor.data import prepare
from sartor.data.profile import profile
from sartor.data.table import CELLS, MOMENT
from sartor.judge.planning import planned_test_rows
from sartor.llm.memory import Memory
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.precision import Precision
from sartor.models.workload import workload
from sartor.need.model import Need
from sartor.search.asking import Asking, backbone_of
from sartor.search.assess import Held, of_the_artefact
from sartor.search.choosing import Contest, settle
from sartor.search.desk import Desk
from sartor.search.documents import refuse_too_many, sources_of
from sartor.search.earlier import Asked, Former, formers, look, placed
from sartor.search.estimates import Work
from sartor.search.feasible import Dropped, Sieve, refuse_empty
from sartor.search.folds import FOLDS, deal, few
from sartor.search.indexing import tell_of_cells
from sartor.search.ladder import EARLIER, Rung
from sartor.search.long_texts import tell_of_long_texts
from sartor.search.outcome import Setting
from sartor.search.portfolio import check_given
from sartor.search.prompting import Prompting, Rules, find_local
from sartor.search.reading import bound, precision_of, read_rows
from sartor.search.recommending import declared_in, group_of, read_histories, reads_histories
from sartor.search.recorded import same_sources, tell_of_rows
from sartor.search.rungs import Aim, build_rungs, method_order, obstacles, ruled_out, states_ahead
from sartor.search.several_texts import refuse_preferred
from sartor.search.starting import starting_points
from sartor.search.suiting import at_odds, locates, unfit
from sartor.search.tabular import (
    NOTHING,
    inputs_of,
    reads_text,
    tell_of_columns,
    words_of,
)
from sartor.search.unlabelled import require_unlabelled, teach_students
from sartor.tasks import TASKS
from sartor.tune.teaching import passages_a_row


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything before the first fit.

    Args:
        setting: Rows by role, and the ladder with its prices.
        backbones: By name.
        encoders: By the backbone's name.
        precision: Of this machine, recorded once a run.
        ruled_out: Why a candidate cannot meet the need on size or speed whatever it learns, or its
            settings do not go together; or "".
        formers: Earlier bundles that are on the ladder, by their candidate's key.
        asking: The language model that the need names, if it names one.
        code: How columns become numbers, for a task that reads them.
    """

    setting: Setting
    backbones: Mapping[str, Backbone]
    encoders: Mapping[str, TextEncoder]
    precision: Precision
    ruled_out: Callable[[Candidate], str]
    formers: Mapping[str, Former]
    asking: Asking | None = None
    code: TableCode | None = None


Adapt = Callable[[Backbone, prepare.Prepared, Held, Callable[[Backbone], TextEncoder]], Backbone]
"""The first backbone of the ladder, rows by role, what assessments share, and how to encode with a
backbone, to the backbone that takes the first one's place."""


def make_ready(desk: Desk, data: object | None = None, adapt: Adapt | None = None) -> Ready:
    """Read, clean, split, bind the criteria and price the ladder.

    Args:
        desk: What the run works with.
        data: Rows held in Python instead of the need's `data.train`.
        adapt: Pretrains the first backbone, where the need asks for it; None leaves it as it is.

    Raises:
        NeedError: If a criterion names a metric, label or column that is not there, or asks for
            what no candidate can be.
        DataError: If the rows cannot be used.
        ModelError: If no backbone can be had.
        SettingError: If no method can be used on any backbone.
        UnknownName: If the need names a method that does not exist.
    """
    need, store, emit = desk.need, desk.store, desk.emit
    task = TASKS.get(need.task)()
    # A name that nobody knows is told before anything is read.
    wants, roles = need.prefer, task.roles
    order = partial(method_order, wants.methods, llm=wants.llm is not None, task=need.task)
    check_given(wants, desk.file, need.task, order())
    local = find_local(need, desk.root, emit)
    emit(StageStarted("read"))
    refuse_preferred(need, desk.file, roles)
    gathered = read_rows(desk, need, data)
    sources = {s.file: s.sha256 for s in gathered.table.sources}
    same_sources(desk, "sources", sources | sources_of(need))
    require_unlabelled(desk)
    counts, total = gathered.label_counts(), len(gathered.cleaned.frame)
    wanted = planned_test_rows(need.accept, {k: n / total for k, n in counts.items()})
    known = store.assignments(need.name)
    rows = prepare.divide(gathered, wanted_test=wanted, seed=need.seed, known=known)
    refuse_too_many(need, rows)
    tell_of_cells(need, emit)
    items = reads_histories(need.task)
    columns = gathered.columns
    ours = gathered.table.frame.drop(CELLS, MOMENT, strict=False)
    seen = profile(ours, columns.words, columns.label)
    outputs = tuple(task.outputs(rows.train, declared_in(need, rows)))
    described = need.data.label_descriptions
    labels = task.labels(outputs)
    if strangers := [name for name in described if name not in {*labels, *outputs}]:
        what = "data.label_descriptions describes {!r}, which is no label"
        faults = [Fault(0, what.format(name), near_miss(name, labels)) for name in strangers]
        raise NeedError(desk.file, faults)
    book, held = bound(desk, need, outputs, rows)
    tell_of_rows(gathered, rows, emit)
    held = replace(
        held,
        group=group_of(need),
        # Folds are of heads on cached activations; of moments they would learn from later ones.
        folds=deal(rows.train, need.data.group or "")
        if few(rows.train, rows.validation) and not (items or locates(need.task))
        else None,
    )
    if held.folds is not None:
        emit(
            Note(
                f"{len(rows.validation):,} validation rows are few: heads are chosen by"
                f" {FOLDS}-fold cross-validation on the {len(rows.train):,} training rows as well."
            )
        )
    worded = bool(columns.words) or (items and bool(described))
    methods = _told(order(few=held.folds is not None), need, worded)
    code, spoken = (
        read_histories(need, outputs, rows)
        if items
        else (tell_of_columns(gathered, rows.train, emit), seen.languages)
    )
    backbones, why = starting_points(desk, spoken) if worded else ([NOTHING], "No text is read.")
    precision = precision_of(desk)
    cache = Activations(desk.place.activations, emit=emit)
    states = Activations(desk.place.states, emit=emit)

    def encoder(b: Backbone) -> TextEncoder:
        return encoder_of(b, (cache, states), precision, need.prefer.max_length, emit)

    encoders = {b.name: encoder(b) for b in (*backbones, *([local] if local else []))}
    contest = Contest(encoders, cache, precision, emit)
    words = words_of(rows.train)
    settled = desk.fact(
        "backbones", lambda: settle(contest, backbones, words, held, need.task, text=worded)
    )
    backbones = [next(b for b in backbones if b.name == name) for name in settled["order"]]
    for text in settled["warnings"]:
        emit(Note(text, "warning"))
    why = f"{why}{settled['why']}"
    named = _hashes(need, backbones)
    if adapt is not None:
        backbones[0] = adapt(backbones[0], rows, held, encoder)
        encoders.setdefault(backbones[0].name, encoder(backbones[0]))
        named |= _hashes(need, backbones)
        why = f"{why} The ladder starts from {backbones[0].name}."
    unused = check_given(wants, desk.file, need.task, methods)
    for text in [*unused, *_unread(need, adapt is not None)]:
        emit(Note(text, "warning"))
    first = encoders[backbones[0].name]
    how = "throughout" if locates(need.task) else need.prefer.long_texts
    tell_of_long_texts(how, first, flat(rows.train.texts), emit)
    inputs = inputs_of(roles, gathered)
    asked = Asked(need, inputs, outputs, rows, named, desk.place.bundles, desk.root)
    looked = desk.fact("earlier", lambda: look(asked, emit))
    there, passed = formers(looked, asked, emit)
    choice = " ".join([why, *settled["warnings"]])
    speed = max(precision.fp32_gflops, precision.bf16_gflops, 1.0)
    asking = _asking(desk, outputs)
    attaches = obstacles(need.task, outputs, described, lambda *of: _remembered(desk.place, *of))
    sieve = Sieve(need.accept, attaches, book)

    told = passages_a_row(need.task)
    read = [described.get(name, name) for name in outputs] if told else []
    counted = partial(_work, (cache, states), (rows, read, told), speed, {})

    def work(b: Backbone, layer: int | None = None) -> Work:
        return counted(encoders[b.name], layer)

    here = _prompting(local, desk, seen.languages, Rules(outputs, sieve, work))
    aim = Aim(
        need.task,
        need.seed,
        sieve,
        lambda name: _asked(name, desk, asking or here, rows),
        worded,
        len(rows.train),
        len(outputs),
        held.folds is not None,
        need.prefer.settings,
    )
    fitted, refused = build_rungs(backbones, methods, aim, work)
    texts = list(rows.validation.texts)
    earlier = [former.rung(texts, speed) for former in there]
    rungs, dropped = placed(fitted, earlier, need.prefer.methods), [*passed, *refused]
    if not rungs:
        refuse_empty(desk.file, need.accept, dropped)
    for each in dropped:
        emit(Note(f"{each.rung}, {each.backbone} is left out: {each.why}."))
    emit(StageDone("plan", f"{why} Ladder: {' → '.join(r.name for r in rungs)}."))
    works = {b.name: work(b) for b in backbones}
    by_name = {b.name: b for b in (*backbones, *_asked_ones(asking, local))}
    _keep_ahead(encoders, states_ahead(fitted, need.task, by_name))
    return Ready(
        Setting(
            need,
            gathered,
            rows,
            seen,
            held,
            desk.file,
            tuple(rungs),
            choice,
            by_name,
            tuple(dropped),
        ),
        by_name,
        encoders,
        precision,
        lambda c: (
            at_odds(c, need.task) or ruled_out(c, (by_name[c.backbone], works[c.backbone]), aim)
        ),
        {former.candidate.key: former for former in there},
        asking,
        code,
    )


def _keep_ahead(encoders: Mapping[str, TextEncoder], layers: Mapping[str, int]) -> None:
    for name, layer in layers.items():
        encoders[name].keep_beside(layer)


def _told(methods: list[str], need: Need, text: bool) -> list[str]:
    """Methods worth a word: that one reads a text is no news where there is none, unless asked."""
    if text or need.prefer.methods is not None:
        return methods
    return [name for name in methods if not unfit(name, need.task, text=False)]


def _remembered(place: Workspace, key: str, find: Callable[[], str]) -> str:
    """An answer that is found out once in a workspace."""
    folder = place.stage("attachable", key, lambda to: write_durably(to / "why", find().encode()))
    return (folder / "why").read_text("utf-8")


def _hashes(need: Need, backbones: Sequence[Backbone]) -> frozenset[str]:
    """Of the backbones that the need names; nothing where it names none."""
    return frozenset(b.sha256 for b in backbones if need.prefer.backbones is not None)


def encoder_of(
    backbone: Backbone,
    caches: tuple[Activations, Activations],
    precision: Precision,
    max_length: int,
    emit: Emit,
) -> TextEncoder:
    """A backbone behind the workspace's caches of pooled activations and of token states."""
    cache, states = caches
    settings = EncodeSettings(max_length=max_length)
    return TextEncoder(
        backbone, cache, states_cache=states, precision=precision, settings=settings, emit=emit
    )


def _asking(desk: Desk, outputs: tuple[str, ...]) -> Asking | None:
    need = desk.need
    if need.prefer.llm_url is None:
        return None
    described = need.data.label_descriptions
    memory = Memory(desk.place.answers)
    return Asking(need.prefer.llm_url, outputs, described, memory, desk.fact, desk.emit)


def _prompting(
    local: Backbone | None, desk: Desk, languages: Mapping[str, float], rules: Rules
) -> Prompting | None:
    if local is None:
        return None
    length = min(desk.need.prefer.max_length, local.max_length)
    found = Prompting(local, desk.need, rules, length, desk.emit)
    found.warn(languages)
    return found


def _asked_ones(asking: Asking | None, local: Backbone | None) -> list[Backbone]:
    """The language model of the need, if it names one."""
    if asking is not None:
        return [backbone_of(asking.llm)]
    return [] if local is None else [local]


def _asked(
    method: str, desk: Desk, asking: Asking | Prompting | None, rows: prepare.Prepared
) -> Rung | Dropped:
    """The rung of a method that asks.

    Raises:
        SettingError: If the need names no language model.
    """
    if asking is None:
        raise SettingError(
            f"{desk.file}: {method} asks a language model, and the need names none.",
            fix="write `llm: {url: http://localhost:11434/v1, model: qwen3}` under prefer, or"
            " `llm: smollm2` for one that runs here.",
        )
    if isinstance(asking, Prompting):
        return asking.rung(method, rows)
    return asking.rung(method, rows, desk.need.seed, desk.need.budget.requests)


def _unread(need: Need, adapts: bool) -> list[str]:
    """What the need says that nothing comes of here."""
    prefer, said = need.prefer, list[str]()
    if prefer.bundles and EARLIER not in (prefer.methods or [EARLIER]):
        said.append(f"prefer.bundles is not read: the methods named leave out {EARLIER}.")
    if prefer.pretrain == "none" and need.data.unlabelled:
        if not teach_students(need):
            said.append("data.unlabelled is not read: prefer.pretrain is none.")
        elif not any(map(of_the_artefact, need.accept)):
            said.append(
                "data.unlabelled is not read: prefer.pretrain is none, and no criterion asks for"
                " a model that is small, fast or cheap."
            )
    if prefer.pretrain != "none" and not adapts:
        said.append("Pretraining comes before the ladder and is not priced.")
    return said


def _work(
    place: tuple[Activations, Activations],
    data: tuple[prepare.Prepared, list[str], int],
    gflops: float,
    known: dict[tuple[str, int | None], Work],
    encoder: TextEncoder,
    layer: int | None,
) -> Work:
    """How much there is to compute with a backbone; found out once, which `known` keeps.

    Args:
        place: The caches of pooled activations and of token states.
        data: The rows; the documents that are the outputs, and how many of them a row is told by.
        gflops: Probed speed of matrix products.
        known: By backbone and layer.
        encoder: Of the backbone.
        layer: As of `build_rungs`.
    """
    rows, documents, told = data
    asked = (encoder.backbone.name, layer)
    if not reads_text(rows.train.texts):
        return Work(0, 0, 0, gflops)
    if asked not in known:
        cache = place[0] if layer is None else place[1]
        # Activations are pooled for each text alone; states are of all of a row's texts together.
        read = flat if layer is None else list[Text]
        train, uncached = workload(encoder, cache, read(rows.train.texts), layer)
        validation, more = workload(encoder, cache, read(rows.validation.texts), layer)
        passages, new = 0, 0
        if documents:
            passages, new = workload(encoder, cache, documents, layer, passages=True)
        each = (train + validation) / max(len(rows.train) + len(rows.validation), 1)
        known[asked] = Work(
            train,
            validation,
            uncached + more + new,
            gflops,
            each,
            place[1].max_bytes,
            passages,
            round(len(rows.train) * told * passages / max(len(documents), 1)),
        )
    return known[asked]
