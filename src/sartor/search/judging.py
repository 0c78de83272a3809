"""Judging without a run: a bundle on fresh rows, or recorded answers on a need's test rows.

Nothing here trains, so nothing here imports torch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.errors import DataError, WorkspaceError
from sartor.core.hashing import digest
from sartor.core.phrases import Phrase
from sartor.core.store import Store
from sartor.core.strata import names_of
from sartor.core.types import Examples, Roles
from sartor.core.workspace import Workspace
from sartor.data import prepare
from sartor.data.changes import Change, summary
from sartor.data.table import place as lies_at
from sartor.judge.api import Subject
from sartor.judge.ledger import Ledger, RowSet
from sartor.judge.planning import planned_test_rows
from sartor.judge.resolve import Rows, bind, slice_columns
from sartor.judge.rival import Difference, compare, read_predictions
from sartor.judge.verdicts import judge, priced_anew
from sartor.llm.asker import Asks
from sartor.llm.memory import Memory
from sartor.need.costs import Costs, PriceBook, read_book
from sartor.need.file import load_need, parse_need
from sartor.need.model import Need
from sartor.need.verdict import State, Verdict, overall
from sartor.search.answering import Answering, answers_to
from sartor.search.assess import answers_today, classes, units_of
from sartor.search.costing import Costing, asks_for_costs, kept_here
from sartor.search.documents import of_bundle, with_documents
from sartor.search.reading import columns_of
from sartor.search.recommending import declared_in, group_of
from sartor.search.refereeing import allowed, opinion_of, refuse_unjudged
from sartor.search.tabular import column_kinds
from sartor.search.turns import turn
from sartor.tasks import TASKS, Task


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts outside a run.

    Args:
        verdicts: One a criterion.
        state: As `Outcome.state`.
        differences: Rival minus the need's newest bundle, paired; empty where there is none.
        notes: What the user should know of how it was judged.
        language: Of the need.
    """

    verdicts: tuple[Verdict, ...]
    state: State
    differences: tuple[Difference, ...] = ()
    notes: tuple[Phrase, ...] = ()
    language: str = "en"

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "verdicts": [v.as_json() for v in self.verdicts],
            "differences": [
                {
                    "criterion": d.criterion,
                    "rival": d.one,
                    "bundle": d.other,
                    "value": d.value,
                    "low": d.low,
                    "high": d.high,
                    "n": d.n,
                }
                for d in self.differences
            ],
            "notes": [note.say() for note in self.notes],
        }


def judge_bundle(
    folder: Path,
    labels: Path,
    *,
    workspace: str | Path = ".",
    allow_llm: Sequence[str] = (),
    verify_key: str | None = None,
) -> Judged:
    """Judge a bundle on fresh labelled rows against the criteria of its own need.

    Args:
        folder: The bundle.
        labels: File with the columns that the need names.
        workspace: Its ledger counts the looks at these rows.
        allow_llm: URLs of language models that the bundle may send the texts to.
        verify_key: Public key that must have signed it; SARTOR_VERIFY_KEY decides when None.

    Raises:
        SartorError: If the bundle is damaged, or the rows cannot be used.
    """
    bundle = open_bundle(folder, verify_key=key_asked(verify_key))
    need = parse_need(bundle.path("need.yaml").read_text(), f"{folder}/need.yaml", roles_of)
    need = of_bundle(need, bundle)
    task = TASKS.get(need.task)()
    columns = columns_of(need)
    # What a column holds was found out on the rows that the bundle learnt from.
    columns = replace(columns, cells=column_kinds(bundle.manifest.inputs))
    known = task.labels(bundle.manifest.outputs)
    given, dropped = prepare.examples_of(str(labels), need.data, Path(), columns, known)
    examples, notes = _fresh(bundle, given, labels)
    costs = need.costs or Costs()
    # Only who asks for costs must have the need's file of prices here.
    asks = asks_for_costs(need)
    book = read_book(costs, Path()) if asks else PriceBook({}, costs)
    _bind(need, str(labels), bundle.manifest.outputs, examples, book)
    allowed(need, folder, tuple(allow_llm))
    place = Workspace.open(workspace)
    answering = Answering.within(place, allow_llm)
    subject = _measured(bundle, need, examples, answering, Costing(book, kept_here(), asks))
    # A look is counted once, and a latency is not that of two bundles at work.
    with turn(place.folder / "judging.lock", lambda: None), Store.open(place.store) as store:
        look = Ledger(store, _now).look(
            row_set(examples, need),
            bundle.manifest.id,
            need.accept,
            lambda number: judge(need.accept, subject, look=number, seed=need.seed),
        )
        verdicts = tuple(priced_anew(need.accept, look.verdicts, subject))
    counted = {"n": f"{len(examples):,}", "look": str(look.number), "file": str(labels)}
    first = Phrase("{n} rows of {file}, look {look} at them.", counted)
    said = (first, *_lost(dropped), *notes, *_doubts(bundle, task, examples))
    return Judged(verdicts, overall(verdicts), (), said, need.language)


