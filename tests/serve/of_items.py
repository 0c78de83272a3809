"""What bundles of tasks whose outputs are items share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sartor.bundle import Bundle, Preprocess, record_verdicts, write_bundle
from sartor.core.columns import Column, TableCode
from sartor.tasks.retrieval.index import DOCUMENTS, write_documents
from sartor.tune.fused import wordless
from tests.serve.conftest import manifest_of


def bundle_of_items(
    place: Path, graph: Path, history: Column, told: Mapping[str, Any], to: Path
) -> Bundle:
    """
    Args:
        place: Of what goes into it; made here.
        graph: The model.
        history: How histories are read; it holds the items.
        told: Of the manifest: task, inputs and decision.
        to: Where it is written.
    """
    place.mkdir(exist_ok=True)
    items: Sequence[str] = history.values
    wordless().save(str(place / "tokenizer.json"))
    (place / DOCUMENTS).write_bytes(write_documents({name: f"text of {name}" for name in items}))
    read = Preprocess(columns=TableCode(columns={"history": history}))
    update = {"outputs": items, "preprocess": read, "format": read.format, **told}
    parts = {name: place / name for name in ("tokenizer.json", DOCUMENTS)} | {"model.onnx": graph}
    manifest = manifest_of().model_copy(update=update)
    return record_verdicts(write_bundle(to, manifest, parts, "name: tickets\n"), [], released=True)
