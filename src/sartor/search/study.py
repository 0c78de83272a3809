"""One Optuna study in a journal that survives a kill and may be shared by several processes.

A trial is drawn in memory, from a copy of what the journal holds, by a sampler seeded with the
need's seed and the number of trials before it; then it enters the journal in one write, with its
parameters and its owner. So a kill leaves a trial whole or absent, whoever reads the journal knows
whose it is, and the next draw depends on nothing but the journal. A run that resumes marks its own
trials that never ended as failed, and is asked to do them again first; the others' it leaves alone.

TPE: Bergstra et al. 2011; Optuna: Akiba et al. 2019, https://arxiv.org/abs/1907.10902
"""

import fcntl
import logging
import os
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from sartor.core.durable import disk_space, write_durably
from sartor.core.errors import WorkspaceError
from sartor.core.hashing import digest
from sartor.search.pruning import Bar, Curve
from sartor.search.space import Space

_NAME = "trials"
_STARTUP = 4
"""Trials before TPE models anything: a portfolio has been tried by then."""
_STOPPED = "stopped before it ended"
_PART = 1
"""Step under which the value on part of the rows is reported."""
_WHOLE = 1000
"""Steps of a whole fit: the log-loss after a share of it is reported under 1000 and its share."""


@dataclass(frozen=True, slots=True)
class Past:
    """A trial as the journal holds it.

    Args:
        number: In the study, from 0.
        state: "running", "done", "pruned", "failed", or "stopped" by a kill.
        settings: Of the space only.
        value: What was minimised; None where there is none.
        partial: The same on part of the rows; None where that was not tried.
        owner: Of whom it is.
        notes: What was said of it: scores, why it failed, …
        curve: Validation log-loss after shares of its training; empty for closed forms.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    value: float | None
    partial: float | None
    owner: str
    notes: Mapping[str, Any]
    curve: Curve = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A trial to be done: its number, and the settings that the space decides."""

    number: int
    settings: Mapping[str, Any]


