"""`sartor personalize`: heads and LoRAs of users' own, released where they beat the shared model.

One is released only where it is shown to be better than the shared model on rows of the user that
it did not learn from. Everything else leaves the user with what they had: the shared model, or an
earlier head or LoRA of their own that still does better.

Looks are rationed twice. None is spent before so many answers differ that it could succeed, and
none before the judging rows have doubled since the last; so what the ledger leaves of the error for
a further look stays of use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sartor.bundle.base import MAX_RANK
from sartor.core.errors import (
    BundleError,
    DataError,
    Diverged,
    Interrupted,
    ModelError,
    NothingToTune,
    SettingError,
)
from sartor.core.events import Emit, Note, StageDone, StageProgress, StageStarted, silent
from sartor.core.hashing import digest, sources_sha256
from sartor.core.store import Store
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Heard, Who, heard, tenants_of, users
from sartor.search.personal_model import Model, open_model, open_shared
from sartor.search.personal_own import Tuning, head_tuning
from sartor.search.personal_record import Outcome, Records
from sartor.search.personal_release import Releasing
from sartor.search.personal_rows import halves, name_of
from sartor.search.personal_trial import Silence, attempt
from sartor.search.turns import turn

_SOURCES = (
    "sartor.tune.personal",
    "sartor.tune.personal_lora",
    "sartor.judge.paired",
    "sartor.search.personal_lora",
    "sartor.search.personal_own",
    "sartor.search.personal_release",
    "sartor.search.personal_rows",
    "sartor.search.personal_trial",
)


Way = Literal["head", "lora", "auto"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is tuned for a user, and when it is released.

    Args:
        confidence: That nothing is released which is not better, for each user and over all looks.
        silence: What an answer counts for on which the user said nothing; see `personal_trial`.
        method: A head, a LoRA, or which of the two does better on training rows that are left out.
        rank: Of a LoRA.
    """

    confidence: float = 0.95
    silence: Silence = "agrees"
    method: Way = "head"
    rank: int = 4

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise SettingError(
                f"confidence must be between 0.5 and 1. Got {self.confidence}.",
                fix="write e.g. 0.95, or leave it out.",
            )
        if self.silence not in ("agrees", "nothing"):
            raise SettingError(
                f"silence must be 'agrees' or 'nothing'. Got {self.silence!r}.",
                fix="leave it out, unless your users are asked about every answer.",
            )
        if self.method not in ("head", "lora", "auto"):
            raise SettingError(
                f"method must be 'head', 'lora' or 'auto'. Got {self.method!r:.100}.",
                fix="leave it out for heads.",
            )
        if not 1 <= self.rank <= MAX_RANK:
            raise SettingError(
                f"rank must be 1 to {MAX_RANK}. Got {self.rank}.", fix="take 2, 4 or 8."
            )


@dataclass(frozen=True, slots=True)
class Whom:
    """For which users.

    Args:
        users: As requests name them; all of whom there is feedback where empty.
        tenant: Theirs. None is the tenant without a name for users that are named, and every
            tenant where all are meant.
    """

    users: tuple[str, ...] = ()
    tenant: str | None = None


def personalise(
    bundle: Path,
    whom: Whom,
    *,
    root: Path | None = None,
    rule: Rule | None = None,
    workspace: str | Path = ".",
    emit: Emit = silent,
) -> list[Outcome]:
    """Tune a head or a LoRA for each user from their feedback, and release those that are shown to
    be better.

    Args:
        bundle: Folder of the model that all users share.
        whom: The users.
        root: Folder of the adapters; one under `.sartor/adapters/` for each bundle where None.
        rule: What is tuned and when it is released; see `Rule` for what holds where None.
        workspace: Folder that holds `.sartor/`, with the store.
        emit: Told of progress.

    Returns:
        One outcome a user. Where all are meant, one whose rows cannot be used is "refused".

    Raises:
        SartorError: If the bundle, the adapters or the store cannot be used; where a LoRA is asked
            for, if the bundle's fit is gone or its graph takes none.
        DataError: If a named user gave no feedback, or a label that the bundle lacks.
        Interrupted: On Ctrl-C; what was finished is found again, not redone.
    """
    place = Workspace.open(workspace)
    rule = rule or Rule()
    model, tunings = _opened(bundle, place, root, rule, emit)
    with Store.open(place.store) as store:
        wanted = [Who(whom.tenant, user) for user in whom.users] or users(store, whom.tenant)
        desk = _Desk(store, model, rule, tunings, Records(place))
        emit(StageStarted("personal", len(wanted), "users"))
        done: list[Outcome] = []

        def wait() -> None:
            emit(Note("Waiting for another process that tunes for a user, or forgets one."))

        try:
            for who in wanted:
                with turn(desk.records.lock, wait):
                    done.append(desk.outcome(who) if whom.users else desk.tolerant(who))
                emit(StageProgress("personal", len(done), len(wanted)))
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped after {len(done)} of {len(wanted)} users; what was finished is kept.",
                fix="run the same command again: users about whom nothing changed are not redone.",
            ) from None
    emit(StageDone("personal", _summary(done)))
    return done


