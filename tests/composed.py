"""A product of two tiny bundles, made by hand: a label, then a document. For several tests.

Words decide the label: money is a refund, a bill an invoice, hello something else. A refund goes on
to the documents, something else to a person; an invoice is answered by its label.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sartor.bundle import WITH_PARTS, Bundle, record_verdicts, write_bundle
from sartor.bundle.tensors import pack_tensors
from sartor.llm.nearest import FILE, RepliesFile
from sartor.need.parts import Part
from sartor.tasks.retrieval.cells import CELLS, CODES, Cells, encoded, write_codes
from sartor.tasks.retrieval.index import DOCUMENTS, INDEX, write_documents, write_index
from tests.manifests import draft
from tests.serve.conftest import manifest_of, write_parts

BASE = {
    "refunds": "Refunds\nYour money comes back within five days.",
    "invoices": "Invoices\nA bill is sent by mail.",
    "hours": "Opening hours\nWe open at nine.",
}
OUTCOMES = ["invoice", *BASE]
SURE = {"temperature": 1.0, "sureness": [0.0, 1.0, 0.0], "answer_from": 0.0, "shown": 3}
CASES = (
    {"when": ["refund"], "go": "answers"},
    {"when": ["other"], "hand_off": "nothing we sell"},
    {"answer": "intent"},
)
PARTS = {"intent": {"then": CASES}, "answers": {"reads": "history"}}


def intent(folder: Path, **decision: float) -> Bundle:
    """A bundle of three labels, sure of each of its words."""
    folder.mkdir(parents=True)
    manifest = manifest_of("intent").model_copy(update={"decision": decision})
    made = write_bundle(folder / "bundle", manifest, write_parts(folder, 4.0), "name: intent\n")
    return record_verdicts(made, [], released=True)


def answers(folder: Path, *, cells: bool = False, **decision: float) -> Bundle:
    """A bundle of three documents, each along one of the axes of the labels.

    Args:
        folder: Of the bundle and what it is made of.
        cells: Part them into cells, as a large base is.
        decision: Instead of `SURE`.
    """
    folder.mkdir(parents=True)
    parts = write_parts(folder, 1.0) | {name: folder / name for name in (INDEX, DOCUMENTS)}
    parts[INDEX].write_bytes(write_index(np.eye(3, dtype=np.float32)))
    parts[DOCUMENTS].write_bytes(write_documents(BASE))
    if cells:
        axes, one = np.eye(3, dtype=np.float32), np.ones(3, np.int64)
        codes, scale = encoded(axes)
        found = Cells(axes, one, np.arange(3), scale, codes, 2, 1.0)  # a document a cell
        parts |= {name: folder / name for name in (CELLS, CODES)}
        parts[CELLS].write_bytes(pack_tensors(found.tensors()))
        parts[CODES].write_bytes(write_codes(found.codes))
    changed = {"name": "answers", "task": "retrieval", "outputs": list(BASE)}
    changed["decision"] = SURE | decision
    manifest = manifest_of().model_copy(update=changed)
    made = write_bundle(folder / "bundle", manifest, parts, "name: answers\n")
    return record_verdicts(made, [], released=True)


def relevance(folder: Path, **decision: float) -> Bundle:
    """A bundle of pairs, read as one text: "refund" as much as money is spoken of in both."""
    folder.mkdir(parents=True)
    read = {"text": "text", "text_pair": "text"}
    changed = {"task": "text_pair", "inputs": read, "decision": decision}
    manifest = manifest_of("relevance").model_copy(update=changed)
    made = write_bundle(folder / "bundle", manifest, write_parts(folder, 4.0), "name: relevance\n")
    return record_verdicts(made, [], released=True)


def replies(folder: Path, said: Mapping[str, str]) -> Bundle:
    """A bundle that looks replies up: text to reply."""
    folder.mkdir(parents=True)
    file = folder / FILE
    file.write_text(RepliesFile(texts=list(said), replies=list(said.values())).to_json())
    manifest = draft(name="replies", task="text_generation", outputs=["reply"])
    made = write_bundle(folder / "bundle", manifest, {FILE: file}, "name: replies\n")
    return record_verdicts(made, [], released=True)


def reader(folder: Path) -> Bundle:
    """A bundle that is said to quote a context. Its graph knows labels: it is for its manifest."""
    folder.mkdir(parents=True)
    changed = {"name": "reader", "task": "question_answering", "outputs": ["start", "end"]}
    changed["inputs"] = {"question": "text", "context": "text"}
    manifest = manifest_of().model_copy(update=changed)
    return write_bundle(folder / "bundle", manifest, write_parts(folder, 4.0), "name: reader\n")


def product(
    folder: Path,
    bundles: Mapping[str, Bundle],
    parts: Mapping[str, Mapping[str, Any]] | None = None,
    outcomes: list[str] | None = None,
    below: float = 0.0,
) -> Bundle:
    """A released product of bundles.

    Args:
        folder: Of the product.
        bundles: Part to bundle, the first one first.
        parts: What each reads and leads to; its own answer where left out.
        outcomes: What can be answered.
        below: Confidence under which a person answers.
    """
    told = parts or {}
    graph = {
        name: Part(bundle=bundle.manifest.id, **told.get(name, {}))
        for name, bundle in bundles.items()
    }
    dumped = {n: p.model_dump(mode="json", exclude_defaults=True) for n, p in graph.items()}
    changed = {
        "format": WITH_PARTS,
        "name": "tickets",
        "task": "product",
        "outputs": outcomes or OUTCOMES,
        "decision": {"hand_off_below": below, "parts": dumped},
    }
    manifest = manifest_of().model_copy(update=changed)
    made = write_bundle(folder, manifest, {}, "name: tickets\n", None, bundles)
    return record_verdicts(made, [], released=True)


def desk(folder: Path, below: float = 0.0, *, cells: bool = False) -> Bundle:
    """The product that the head of this file describes."""
    bundles = {"intent": intent(folder / "one"), "answers": answers(folder / "two", cells=cells)}
    return product(folder / "bundle", bundles, PARTS, below=below)


SAID = {"money": "Your money is on its way.", "bill": "We send the bill again."}
WRITING = {
    "intent": {"then": CASES},
    "answers": {"reads": "history", "then": ({"answer": "answers", "reply": "writer"},)},
    "writer": {"reads": ["history", "answers"]},
}


def writing_desk(folder: Path, below: float = 0.0, writer: Bundle | None = None) -> Bundle:
    """The same desk, which says in words what the documents answer."""
    bundles = {"intent": intent(folder / "one"), "answers": answers(folder / "two")}
    bundles["writer"] = writer or replies(folder / "three", SAID)
    return product(folder / "bundle", bundles, WRITING, below=below)


RANKING = {
    "answers": {"then": ({"go": "order"},)},
    "order": {"reads": ["text", "answers"], "relevant": "refund"},
}


def ranking_desk(folder: Path, found: Bundle | None = None, **decision: float) -> Bundle:
    """A product of documents, those on money first."""
    bundles = {"answers": found or answers(folder / "two")}
    bundles["order"] = relevance(folder / "pairs", **decision)
    return product(folder / "bundle", bundles, RANKING, list(BASE))
