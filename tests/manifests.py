"""A manifest that a test can hold: what it does not say is that of a small classifier."""

from typing import Any

from sartor.bundle import Manifest, Preprocess

_PLAIN: dict[str, Any] = {
    "format": 1,
    "id": "",
    "name": "tickets",
    "task": "text_classification",
    "inputs": {"text": "text"},
    "decision": {},
    "files": {},
    "need": {},
    "lineage": {},
}


def draft(**changes: Any) -> Manifest:
    """Without files, as `write_bundle` takes it; `outputs` must be given."""
    return Manifest(**{**_PLAIN, "preprocess": Preprocess(), **changes})
