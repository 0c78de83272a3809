"""Which backbone: the order a run tries them in, and `sartor models rank`.

A run looks at no more than 256 rows: enough to put backbones in order and to see texts that are far
from what one was trained on, and all of it stays in the cache for the rungs. The command looks at
1,024 and ranks what the user names, or all that is installed with its first layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sartor.core.activations import Activations
from sartor.core.errors import DataError, ModelError, SettingError
from sartor.core.events import Emit, Note, StageDone, StageStarted, silent
from sartor.core.store import Store
from sartor.core.texts import flat
from sartor.core.types import Backbone, Examples
from sartor.core.workspace import Workspace
from sartor.models.by_piece import in_pieces
from sartor.models.catalogue import find_backbone, list_starters
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.precision import Precision
from sartor.models.ranking.race import SIZES
from sartor.models.variants import first_layers, random_twin
from sartor.models.workload import workload
from sartor.need.file import load_need
from sartor.need.model import Need, Preferences
from sartor.search import machine
from sartor.search.assess import Held
from sartor.search.documents import finds_documents
from sartor.search.estimates import Range
from sartor.search.farness import ROWS, why_far
from sartor.search.judging import divided, roles_of
from sartor.search.ranking import LEAST_ROWS, Ranking, Sample, draw_sample, latency, rank
from sartor.search.reading import columns_of
from sartor.search.recommending import traces
from sartor.search.suiting import by_piece, locates
from sartor.search.tabular import words_of
from sartor.tasks import TASKS, Written

MOST_ROWS = SIZES[-1]
_TWIN_SEED = 0
"""Twins are the same in every run: their activations are cached."""


@dataclass(slots=True)
class Contest:
    """What backbones are compared with.

    Args:
        encoders: By backbone's name; a twin's is added when it is first asked for.
        cache: Of activations.
        precision: Of this machine.
        emit: Progress.
    """

    encoders: dict[str, TextEncoder]
    cache: Activations
    precision: Precision
    emit: Emit

    def encoder_for(self, backbone: Backbone) -> TextEncoder:
        if backbone.name not in self.encoders:
            like = next(iter(self.encoders.values()), None)
            self.encoders[backbone.name] = TextEncoder(
                backbone,
                self.cache,
                precision=self.precision,
                settings=like.settings if like else EncodeSettings(),
                emit=self.emit,
            )
        return self.encoders[backbone.name]

    def prices(self, backbones: Sequence[Backbone], sample: Sample) -> dict[str, Range]:
        """Backbone's name to its predicted latency on a text of average length."""
        speed = max(self.precision.fp32_gflops, 1.0)
        tokens: dict[str, float] = {}
        for backbone in backbones:
            # A large tokenizer takes a second to load: once for a whole one and its first layers.
            if backbone.path not in tokens:
                amount, _ = workload(self.encoder_for(backbone), self.cache, flat(sample.texts))
                tokens[backbone.path] = amount / len(sample.texts)
        return {b.name: latency(b, tokens[b.path], speed) for b in backbones}


def settle(
    contest: Contest,
    backbones: Sequence[Backbone],
    train: Examples,
    held: Held,
    task: str = "text_classification",
    *,
    text: bool = True,
) -> dict[str, Any]:
    """The order to try backbones in, as a JSON fact: {"order", "why", "warnings"}.

    Equals come by their cost, then those that are behind by their score. With too few rows to tell,
    the order stays.

    Args:
        contest: With an encoder of each backbone.
        backbones: As the need names them.
        train: Training rows; 256 of them are looked at.
        held: Gives the labels and the seed.
        task: Its name.
        text: Whether rows hold a text; without one there is nothing to compare on.
    """
    names = [backbone.name for backbone in backbones]
    plain = {"order": names, "why": "", "warnings": []}
    # Documents and places are no classes that rows could be told into by what a backbone makes of
    # them.
    if len(train) < LEAST_ROWS or not text or _no_classes(task):
        return plain
    sample = draw_sample(train, held.outputs, ROWS, held.seed, task)
    order, why = names, ""
    if len(backbones) > 1:
        contest.emit(StageStarted("rank", len(backbones), "backbones"))
        ranking = rank(
            backbones,
            sample,
            contest.encoder_for,
            sizes=[size for size in SIZES if size <= ROWS],
            prices=contest.prices(backbones, sample),
        )
        order = ranking.order()
        why = f" In the order that {ranking.rows:,} rows suggest: {', '.join(order)}."
        contest.emit(StageDone("rank", ranking.advice()))
    first = next(backbone for backbone in backbones if backbone.name == order[0])
    # Its twin's encoder is of no use to the run: it goes when this is done.
    apart = replace(contest, encoders=dict(contest.encoders))
    far = why_far(first, sample, apart.encoder_for, _TWIN_SEED)
    return {"order": order, "why": why, "warnings": [far] if far else []}