def _measured(
    bundle: Bundle, need: Need, examples: Examples, answering: Answering, costing: Costing
) -> Subject:
    """What the bundle answers, with all that can be measured of it where a criterion asks."""
    served, texts = answering.load(bundle.folder), list(examples.texts)
    answers = answers_to(served, examples, TASKS.get(need.task)())
    return replace(
        _subject(need, examples, bundle.manifest.outputs, answers, answering.asks),
        folder=str(bundle.folder),
        timing=lambda: answering.time(bundle, texts),
        conditions=f"this machine, batch 1, {served.threads} threads",
        using=lambda: costing.use(str(bundle.folder), texts),
        prices=costing.book,
        streaming=cache(lambda: answering.stream(bundle, texts)),
    )


def _doubts(bundle: Bundle, task: Task, examples: Examples) -> list[Phrase]:
    """What speaks against the rows: labels that nobody learnt, or that they are not fresh."""
    notes: list[Phrase] = []
    said = (label for answer in examples.target for label in names_of(answer))
    known = task.labels(bundle.manifest.outputs)
    if strange := Counter(label for label in said if label not in known):
        shown = ", ".join(f"{label} ({n:,})" for label, n in strange.most_common(5))
        message = "{n} rows have labels that the bundle does not know and count as wrong: {labels}."
        notes.append(Phrase(message, {"n": f"{strange.total():,}", "labels": shown}))
    if bundle.manifest.lineage.get("test_rows") == examples.fingerprint():
        notes.append(Phrase("These are the rows the bundle was judged on before, not fresh ones."))
    return notes


def _lost(dropped: Sequence[Change]) -> list[Phrase]:
    """How many rows could not be read as examples, why, and where the first of them lies."""
    if not dropped:
        return []
    why = tuple(
        Phrase("{reason} ({n})", {"reason": Phrase(reason), "n": f"{n:,}"})
        for reason, n in summary(dropped).items()
    )
    first = lies_at(dropped[0].file, dropped[0].row)
    message = "{n} rows cannot be judged and are left out: {why}. The first is {place}."
    return [Phrase(message, {"n": f"{len(dropped):,}", "why": why, "place": first})]


def _fresh(bundle: Bundle, examples: Examples, labels: Path) -> tuple[Examples, list[Phrase]]:
    """The rows that the bundle did not learn from, as far as it can tell, and what to say of it."""
    learnt = bundle.learnt()
    if learnt is None:
        message = (
            "This bundle does not say which rows it learnt from: none of them can be noticed here."
        )
        return examples, [Phrase(message)]
    rows = learnt.fresh(examples.ids)
    if not rows:
        raise DataError(
            f"The bundle learnt from every row of {labels} ({len(examples):,}): they say nothing"
            " of how it will do.",
            fix="give it rows that took no part in training or validation.",
        )
    if len(rows) == len(examples):
        return examples, []
    message = (
        "{n} further rows are left out: the bundle learnt from them. Texts that only resemble what "
        "it learnt from are not noticed."
    )
    if not learnt.whole:
        message = (
            "{n} further rows are left out: the bundle learnt from them. It knows only a part of "
            "what it learnt from, so there may be more."
        )
    return examples.take(rows), [Phrase(message, {"n": f"{len(examples) - len(rows):,}"})]


