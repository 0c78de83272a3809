"""What ships: a folder with a manifest, verified whole before it is used."""

from sartor.bundle.folder import Bundle, open_bundle, record_verdicts, write_bundle
from sartor.bundle.manifest import Manifest, Preprocess

__all__ = ["Bundle", "Manifest", "Preprocess", "open_bundle", "record_verdicts", "write_bundle"]