def _no_classes(task: str) -> bool:
    """Whether a row's text tells nothing of its answer: documents, places, answers of learners."""
    return finds_documents(task) or locates(task) or traces(task)


def rank_need(
    file: Path,
    names: Sequence[str] = (),
    *,
    rows: int = MOST_ROWS,
    workspace: str | Path = ".",
    emit: Emit = silent,
) -> Ranking:
    """Rank backbones on a need's training rows; nothing is tuned.

    Args:
        file: The need file.
        names: Backbones, as in `prefer.backbones`; else the need's own where it has several, else
            all installed starters with an allowed licence, each with its first layers.
        rows: Training rows to look at, at most.
        workspace: Folder that holds `.sartor/`.
        emit: Progress.

    Raises:
        NeedError: If the need file has faults.
        DataError: If the rows cannot be used, or are too few.
        UnknownName: If a name is no backbone's.
        ModelError: If a backbone is missing or must not be loaded.
        SettingError: If the task's answers are written, or no text is read.
    """
    need = load_need(file, roles_of)
    if _no_classes(need.task) or isinstance(TASKS.get(need.task)().target, Written):
        raise SettingError(
            f"{file}: backbones are ranked by the labels of rows, and {need.task} has none.",
            fix="name several under prefer.backbones: the ladder tries each of them.",
        )
    if not columns_of(need).words:
        raise SettingError(
            f"{file}: backbones are ranked by what they make of texts, and the need names columns"
            " alone.",
            fix="name the column of a text under data.text; where there is none, no backbone is"
            " read and there is nothing to rank.",
        )
    place = Workspace.open(workspace)
    backbones = _named(need.prefer, names, file.parent, emit)
    if by_piece(need.task):
        backbones = [in_pieces(backbone) for backbone in backbones]
    with Store.open(place.store) as store:
        divisions = divided(need, file.parent, store)
    sample = _sample(need, words_of(divisions.train), rows)
    emit(StageDone("read", f"{sample.total:,} training rows, {len(sample.texts):,} of them used"))
    cache = Activations(place.activations, emit=emit)
    contest = Contest({}, cache, machine.precision(place), emit)
    wholes = {b.name: b for b in (b.whole or b for b in backbones)}
    ranking = rank(
        backbones,
        sample,
        contest.encoder_for,
        sizes=_sizes(rows),
        prices=contest.prices(backbones, sample),
        twins=[random_twin(whole, _TWIN_SEED) for whole in wholes.values()],
    )
    emit(StageDone("rank", f"{len(backbones)} backbones in {ranking.seconds:.0f} s"))
    known = {b.name: b for b in backbones}
    take = known[ranking.recommended.standing.name]
    if far := why_far(take, sample, contest.encoder_for, _TWIN_SEED):
        emit(Note(far, "warning"))
    return ranking


def _sample(need: Need, train: Examples, rows: int) -> Sample:
    if rows < LEAST_ROWS:
        raise DataError(
            f"{rows} rows are too few to rank backbones on.",
            fix=f"ask for {LEAST_ROWS} at least; {MOST_ROWS:,} are usual.",
        )
    outputs = TASKS.get(need.task)().outputs(train, need.data.labels)
    return draw_sample(train, outputs, rows, need.seed, need.task)


def _sizes(rows: int) -> list[int]:
    """128, 256, … and at last all that were asked for."""
    sizes = [size for size in SIZES if size < rows]
    while sizes and 2 * sizes[-1] < rows:
        sizes.append(2 * sizes[-1])
    return [*sizes, rows]


def _named(prefer: Preferences, names: Sequence[str], root: Path, emit: Emit) -> list[Backbone]:
    """What to rank, each once."""
    asked = list(names) or list(prefer.backbones or ())
    if names or len(asked) > 1:
        found = [find_backbone(name, root=root, emit=emit) for name in asked]
    else:
        allowed = [
            s.name
            for s in list_starters()
            if s.installed
            and s.kind == "encoder"
            and (prefer.licences is None or s.licence in prefer.licences)
        ]
        wholes = [find_backbone(name, root=root, emit=emit) for name in [*asked, *allowed]]
        found = [shorter for whole in wholes for shorter in _with_first_layers(whole)]
    distinct: Mapping[str, Backbone] = {b.name: b for b in found}
    if not distinct:
        raise ModelError(
            "No starter is installed that prefer.licences allows, and the need names no backbone.",
            fix="name some: `sartor models rank need.yaml --backbones ./models/bert org/name`.",
        )
    return list(distinct.values())


def _with_first_layers(whole: Backbone) -> list[Backbone]:
    """A backbone, and where it is whole its first two thirds and its first third."""
    if whole.whole is not None:
        return [whole]
    depths = sorted({round(whole.layers * part) for part in (1 / 3, 2 / 3)} - {0, whole.layers})
    return [whole, *(first_layers(whole, depth) for depth in reversed(depths))]
