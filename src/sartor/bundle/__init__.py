"""What ships: a folder with a manifest, verified whole before it is used."""

from sartor.bundle.folder import (
    Bundle,
    key_asked,
    open_bundle,
    read_manifest,
    record_verdicts,
    sign_bundle,
    write_bundle,
)
from sartor.bundle.learnt import Learnt
from sartor.bundle.manifest import PARTS, WITH_PARTS, Manifest, Preprocess, Windows

__all__ = [
    "PARTS",
    "WITH_PARTS",
    "Bundle",
    "Learnt",
    "Manifest",
    "Preprocess",
    "Windows",
    "key_asked",
    "open_bundle",
    "read_manifest",
    "record_verdicts",
    "sign_bundle",
    "write_bundle",
]
