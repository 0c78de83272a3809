"""A bundle, and what it must come down to, as a need: the bundle's own with further criteria.

It is run as any need: on the same rows by role, with a verdict on the test rows at the end. Its one
candidate is the bundle.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.errors import SettingError, WorkspaceError
from sartor.core.workspace import Workspace
from sartor.need.criterion import Criterion
from sartor.need.file import load_need, parse_need
from sartor.need.grammar import parse_criterion
from sartor.need.model import Need
from sartor.search.assess import of_the_artefact
from sartor.search.judging import roles_of
from sartor.search.ladder import EARLIER
from sartor.serve.opening import composed

_NEED = "need.yaml"


@dataclass(frozen=True, slots=True)
class Asked:
    """A need as a run takes it.

    Args:
        name: The need's.
        text: Of the need, as JSON, which is YAML.
        root: Folder its paths are relative to.
        file: The need file, as the user wrote it: for messages.
    """

    name: str
    text: str
    root: Path
    file: str


def smaller(
    folder: Path,
    to: Sequence[str],
    place: Workspace,
    need: Path | None,
    by: Sequence[str] = (),
) -> Asked:
    """The need that asks a bundle to become smaller or faster.

    Args:
        folder: The bundle.
        to: Criteria on size, speed or cost, e.g. "size_mb <= 10". One of the bundle's need on the
            same metric gives way.
        place: Workspace; the run that made the bundle tells where the data lies.
        need: Need file to take the data and the other criteria from instead.
        by: Compressors that are all tried, and no others; empty for those that may help.

    Raises:
        BundleError: If the bundle cannot be used.
        NeedError: If the need file cannot.
        CriterionSyntaxError: If a criterion cannot be read.
        SettingError: If there is none, or one is about the answers.
        WorkspaceError: If no run of the workspace made the bundle and no need file is named.
    """
    bundle = open_bundle(folder, verify_key=key_asked(None))
    if composed(bundle):
        raise SettingError(
            f"{folder} is a product: its size and its speed are those of its parts.",
            fix="shrink the bundle of a part, and run the product's need again.",
        )
    wanted = [] if by and not to else _criteria(to)
    if need is None:
        text = bundle.path(_NEED).read_text("utf-8")
        found, root, file = parse_need(text, str(folder), roles_of), _root(place, bundle), _NEED
    else:
        found, root, file = load_need(need, roles_of), need.parent, str(need)
    return Asked(found.name, _text(found, wanted, folder, by), root, file)


def _criteria(to: Sequence[str]) -> list[Criterion]:
    if not to:
        raise SettingError(
            "Nothing says how small or how fast the bundle is to be.",
            fix='write a criterion: --to "size_mb <= 10".',
        )
    found = [parse_criterion(text) for text in to]
    for criterion in found:
        if not of_the_artefact(criterion):
            raise SettingError(
                f"{criterion.text} is about the answers, not about size or speed.",
                fix="leave it out: the criteria of the bundle's need hold besides.",
            )
    return found


def _text(need: Need, wanted: Sequence[Criterion], folder: Path, by: Sequence[str]) -> str:
    replaced = {(criterion.metric, criterion.parameters) for criterion in wanted}
    kept = [c.text for c in need.accept if (c.metric, c.parameters) not in replaced]
    mapping: dict[str, Any] = need.as_mapping()
    mapping["accept"] = [*kept, *(criterion.text for criterion in wanted)]
    prefer = {**mapping.get("prefer", {})}
    for unused in ("pretrain", "llm"):
        prefer.pop(unused, None)
    if by:
        prefer["compressors"] = list(by)
    bundles = [str(folder.resolve())]
    mapping["prefer"] = {**prefer, "bundles": bundles, "methods": [EARLIER], "ensemble": False}
    return json.dumps(mapping, ensure_ascii=False, indent=1)


def _root(place: Workspace, bundle: Bundle) -> Path:
    """Where the data of the run lay that made the bundle, the newest such run first."""
    for number in reversed(place.run_numbers()):
        folder = place.run(number).folder
        if _made(folder / "result.json").get("bundle_id") == bundle.manifest.id:
            asked = _made(folder / "need.json")
            if not asked.get("held") and isinstance(asked.get("root"), str):
                return Path(asked["root"])
    raise WorkspaceError(
        f"No run of {place.folder} that read files made {bundle.folder}, so nothing says where its "
        "data lies.",
        fix="name its need file with --need, or its workspace with --workspace.",
    )


def _made(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}  # type: ignore[reportUnknownVariableType]