class Study:
    """Ask for settings, tell what they gave; smaller is better.

    Args:
        file: The journal; made when absent.
        space: What is searched.
        owner: Of the trials asked for here, e.g. "run 7". Two processes have two owners.
        seed: Of the sampler.

    Raises:
        WorkspaceError: If the journal is damaged or the disk is full.
    """

    def __init__(self, file: Path, space: Space, owner: str, seed: int) -> None:
        self.file, self.space, self.owner, self.seed = file, space, owner, seed
        self._distributions = space.distributions()
        file.parent.mkdir(parents=True, exist_ok=True)
        lock: Any = _Lock(file.with_suffix(".lock"))
        try:
            with self._journal():
                _mend(file)
                self._storage = JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
                self._study = optuna.create_study(
                    storage=self._storage, study_name=_NAME, load_if_exists=True
                )
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                f"{file} is damaged: {str(error) or type(error).__name__}.",
                fix="remove it: the search begins anew, and finds again what was fitted.",
            ) from error

    def trials(self) -> list[Past]:
        """All there are, by number."""
        with self._journal():
            return [self._past(trial) for trial in self._study.get_trials(deepcopy=False)]

    def mine(self) -> list[Past]:
        """This owner's trials that ended by themselves, in the order they were asked for."""
        ended = ("done", "pruned", "failed")
        return [p for p in self.trials() if p.owner == self.owner and p.state in ended]

    def recover(self) -> int:
        """Mark as stopped what this owner had begun when it was killed; gives how many there were.

        They are asked for again before anything else. Only for an owner that is not at work:
        whoever holds the run's lock.
        """
        left = [p for p in self.trials() if p.owner == self.owner and p.state == "running"]
        for past in left:
            self.fail(past.number, _STOPPED)
        return len(left)

    def ask(self, wanted: Sequence[Mapping[str, Any]] = ()) -> Asked:
        """The next trial: one that was stopped, else the first wanted one that this owner has not
        had, else what the sampler draws.

        Args:
            wanted: Settings to try before any are drawn; those outside the space are passed over.
        """
        trials = self.trials()
        had = [p.settings for p in trials if p.owner == self.owner and p.state != "stopped"]
        stopped = [p.settings for p in trials if p.owner == self.owner and p.state == "stopped"]
        for settings in (*stopped, *wanted):
            params = self.space.params(settings)
            if params is not None and self.space.settings(params, {}) not in had:
                return self._begin(params)
        return self._begin(self._draw(trials))

    def add(
        self,
        settings: Mapping[str, Any],
        value: float | None,
        notes: Mapping[str, Any],
        curve: Curve = (),
    ) -> None:
        """Record what was tried without being asked for, once an owner: failed where no value."""
        params = self.space.params(settings)
        if params is None:
            return
        plain = self.space.settings(params, {})
        if any(p.owner == self.owner and p.settings == plain for p in self.trials()):
            return
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        with self._journal():
            self._study.add_trial(self._trial(state, params, notes, value=value, curve=curve))

    def tell(self, number: int, value: float, notes: Mapping[str, Any], curve: Curve = ()) -> None:
        """A trial ended well."""
        self._trace(number, curve)
        self._note(number, notes)
        with self._journal():
            self._study.tell(number, value)

    def fail(self, number: int, why: str) -> None:
        """A trial could not be done."""
        self._note(number, {"why": why})
        with self._journal():
            self._study.tell(number, state=TrialState.FAIL)

    def report(self, number: int, value: float) -> bool:
        """Record the value on part of the rows; says whether it is worth going on.

        Goes on when it is among the best third that came so far (asynchronous successive halving,
        Li et al. 2020, https://arxiv.org/abs/1810.05934); those that failed do not count.
        """
        with self._journal():
            storage: Any = self._storage
            storage.set_trial_intermediate_value(self._id(number), _PART, value)
        seen = [
            p.partial
            for p in self.trials()
            if p.partial is not None and p.state not in ("failed", "stopped") and p.number != number
        ]
        better = sum(other < value for other in seen)
        return better < max(1, (len(seen) + 1) / 3)

    def bar(self) -> Bar:
        """What the whole trials so far had reached on the way."""
        return Bar(tuple(p.curve for p in self.trials() if p.state == "done" and p.curve))

    def prune(self, number: int, why: str, curve: Curve = ()) -> None:
        """A trial is not worth all of the rows, or all of its training."""
        self._trace(number, curve)
        self._note(number, {"why": why})
        with self._journal():
            self._study.tell(number, state=TrialState.PRUNED)

    def refuse(self, number: int, why: str) -> None:
        """A trial cannot be what is needed, whatever it would learn; nothing is fitted for it."""
        self._note(number, {"refused": True})
        self.prune(number, why)

    def importances(self) -> dict[str, float]:
        """Setting to its share of what decides the value, 0 to 1; empty with too few trials.

        PED-ANOVA, Watanabe et al. 2023, https://arxiv.org/abs/2304.10255
        """
        done = [p for p in self.trials() if p.state == "done"]
        if len(done) < 2 * len(self._distributions) or len(done) < 6:
            return {}
        with self._journal(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of trials that lack a setting: they have all of them
            found = optuna.importance.get_param_importances(self._study)
        return {name: float(share) for name, share in found.items()}

    def _draw(self, trials: Sequence[Past]) -> dict[str, Any]:
        """What TPE suggests after the trials that count."""
        counted = [p for p in trials if p.state != "stopped"]
        seed = int(digest(self.seed, sorted(self._distributions), len(counted))[:8], 16)
        with _quiet():
            copy = optuna.create_study(
                sampler=TPESampler(seed=seed, n_startup_trials=_STARTUP, multivariate=True)
            )
            states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
            for past in counted:
                params = self.space.params(past.settings)
                if past.state != "failed" and params is not None:
                    state = states.get(past.state, TrialState.RUNNING)
                    copy.add_trial(
                        self._trial(
                            state,
                            params,
                            value=past.value,
                            partial=past.partial,
                            curve=past.curve if past.state == "pruned" else (),
                        )
                    )
            return copy.ask(self._distributions).params

    def _begin(self, params: Mapping[str, Any]) -> Asked:
        with self._journal():
            before = {t.number for t in self._study.get_trials(deepcopy=False)}
            key = digest(self.owner, os.getpid(), len(before), dict(params))[:16]
            trial = self._trial(TrialState.RUNNING, params, {"key": key})
            self._study.add_trial(trial)
            # Others write too: ours is the one with our key.
            number = next(
                t.number
                for t in reversed(self._study.get_trials(deepcopy=False))
                if t.user_attrs.get("key") == key
            )
        return Asked(number, self.space.settings(params, {}))

    def _trial(
        self,
        state: TrialState,
        params: Mapping[str, Any],
        notes: Mapping[str, Any] | None = None,
        *,
        value: float | None = None,
        partial: float | None = None,
        curve: Curve = (),
    ) -> FrozenTrial:
        reported = {} if partial is None else {_PART: partial}
        return create_trial(
            state=state,
            value=value,
            params=dict(params),
            distributions=dict(self._distributions),
            user_attrs={"owner": self.owner, **(notes or {})},
            intermediate_values=reported | {_step(share): loss for share, loss in curve},
        )

    def _past(self, trial: FrozenTrial) -> Past:
        states = {
            TrialState.RUNNING: "running",
            TrialState.COMPLETE: "done",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "failed",
        }
        notes = dict(trial.user_attrs)
        owner = str(notes.pop("owner", ""))
        stopped = trial.state == TrialState.FAIL and notes.get("why") == _STOPPED
        return Past(
            trial.number,
            "stopped" if stopped else states[trial.state],
            self.space.settings(trial.params, {}),
            trial.value if trial.state == TrialState.COMPLETE else None,
            trial.intermediate_values.get(_PART),
            owner,
            notes,
            tuple(
                ((step - _WHOLE) / _WHOLE, loss)
                for step, loss in sorted(trial.intermediate_values.items())
                if step > _WHOLE
            ),
        )

    def _trace(self, number: int, curve: Curve) -> None:
        with self._journal():
            storage: Any = self._storage
            for share, loss in curve:
                storage.set_trial_intermediate_value(self._id(number), _step(share), loss)

    def _note(self, number: int, notes: Mapping[str, Any]) -> None:
        with self._journal():
            for name, value in notes.items():
                self._storage.set_trial_user_attr(self._id(number), name, value)

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)

    @contextmanager
    def _journal(self) -> Generator[None]:
        """Optuna's own words stay out of the user's terminal, and a full disk says what to do."""
        with disk_space(self.file), _quiet():
            yield


def _step(share: float) -> int:
    return _WHOLE + round(_WHOLE * share)


class _Lock:
    """Optuna's lock as a file lock, which dies with the process that holds it.

    Its own lock file outlives a killed process and then holds the others up for half a minute.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._handle: Any = None

    def acquire(self) -> bool:
        handle = self._file.open("w")
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._handle = handle
        return True

    def release(self) -> None:
        self._handle.close()


def _mend(file: Path) -> None:
    """Cut off a last line that a kill left unfinished: the next one would be glued to it."""
    if not file.exists():
        return
    lock = _Lock(file.with_suffix(".lock"))
    lock.acquire()
    try:
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            write_durably(file, whole)
    finally:
        lock.release()


@contextmanager
def _quiet() -> Generator[None]:
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
