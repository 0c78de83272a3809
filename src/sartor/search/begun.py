"""What a run is begun with, kept in its folder and found again on resume."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sartor.core.workspace import Run, Workspace
from sartor.search.executing import DEFAULT


def kept(
    text: str,
    root: Path,
    file: str,
    *,
    methods: Sequence[str] | None = None,
    held: bool = False,
    on: str = DEFAULT,
) -> dict[str, Any]:
    """The JSON object.

    Args:
        text: Of the need.
        root: Folder its paths are relative to.
        file: The need file, as the user wrote it.
        methods: Climbed instead of the need's.
        held: Whether the rows are held in Python.
        on: Where fits are made.
    """
    place = {"root": str(root.resolve()), "file": file}
    return {"text": text, **place, "methods": methods, "held": held, "on": on}


def begin(place: Workspace, kept: Mapping[str, Any], name: str) -> Run:
    """A new run; `name` is the need's."""
    here = place.new_run()
    here.write_json("need.json", kept)
    here.write_json("run.json", {"started": datetime.now(UTC).isoformat(), "name": name})
    return here
