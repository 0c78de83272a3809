"""What a server says of its models: the live one in full, and who stands beside it."""

from typing import TYPE_CHECKING, Any

from sartor.bundle import Manifest
from sartor.core.histories import ANSWERS, HISTORY, ITEMS
from sartor.core.types import SKILL
from sartor.serve.runtime import Runtime

# A function has no line-up, and its first answer should not wait for one.
if TYPE_CHECKING:
    from sartor.serve.following import Follower
    from sartor.serve.versions import Lineup


def tell(lineup: "Lineup", follower: "Follower | None") -> dict[str, Any]:
    """The part of `bodies.ModelReply` that the line-up decides."""
    versions = [_version("live", lineup.live.runtime, 100 - lineup.share)]
    if lineup.canary:
        versions.append(_version("canary", lineup.canary.runtime, lineup.share))
    if lineup.shadow:
        versions.append(_version("shadow", lineup.shadow.runtime, 0.0))
    deployment = None
    if follower:
        # Why a change failed names folders, which are none of a client's business.
        report = follower.report
        deployment = {
            "name": follower.deployment.name,
            "change": report.number,
            "wanted": report.wanted,
            "state": report.state,
        }
    return {**_live(lineup.live.runtime), "versions": versions, "deployment": deployment}


def tell_alone(runtime: Runtime) -> dict[str, Any]:
    """The same of a model that nothing stands beside."""
    versions = [_version("live", runtime, 100)]
    return {**_live(runtime), "versions": versions, "deployment": None}


def _live(runtime: Runtime) -> dict[str, Any]:
    manifest = runtime.bundle.manifest
    return {
        "name": manifest.name,
        "model": manifest.id,
        "inputs": list(manifest.inputs),
        "fields": [_field(manifest, name, kind) for name, kind in manifest.inputs.items()],
        "labels": list(runtime.labels),
        "target": runtime.target,
        "replies": runtime.replies is not None,
        "released": manifest.released,
    }


def _field(manifest: Manifest, name: str, kind: str) -> dict[str, Any]:
    code = manifest.preprocess.columns
    column = code.columns.get(name) if code else None
    if code and kind == SKILL:
        skills = sorted({*code.columns[HISTORY].skills} - {""})
        return {"name": name, "kind": kind, "values": skills}
    # Of items there may be many; where they are what is answered, they are told as labels.
    told = column is not None and kind not in (ITEMS, ANSWERS)
    return {"name": name, "kind": kind, "values": column.values if told and column else []}


def _version(role: str, runtime: Runtime, share: float) -> dict[str, Any]:
    return {
        "role": role,
        "model": runtime.id,
        "name": runtime.name,
        "released": runtime.released,
        "share": share,
    }
