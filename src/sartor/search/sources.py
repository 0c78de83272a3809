"""A need from wherever it is: a file, a mapping, or one that is read already."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sartor.judge.resolve import refuse_unknown
from sartor.need.file import load_need, parse_need
from sartor.need.model import Need
from sartor.search.judging import roles_of

NeedSource = str | Path | Need | Mapping[str, Any]
"""Path of a need file, a `Need`, or the mapping that such a file would hold."""


def read_need(source: NeedSource) -> tuple[Need, str, Path]:
    """(need, its text, folder its paths are relative to).

    Raises:
        NeedError: With every fault; of metrics that no task has, where there is no other.
    """
    need, text, root = _read(source)
    refuse_unknown(need.accept, file=name_of(source), target=roles_of(need.task).target_kind)
    return need, text, root


def _read(source: NeedSource) -> tuple[Need, str, Path]:
    if isinstance(source, Need):
        source = source.as_mapping()
    if isinstance(source, Mapping):
        text = json.dumps(source, ensure_ascii=False)  # JSON is YAML
        return parse_need(text, name_of(source), roles_of), text, Path()
    need = load_need(source, roles_of)
    return need, Path(source).read_text("utf-8-sig"), Path(source).parent


def name_of(source: NeedSource) -> str:
    """What messages call it."""
    return str(source) if isinstance(source, str | Path) else "the need"
