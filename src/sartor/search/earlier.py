"""A user's earlier bundles: candidates that are there already, before anything is trained.

A bundle's score on this need's rows is evidence only where it was not fitted on them. So one that
was fitted on a row that would choose or judge is left out, and so is one that has chosen on a row
that would judge, or that does not say what it learnt from. That it has chosen on the very rows
that choose now is what every candidate of this run does too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from sartor.bundle import Bundle, Learnt, Manifest, key_asked, open_bundle, read_manifest
from sartor.core.errors import BundleError
from sartor.core.events import Emit, Note
from sartor.core.texts import Text, length_of
from sartor.core.types import Candidate
from sartor.data.prepare import Prepared
from sartor.need.model import Need, Preferences
from sartor.search.assess import Held
from sartor.search.estimates import Estimate, Range
from sartor.search.feasible import Dropped, possible
from sartor.search.ladder import EARLIER, Rung

MOST = 4
"""Bundles of the workspace that are looked at, the newest first; those that are named all are."""
_GRAPH = "model.onnx"
_CHARACTERS = 3
"""In a token, at least: a guess at how much there is to read, made without a tokenizer."""


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier bundle as a candidate.

    Args:
        candidate: Under the name of the bundle's folder and the bundle's id.
        bundle: Verified.
        learnt: The rows it learnt from.
        stops: Whether the climb may end with it. Not where it is this very need's, of other rows,
            another seed or other preferences: whoever changed those wants something else trained.
    """

    candidate: Candidate
    bundle: Bundle
    learnt: Learnt
    stops: bool

    def rung(self, texts: Sequence[Text], gflops: float) -> Rung:
        """It alone, with its price: the validation texts are read once."""
        most = self.bundle.manifest.preprocess.max_length
        tokens = sum(min(most, length_of(text) // _CHARACTERS + 2) for text in texts)
        mb = self.bundle.size_mb
        pass_ = 2 * mb * 1e6 * tokens / (gflops * 1e9)
        # A weight takes one byte to four; a fifth to two thirds of the probed speed is reached.
        seconds = Range(pass_ / 4 / 0.65 + 0.3, pass_ / 0.2 + 4)
        found = Estimate(seconds, Range(100 + mb, 400 + 4 * mb), Range(mb, mb))
        return Rung(EARLIER, (self.candidate,), together=False, estimate=found, stops=self.stops)

    def shipping(self, held: Held) -> tuple[Held, Learnt]:
        """(what its artefact is assessed by, what it will have learnt from)."""
        # Its graph's outputs stand in their own order.
        asked = replace(held, outputs=tuple(self.bundle.manifest.outputs))
        return asked, self.learnt.choosing(held.validation.ids)

    def manifest_for(self, need: Need, test_rows: str) -> Manifest:
        """Its manifest under another need, not judged: what it is made of stays, and of what.

        Args:
            need: That it is to be judged by.
            test_rows: Fingerprint of the rows that will judge it.
        """
        before = self.bundle.manifest
        return before.model_copy(
            update={
                "id": "",
                "name": need.name,
                "decision": {},
                "files": {},
                "need": need.model_dump(mode="json"),
                "lineage": {**before.lineage, "test_rows": test_rows},
                "verdicts": [],
                "released": False,
                "seal": "",
            }
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bundle must fit, and must not have been fitted on.

    Args:
        need: What is asked.
        inputs: Of the task: role to modality.
        outputs: Names of the labels.
        rows: By role.
        backbones: Hashes of those that the need names; empty where it names none.
        bundles: Folder of the workspace's own.
        root: Folder the need's paths are relative to.
    """

    need: Need
    inputs: Mapping[str, str]
    outputs: Sequence[str]
    rows: Prepared
    backbones: frozenset[str]
    bundles: Path
    root: Path

    @property
    def wanted(self) -> bool:
        """Whether bundles are looked at: methods that are named leave them out."""
        methods = self.need.prefer.methods
        return methods is None or EARLIER in methods

    def folder(self, path: str) -> Path:
        """Of a bundle as the fact names it."""
        if self.need.prefer.bundles is None:
            return self.bundles / path
        return self.root / Path(path).expanduser()


def look(asked: Asked, emit: Emit) -> list[dict[str, Any]]:
    """The bundles there are, as a JSON fact: {"path", "id", "why", "stops"}; "why" it is left out.

    Of the workspace, the newest that fit the task and the labels; else those the need names.

    Raises:
        BundleError: If the need names a folder that does not exist.
    """
    if not asked.wanted:
        return []
    named = asked.need.prefer.bundles
    found: dict[str, dict[str, Any]] = {}
    for path in _newest(asked.bundles) if named is None else named:
        folder = asked.folder(path)
        if named is not None and not folder.is_dir():
            raise BundleError(
                f"prefer.bundles: there is no folder {folder}.",
                fix="name the folder of a bundle, relative to the need file.",
            )
        try:
            manifest = read_manifest(folder)
            if named is None and _unlike(manifest, asked):
                continue
            if len(found) == MOST and manifest.id not in found and named is None:
                break
            if manifest.id not in found or found[manifest.id]["why"]:
                # The workspace's own are made here, and signed when they leave it.
                key = "" if named is None else key_asked(None)
                why = _why_not(open_bundle(folder, verify_key=key), asked)
                stops = named is not None or _may_stop(manifest, asked)
                entry = {"path": path, "id": manifest.id, "why": why, "stops": stops}
                found[manifest.id] = entry
        except (BundleError, OSError) as error:
            what = error.what if isinstance(error, BundleError) else f"{error}."
            emit(Note(f"An earlier bundle is passed over: {what}", "warning"))
    return list(found.values())


def formers(
    looked: Sequence[Mapping[str, Any]], asked: Asked, emit: Emit
) -> tuple[list[Former], list[Dropped]]:
    """(those that are candidates, those that are left out).

    Args:
        looked: From `look`, now or when the run began.
        asked: What they are to fit.
        emit: Told where one is no longer what it was.
    """
    found: list[Former] = []
    dropped: list[Dropped] = []
    for entry in looked:
        folder, why = asked.folder(entry["path"]), str(entry["why"])
        if not why:
            try:
                former = _former(folder, entry, asked.need.seed)
            except (BundleError, OSError):
                former = None
            if former is not None:
                found.append(former)
                if not former.stops:
                    what = "this need's, of other rows, another seed or other preferences"
                    emit(Note(f"{folder.name} is {what}: it wins only where nothing new does."))
                continue
            why = "it has changed since this run began, whose result will differ"
            emit(Note(f"The bundle {folder} has changed since this run began.", "warning"))
        dropped.append(Dropped(EARLIER, folder.name, why))
    return found, dropped


def placed(
    rungs: Sequence[Rung], first: Sequence[Rung], methods: Sequence[str] | None
) -> list[Rung]:
    """The ladder with the earlier bundles' rungs: at its foot, or where the need's list says."""
    above = set(methods[: methods.index(EARLIER)]) if methods and EARLIER in methods else set[str]()
    at = sum(rung.name in above for rung in rungs)
    return [*rungs[:at], *first, *rungs[at:]]


def _newest(bundles: Path) -> Iterator[str]:
    """Names of the folders, the one that was written or judged last first."""
    names = [place.name for place in bundles.iterdir()] if bundles.is_dir() else []
    stamped: list[tuple[int, str]] = []
    for name in names:
        # A staging folder's name starts with a dot.
        if name.startswith(".") or not (bundles / name).is_dir():
            continue
        manifest = bundles / name / "manifest.json"
        stamped.append((-manifest.stat().st_mtime_ns if manifest.exists() else 0, name))
    return (name for _, name in sorted(stamped))


def _former(folder: Path, entry: Mapping[str, Any], seed: int) -> Former | None:
    """The bundle that was looked at, or None where another lies there now."""
    bundle = open_bundle(folder)
    learnt = bundle.learnt()
    if bundle.manifest.id != entry["id"] or learnt is None:
        return None
    candidate = Candidate(folder.name, bundle.manifest.id, EARLIER, {}, seed)
    return Former(candidate, bundle, learnt, bool(entry["stops"]))


def _unlike(manifest: Manifest, asked: Asked) -> str:
    """Why it answers another question, or nothing."""
    if (manifest.task, manifest.inputs) != (asked.need.task, dict(asked.inputs)):
        return "it is for another task"
    if sorted(manifest.outputs) != sorted(asked.outputs):
        return f"it answers other labels: {', '.join(manifest.outputs[:10])}"
    return ""


def _why_not(bundle: Bundle, asked: Asked) -> str:
    """Why a bundle is no candidate, or nothing."""
    reasons = (
        _unlike(bundle.manifest, asked)
        or _without_graph(bundle)
        or _no_evidence(bundle, asked.rows)
        or _unwanted(bundle.manifest, asked)
    )
    # Who names a bundle knows how it was judged: on further rows it may do better. And it may be
    # made smaller.
    if reasons or asked.need.prefer.bundles is not None:
        return reasons
    return _too_large(bundle, asked.need) or _judged(bundle.manifest, asked.need)


def _without_graph(bundle: Bundle) -> str:
    # Whoever wants the language model asked names it: its answers are remembered.
    return "" if _GRAPH in bundle.manifest.files else "it asks a language model"


def _no_evidence(bundle: Bundle, rows: Prepared) -> str:
    learnt = bundle.learnt()
    if learnt is None:
        return "it does not say which rows it learnt from"
    test, validation = rows.test.ids, rows.validation.ids
    seen = len(test) - len(learnt.fresh(test))
    if seen:
        return f"it learnt from {seen:,} of the {len(test):,} test rows"
    seen = len(validation) - len(learnt.unfitted(validation))
    return f"it was fitted on {seen:,} of the {len(validation):,} validation rows" if seen else ""


def _unwanted(manifest: Manifest, asked: Asked) -> str:
    """Which preference it goes against, or nothing."""
    prefer = asked.need.prefer
    for part in _parts(manifest.lineage):
        licence = part.get("backbone_licence")
        if prefer.licences is not None and licence not in prefer.licences:
            return f"its backbone has the licence {licence}, which prefer.licences does not allow"
        if (
            prefer.bundles is None
            and asked.backbones
            and part.get("backbone_sha256") not in asked.backbones
        ):
            return f"its backbone {part.get('backbone')} is none that prefer.backbones names"
    return ""


def _parts(lineage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The lineage, and that of every member; a stranger's bundle may hold anything there."""
    waiting: list[Any] = [lineage]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        known = cast("Mapping[str, Any]", part)
        yield known
        members = known.get("members")
        waiting += cast("list[Any]", members) if isinstance(members, list) else []


def _too_large(bundle: Bundle, need: Need) -> str:
    for criterion in need.accept:
        if criterion.metric == "size_mb" and not possible(criterion, bundle.size_mb):
            return f"it has {bundle.size_mb:.3g} MB, {criterion.text} is asked for"
    return ""


def _judged(manifest: Manifest, need: Need) -> str:
    """Which of this very need's criteria it has not met already, or nothing."""
    if manifest.name != need.name:
        return ""
    asked = {criterion.text for criterion in need.accept}
    for verdict in manifest.verdicts:
        if verdict.get("criterion") in asked and verdict.get("state") != "met":
            state = "not met" if verdict.get("state") == "unmet" else "unproven"
            return f"it was judged before: {verdict['criterion']} {state}"
    return ""


def _may_stop(manifest: Manifest, asked: Asked) -> bool:
    """Whether it is another need's, or was made of these rows and under these preferences."""
    need = asked.need
    if manifest.name != need.name:
        return True
    try:
        before = Preferences.model_validate(manifest.need.get("prefer", {}))
    except ValidationError:
        return False
    aside: dict[str, None] = {"bundles": None}
    if EARLIER in (need.prefer.methods or ()):
        aside["methods"] = None
    return (
        manifest.lineage.get("train_rows") == asked.rows.train.fingerprint()
        and manifest.need.get("seed") == need.seed
        and before.model_copy(update=aside) == need.prefer.model_copy(update=aside)
    )
