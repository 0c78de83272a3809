"""A product's parts: where their bundles are, and what they can answer between them.

A part that is named by its need is taken from the newest finished run of that very need on the very
same data, if the workspace holds one, and is run first otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.errors import BundleError, Fault, NeedError, SettingError, WorkspaceError
from sartor.core.events import Note
from sartor.core.types import HAND_OFF
from sartor.core.workspace import Workspace
from sartor.data.read import read_splits
from sartor.need.file import load_need
from sartor.need.graph import label_faults
from sartor.need.model import Budget, Need, Preferences
from sartor.need.parts import Part
from sartor.search.desk import Desk
from sartor.search.documents import sources_of, with_documents
from sartor.search.judging import roles_of
from sartor.search.members import Members, part_faults
from sartor.tasks import TASKS, Composed

Run = Callable[[Path], Path]
"""A need file to the folder of the bundle that it ends with."""
Found = Mapping[str, Mapping[str, str]]
"""Part to "path" and "id" of its bundle: a fact of the run."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A product whose parts are there.

    Args:
        need: With the outcomes as its labels.
        parts: Each with the id of its bundle in the place of where it was found.
        bundles: Part to its bundle, verified.
    """

    need: Need
    parts: Mapping[str, Part]
    bundles: Mapping[str, Bundle]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What it can answer."""
        return tuple(self.need.data.labels or ())

    def words(self) -> str:
        """The parts in a line: where each is from and leads to."""
        said: list[str] = []
        for name, part in self.parts.items():
            manifest = self.bundles[name].manifest
            state = "" if manifest.released else ", not released"
            leads = f" → {', '.join(part.leads_to())}" if part.leads_to() else ""
            said.append(f"{name} ({manifest.name} {manifest.id[:8]}{state}){leads}")
        return " · ".join(said)


def composes(task: str) -> bool:
    """Whether other bundles answer.

    Raises:
        UnknownName: If there is no such task.
    """
    return isinstance(TASKS.get(task)().target, Composed)


def find_parts(desk: Desk, run: Run | None) -> dict[str, dict[str, str]]:
    """Where the bundles of the parts are, as `Found`.

    Args:
        desk: What the run of the product works with.
        run: Runs the need of a part that no run has finished; None refuses.

    Raises:
        NeedError: If the need says what a product has no use for, or a part's file is wrong.
        BundleError: If a part's folder is no bundle.
        SettingError: If a part must be run first, and nobody may.
    """
    _refuse_unread(desk.need, desk.file)
    found: dict[str, dict[str, str]] = {}
    for name, part in (desk.need.parts or {}).items():
        folder = _folder(name, part, desk, run)
        found[name] = {"path": str(folder.resolve()), "id": open_bundle(folder).manifest.id}
    return found


def assembled(need: Need, file: str, found: Found) -> Assembly:
    """The parts' bundles, verified and fit for one another.

    Args:
        need: Of a product.
        file: Its file, for messages.
        found: From `find_parts`, now or when the run began.

    Raises:
        BundleError: If a bundle is damaged, not signed by the key that is asked for, or another
            one than was found.
        NeedError: With every case that names a label which is none, or that is left open.
    """
    parts, bundles = need.parts or {}, dict[str, Bundle]()
    for name, part in parts.items():
        # The workspace's own are made here, and signed when they leave it.
        key = "" if part.bundle is None else key_asked(None)
        bundle = open_bundle(found[name]["path"], verify_key=key)
        if bundle.manifest.id != found[name]["id"]:
            raise BundleError(
                f"{bundle.folder}, the part {name!r}, has changed since this run began.",
                fix="start a new run with `sartor run`.",
            )
        bundles[name] = bundle
    members = Members(parts, bundles)
    if faults := members.unfit():
        raise NeedError(file, faults)
    faults = label_faults(parts, {name: members.labels(name) for name in parts})
    faults += part_faults(need.accept, parts)
    outcomes = dict.fromkeys(members.outcomes())
    if HAND_OFF in outcomes:
        what = f"a part answers {HAND_OFF!r}, which stands for a person"
        fix = f"write a case for it: {{when: {HAND_OFF}, hand_off: why}}."
        faults.append(Fault(0, what, fix))
    if not outcomes and not faults:
        what = "every case leaves the row to a person"
        faults.append(Fault(0, what, "let one say `answer`."))
    if faults:
        raise NeedError(file, faults)
    told = need.data.model_copy(update={"labels": list(outcomes)})
    ids = {name: bundle.manifest.id for name, bundle in bundles.items()}
    kept = {n: p.model_copy(update={"bundle": ids[n], "need": None}) for n, p in parts.items()}
    return Assembly(need.model_copy(update={"data": told}), kept, bundles)


def _refuse_unread(need: Need, file: str) -> None:
    """What a need says that a product has no use for."""
    data, said = need.data, dict[str, str]()
    if need.prefer != Preferences():
        said["prefer"] = "say it in the needs of the parts."
    if need.budget.model_copy(update={"money_per_hour": None}) != Budget():
        said["budget"] = "say it in the needs of the parts."
    if data.labels is not None or data.label_descriptions:
        said["data.labels"] = "leave it out: the parts say what can be answered."
    if data.unlabelled is not None:
        said["data.unlabelled"] = "leave it out: a product learns nothing of texts."
    if data.languages is not None:
        said["data.languages"] = "leave it out: a product translates nothing."
    if said:
        faults = [Fault(0, f"{key} is not read by a product", fix) for key, fix in said.items()]
        raise NeedError(file, faults)


def _folder(name: str, part: Part, desk: Desk, run: Run | None) -> Path:
    if part.bundle is not None:
        folder = desk.root / Path(part.bundle).expanduser()
        if not folder.is_dir():
            raise BundleError(
                f"parts.{name}.bundle: there is no folder {folder}.",
                fix="name the folder of a bundle, relative to the need file, or its need.",
            )
        return folder
    path = desk.root / Path(str(part.need)).expanduser()
    if composes(load_need(path, roles_of).task):
        raise NeedError(
            str(path),
            [Fault(0, f"the part {name!r} is a product itself", "list its parts instead.")],
        )
    if (known := _finished(path, desk.place)) is not None:
        desk.emit(Note(f"Part {name}: {known.name}, of an earlier run of {part.need}."))
        return known
    if run is None:
        raise SettingError(
            f"The part {name!r} has no bundle yet: no run here has finished {path} on its data.",
            fix=f"run it first, with `sartor run {path}`; a run of the product does it by itself.",
        )
    desk.emit(Note(f"Part {name}: running {part.need} first."))
    return run(path)


def _finished(path: Path, place: Workspace) -> Path | None:
    """The bundle of the newest finished run of a need on the data as it is now."""
    text, root = path.read_text("utf-8-sig"), path.parent
    need = with_documents(load_need(path, roles_of), str(path), root)
    if need.data.feedback:  # users may have said more since
        return None
    data = need.data
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    table = read_splits({name: files or [] for name, files in splits.items()}, root)
    now = {s.file: s.sha256 for s in table.sources} | sources_of(need)
    asked = {"text": text, "root": str(root.resolve()), "methods": None, "held": False}
    for number in reversed(place.run_numbers()):
        run = place.run(number)
        try:
            kept: dict[str, Any] = run.read_json("need.json")
            folder = place.bundles / Path(run.read_json("result.json")["bundle"]).name
        except (WorkspaceError, KeyError):
            continue
        same = {key: kept.get(key) for key in asked} == asked and run.recall("sources") == now
        if same and folder.is_dir():
            return folder
    return None