def judge_predictions(need_file: Path, answers: Path, *, workspace: str | Path = ".") -> Judged:
    """Judge recorded answers on the test rows of a need, and compare with its newest bundle.

    Args:
        need_file: The need.
        answers: One JSON object a line: label, and where known id and probabilities.
        workspace: Holds the split and the bundles.

    Raises:
        SartorError: If the need, the data or the answers cannot be used.
    """
    need = with_documents(load_need(need_file, roles_of), str(need_file), need_file.parent)
    place = Workspace.open(workspace)
    with Store.open(place.store) as store:
        test, outputs = held_out(need, need_file.parent, store)
        _bind(need, str(need_file), outputs, test)
        task = TASKS.get(need.task)()
        told = read_predictions(answers, test, task.labels(outputs), task.roles.target_kind)
        refuse_unjudged(need, str(need_file))
        asks = Asks(Memory(place.answers))
        rival = _subject(need, test, outputs, told, asks)
        look = Ledger(store, _now).look(
            # A rival's looks say nothing of our bundles: they are counted apart.
            row_set(test, need, book="rival"),
            digest([dict(answer) for answer in rival.answers]),
            need.accept,
            lambda number: judge(need.accept, rival, look=number, seed=need.seed),
        )
    differences: list[Difference] = []
    counted = {"n": f"{len(test):,}", "look": str(look.number)}
    notes = [Phrase("{n} test rows, look {look} of a rival at them.", counted)]
    if (bundle := _newest_bundle(place, need, test)) is not None:
        served = Answering.of_need(need, place).load(bundle)
        ours = _subject(need, test, outputs, served.predict(list(test.rows())), asks)
        differences = compare(rival, ours, need.accept, seed=need.seed)
        notes += [_compared(d, bundle.name) for d in differences if d.n]
    return Judged(
        look.verdicts, overall(look.verdicts), tuple(differences), tuple(notes), need.language
    )


def _compared(found: Difference, bundle: str) -> Phrase:
    message = (
        "{criterion}: rival {rival}, {bundle} {ours}, difference {value} ({low} to {high}, n {n})"
    )
    ends = {name: f"{getattr(found, name):+.4g}" for name in ("value", "low", "high")}
    named = {"criterion": found.criterion, "bundle": bundle, "n": str(found.n)}
    return Phrase(
        message, named | ends | {"rival": f"{found.one:.4g}", "ours": f"{found.other:.4g}"}
    )


def held_out(need: Need, root: Path, store: Store) -> tuple[Examples, list[str]]:
    """The need's test rows, by the split that holds (drawn now if there is none), and its labels.

    Raises:
        DataError: If the data cannot be used.
    """
    rows = divided(need, root, store)
    outputs = TASKS.get(need.task)().outputs(rows.train, declared_in(need, rows))
    return rows.test, outputs


def divided(need: Need, root: Path, store: Store) -> prepare.Prepared:
    """The need's rows by role; assignments are remembered.

    Raises:
        DataError: If the data cannot be used.
    """
    known = store.assignments(need.name)
    gathered = prepare.gather(need.data, root, known=known, columns=columns_of(need))
    counts, total = gathered.label_counts(), len(gathered.cleaned.frame)
    wanted = planned_test_rows(need.accept, {k: n / total for k, n in counts.items()})
    rows = prepare.divide(gathered, wanted_test=wanted, seed=need.seed, known=known)
    store.assign(need.name, rows.assignments)
    return rows


def row_set(examples: Examples, need: Need, *, book: str = "") -> RowSet:
    """Test rows as the ledger counts them: the same texts under another label column are others."""
    asked = [need.data.roles.get(target, "") for target in roles_of(need.task).targets]
    return RowSet.of(examples, digest(need.task, asked), book=book)


def roles_of(task: str) -> Roles:
    """Roles of a task by name; raises `UnknownName`."""
    return TASKS.get(task)().roles


def _subject(
    need: Need,
    test: Examples,
    outputs: Sequence[str],
    answers: Sequence[Mapping[str, Any]],
    asks: Asks,
) -> Subject:
    task = TASKS.get(need.task)()
    return Subject(
        examples=test,
        answers=answers,
        outputs=classes(task, outputs),
        baseline=answers_today(test, need.data.baseline or "", task),
        groups=units_of(test, group_of(need), task),
        target=task.roles.target_kind,
        opinion=opinion_of(need, asks),
    )


def _bind(
    need: Need,
    file: str,
    outputs: Sequence[str],
    examples: Examples,
    book: PriceBook | None = None,
) -> None:
    baseline = need.data.baseline
    bind(
        need.accept,
        file=file,
        outputs=classes(TASKS.get(need.task)(), outputs),
        rows=Rows(
            slice_columns(examples),
            bool(baseline) and baseline in examples.extra,
            TASKS.get(need.task)().roles.target_kind,
        ),
        book=book,
    )


def _newest_bundle(place: Workspace, need: Need, test: Examples) -> Path | None:
    """The bundle of the newest run of this need that was judged on these test rows."""
    for number in reversed(place.run_numbers()):
        run = place.run(number)
        try:
            result = run.read_json("result.json")
            bundle = open_bundle(result["bundle"])
        except (WorkspaceError, ValueError):
            continue
        same = bundle.manifest.lineage.get("test_rows") == test.fingerprint()
        if result.get("name") == need.name and same:
            return bundle.folder
    return None


def _now() -> datetime:
    return datetime.now(UTC)
