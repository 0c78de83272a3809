"""What became of each user, so that one about whom nothing changed is not tried again.

One file a user under `.sartor/personal/`, called by a hash of the name. It holds no text and no
name, and goes when the user is forgotten.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sartor.bundle.adapter import Kind
from sartor.core.durable import disk_space, write_durably
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who

_FOLDER = "personal"
_BYTES = 1_000_000
State = Literal["released", "kept", "shared", "refused"]
Reason = Literal[
    "better",
    "not better",
    "too few",
    "waiting",
    "worn",
    "same",
    "hidden",
    "one-sided",
    "withdrawn",
    "refused",
]


@dataclass(frozen=True, slots=True)
class Open:
    """A silent answer that a model of the user's own would change: worth asking about."""

    request_id: str
    row: int
    shared: str
    own: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one user ended.

    Args:
        tenant: None is the tenant without a name.
        user: As requests name them.
        state: Who answers them from now on: a new head or LoRA ("released"), an earlier one
            ("kept"), or the model that all share; "refused" where their rows cannot be used.
        reason: Why.
        why: The same in a sentence.
        n: Judging rows.
        differing: Those on which exactly one of the two models is right.
        gain: Accuracy of the user's own model minus that of the shared one on those rows, with the
            interval from `low` to `high`; None where no look was taken.
        look: Which look at these rows it was; None where none was taken.
        corrections: Rows on which the user said that the shared model is wrong.
        more: Range of further corrections that would decide, or None.
        ask: Silent answers that would change: what the user says of them decides soonest.
        method: What was tried for them, "head" or "lora"; None where there was too little to fit
            anything.
        strength: λ of the pull towards the shared model; None where nothing was fitted that does
            better.
        again: Whether nothing had changed, so that this was found and not tried.
    """

    tenant: str | None
    user: str
    state: State
    reason: Reason
    why: str
    n: int = 0
    differing: int = 0
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    look: int | None = None
    corrections: int = 0
    more: tuple[int, int] | None = None
    ask: tuple[Open, ...] = ()
    method: Kind | None = None
    strength: float | None = None
    again: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Records:
    """Outcomes kept in a workspace.

    Args:
        place: The workspace.
    """

    place: Workspace

    def recall(self, who: Who, inputs: str) -> Outcome | None:
        """The outcome of exactly these inputs; None for others, or where the file is damaged."""
        try:
            data = self._file(who).read_bytes()
            found: Any = json.loads(data) if len(data) <= _BYTES else None
            if not isinstance(found, Mapping) or found.get("inputs") != inputs:
                return None
            return _outcome(who, found["outcome"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None  # it is tried again

    def keep(self, who: Who, inputs: str, outcome: Outcome) -> None:
        """
        Raises:
            WorkspaceError: If the disk is full.
        """
        plain = {k: v for k, v in outcome.as_json().items() if k not in ("tenant", "user", "again")}
        file = self._file(who)
        with disk_space(file):
            file.parent.mkdir(exist_ok=True)
        text = json.dumps({"inputs": inputs, "outcome": plain}, ensure_ascii=False, indent=1)
        write_durably(file, text.encode("utf-8", "surrogatepass"))

    def forget(self, who: Who) -> None:
        self._file(who).unlink(missing_ok=True)

    @property
    def lock(self) -> Path:
        """Held while a user is tried, or forgotten: nothing is written of one who is gone."""
        return self.place.folder / "personal.lock"

    def _file(self, who: Who) -> Path:
        return self.place.folder / _FOLDER / f"{who.name}.json"


def _outcome(who: Who, found: Mapping[str, Any]) -> Outcome:
    known = Outcome(who.tenant, who.user, **{**found, "ask": ()})
    ask = tuple(Open(**one) for one in found["ask"])
    more = known.more and (int(known.more[0]), int(known.more[1]))
    return replace(known, ask=ask, more=more, again=True)