def _opened(
    bundle: Path, place: Workspace, root: Path | None, rule: Rule, emit: Emit
) -> tuple[Model, tuple[Tuning, ...]]:
    """The shared model, and what is tuned, cheapest first."""
    shared = open_shared(bundle)
    if rule.method == "head":
        model = open_model(shared, place, root)
        return model, (head_tuning(model.head()),)
    try:
        # Here, since tuning heads needs no trainer.
        from sartor.search.personal_lora import open_lora

        model, tuning = open_lora(shared, place, root, rule.rank, emit)
    except (BundleError, ModelError, NothingToTune, ImportError) as error:
        if rule.method == "lora":
            raise
        emit(Note(f"Heads alone. {getattr(error, 'what', error)}", "warning"))
        return _opened(bundle, place, root, replace(rule, method="head"), emit)
    if rule.method == "lora" or not model.adapted.base.features:
        return model, (tuning,)
    return model, (head_tuning(model.head()), tuning)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What all users of one call share."""

    store: Store
    model: Model
    rule: Rule
    tunings: tuple[Tuning, ...]
    records: Records

    def tolerant(self, who: Who) -> Outcome:
        """One user's rows that cannot be used must not cost the others their turn."""
        try:
            return self.outcome(who)
        except (BundleError, DataError, Diverged, SettingError) as error:
            why = f"{error.what} {error.fix}"
            return Outcome(who.tenant, who.user, "refused", "refused", why)

    def outcome(self, who: Who) -> Outcome:
        """The stored outcome where nothing has changed, else a new one, which is stored."""
        found = heard(self.store, who)
        if not any(row.label is not None for row in found.rows):
            raise self._nothing(who)
        inputs = self._inputs(who, found)
        if (kept := self.records.recall(who, inputs)) is not None:
            return kept
        outcome = self._tried(who, found)
        # Releasing changes what the user has, and so the inputs.
        self.records.keep(who, self._inputs(who, found), outcome)
        return outcome

    def _tried(self, who: Who, found: Heard) -> Outcome:
        rule, bundle = self.rule, self.model.bundle
        silence = rule.silence
        divided = halves(found.rows, who)
        # Where silence counts, only requests that named the user tell of their silent answers; and
        # on what the shared model was fitted on, it does better than it would.
        held = [row for row in divided.held if row.named or silence == "nothing"]
        if (learnt := bundle.learnt()) is not None:
            held = [held[at] for at in learnt.unfitted([name_of(row) for row in held])]
        trial = attempt(replace(divided, held=tuple(held)), self.model, silence, self.tunings)
        releasing = Releasing(self.store, self.model, who, rule.confidence)
        return releasing.decide(trial, found, silence)

    def _inputs(self, who: Who, found: Heard) -> str:
        """Content hash of everything that an outcome depends on."""
        rows = [(name_of(r), r.label, r.best, r.named, r.request_id, r.row) for r in found.rows]
        own = self.model.version(who)
        code = sources_sha256(*_SOURCES)
        return digest(self.model.bundle.manifest.id, self.rule, rows, found.hidden, own, code)

    def _nothing(self, who: Who) -> DataError:
        others = [name for name in tenants_of(self.store, who.user) if name != who.tenant]
        fix = "send feedback with its text, or serve with --store-texts."
        if others:
            fix = f"name the tenant, e.g. --tenant {others[-1] or others[0]}."
        under = "" if who.tenant is None else f" of the tenant {who.tenant!r}"
        return DataError(
            f"{self.store.where} holds no feedback of the user {who.user!r:.100}{under} whose text"
            " is kept.",
            fix=fix,
        )


def _summary(done: Sequence[Outcome]) -> str:
    released = sum(one.state == "released" for one in done)
    kept = sum(one.state == "kept" for one in done)
    again = sum(one.again for one in done)
    users = "1 user" if len(done) == 1 else f"{len(done):,} users"
    return (
        f"{users}: {released:,} released, {kept:,} kept,"
        f" {len(done) - released - kept:,} with the shared model"
        + (f" ({again:,} unchanged since last time)" if again else "")
    )
