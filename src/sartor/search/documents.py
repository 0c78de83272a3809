"""A need whose answers are documents, with the documents read.

What stages ask of labels, which there are and what they mean, is then answered as ever: the ids of
the documents are the labels, and what a document says is what its label means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sartor.bundle import Bundle, Manifest, write_bundle
from sartor.core.errors import DataError, Fault, NeedError
from sartor.core.hashing import digest, file_sha256
from sartor.data.check import Finding
from sartor.data.documents import Base, base_of_answers, read_base, survey_base
from sartor.data.prepare import Prepared
from sartor.data.read import read, read_splits
from sartor.judge.checks.retrieval import RANKS
from sartor.judge.gaps import values
from sartor.need.model import Need
from sartor.need.verdict import Verdict
from sartor.search.assess import Held
from sartor.search.indexing import FILES, write_base, write_words
from sartor.search.recommending import (
    as_the_item_goes,
    declared_in,
    most_chosen,
    reads_histories,
    refuse_one_learner,
    refuse_too_wide,
    refuse_unread,
    traces,
)
from sartor.serve.indexed import embed
from sartor.tasks import TASKS, Listed
from sartor.tasks.retrieval.bm25 import WordIndex
from sartor.tasks.retrieval.index import DOCUMENTS
from sartor.tasks.retrieval.spec import listed

PASSAGE = "passage"
"""In a manifest's lineage, what is put before every document: they may be read again."""
_MOST_CELLS = 500_000_000
"""Similarities of training rows to documents: 2 GB."""
_OF_CHANCES = ("log_loss", "brier", "auc", "accuracy", "calibration_error")
"""Metrics that the plainest chances are measured by too."""
Content = Mapping[str, Path]
"""Name of a content file of a bundle to where it lies."""
Stage = Callable[[str, str, Callable[[Path], None]], Path]


def finds_documents(task: str) -> bool:
    """Whether a task's answers are documents.

    Raises:
        UnknownName: If there is no such task.
    """
    return TASKS.get(task)().roles.target_kind == "documents"


def lists_items(task: str) -> bool:
    """Whether a file may list what a task's answers are, or are about.

    Raises:
        UnknownName: If there is no such task.
    """
    return finds_documents(task) or reads_histories(task)


def with_documents(need: Need, file: str, root: Path, data: object | None = None) -> Need:
    """The need with its documents as labels and their words as descriptions; others as they are.

    Models are not joined: an index is of one encoder.

    Args:
        need: As the user wrote it.
        file: Its file, for messages.
        root: Folder its paths are relative to.
        data: Rows held in Python instead of `data.train`.

    Raises:
        NeedError: If the need says what its task has no use for.
        DataError: If the documents cannot be used.
    """
    asked = need.data
    if not lists_items(need.task):
        if asked.documents is not None:
            known = ", ".join(name for name in TASKS.names() if lists_items(name))
            what = f"data.documents is read by {known}, not by {need.task}"
            raise NeedError(file, [Fault(0, what, "write one of these tasks, or leave it out.")])
        return need
    if asked.labels is not None or asked.label_descriptions:
        about = "the answers are documents" if finds_documents(need.task) else "rows ask items"
        what = f"data.labels and data.label_descriptions are of labels, and {about}"
        raise NeedError(file, [Fault(0, what, "list them in a file: data.documents.")])
    if reads_histories(need.task):
        refuse_unread(need, file)
    return _told(need, _base(need, root, data))


def checked(need: Need, file: str, root: Path) -> tuple[Need, list[Finding]]:
    """As `with_documents`, with every fault of the documents instead of the first raised.

    Args:
        need: As the user wrote it.
        file: Its file, for messages.
        root: Folder its paths are relative to.

    Raises:
        NeedError: As of `with_documents`.
    """
    files = need.data.documents if lists_items(need.task) else None
    try:
        if files is None:
            return with_documents(need, file, root), []
        base, faults = survey_base(read(files, root))
    except DataError as error:
        return need, [Finding("fault", "", 0, error.what, error.fix)]
    found = [Finding("fault", f.file, f.row, f.what, f"{f.fix}.") for f in faults]
    return _told(need, base), found


def _told(need: Need, base: Base) -> Need:
    words = base.words
    labels = list(words) if finds_documents(need.task) else None
    skills = base.skills if traces(need.task) else {}
    update = {"labels": labels, "label_descriptions": words, "skills": skills}
    told = need.data.model_copy(update=update)
    prefer = need.prefer.model_copy(update={"ensemble": False})
    return need.model_copy(update={"data": told, "prefer": prefer})


def of_bundle(need: Need, bundle: Bundle) -> Need:
    """The need of a bundle whose answers stand in a list of its own, such as documents, with those
    that it has now; others as they are."""
    listed = isinstance(TASKS.get(need.task)().target, Listed)
    if not listed:
        return need
    told = need.data.model_copy(update={"labels": list(bundle.manifest.outputs)})
    return need.model_copy(update={"data": told})


def plainly(need: Need) -> dict[str, Any]:
    """The need as a manifest holds it: documents lie beside it."""
    found = need.model_dump(mode="json")
    if lists_items(need.task):
        found["data"] |= {"labels": None, "label_descriptions": {}}
    return found


def refuse_too_many(need: Need, rows: Prepared) -> None:
    """Refuse a base whose similarities to the rows no memory would hold, or rows of one learner.

    Raises:
        DataError: With the numbers.
    """
    count = len(need.data.label_descriptions)
    if reads_histories(need.task):  # scores no training row
        refuse_one_learner(need, rows)
        refuse_too_wide(rows, len(declared_in(need, rows) or ()))
    elif finds_documents(need.task) and len(rows.train) * count > _MOST_CELLS:
        raise DataError(
            f"{len(rows.train):,} training rows and {count:,} documents make"
            f" {len(rows.train) * count / 1e6:,.0f} million similarities, more than"
            f" {_MOST_CELLS / 1e6:,.0f} million.",
            fix="learn from fewer rows, or from a part of the base: `sartor bundle reindex` puts"
            " the whole base into the bundle afterwards.",
        )


def sources_of(need: Need) -> dict[str, str]:
    """What the documents were read from, with a hash of what they say, of items also their skills;
    nothing where there are none."""
    if not need.data.label_descriptions or not lists_items(need.task):
        return {}
    named = ", ".join(need.data.documents or ["the documents in the rows"])
    said = [list(need.data.label_descriptions.items()), *filter(None, [need.data.skills])]
    return {named: digest(*said)}


def _base(need: Need, root: Path, data: object | None) -> Base:
    asked = need.data
    if asked.documents is not None:
        return read_base(asked.documents, root)
    if not finds_documents(need.task):
        return Base({})
    given = {"train": asked.train, "validation": asked.validation, "test": asked.test}
    sources = {"train": [data]} if data is not None else {k: v or [] for k, v in given.items()}
    return base_of_answers(read_splits(sources, root), asked.roles["label"])


def beside_plainest(
    need: Need, held: Held, rows: Prepared, verdicts: Sequence[Verdict]
) -> list[Verdict]:
    """Verdicts that say what the plainest ranking would reach, where answers are documents: that by
    counting words, or of items the one by how often they were chosen; of items that learners answer
    the share of right answers to each.

    No model is spared that comparison: a search that is no better than BM25 is not worth its price.

    Args:
        need: With its documents.
        held: Of the run.
        rows: The test rows were judged.
        verdicts: One a criterion.
    """
    if not lists_items(need.task):
        return list(verdicts)
    shown, test, compared = listed(need.accept), rows.test, RANKS
    if not finds_documents(need.task):
        answers, compared = as_the_item_goes(held, rows), _OF_CHANCES
        said = "each item's share of right answers gives {:.3f} on the same rows"
    elif reads_histories(need.task):
        answers = most_chosen(held, rows, shown)
        said = "listing what was chosen most gives {:.3f} on the same rows"
    else:
        index = WordIndex.of(list(need.data.label_descriptions.values()))
        scores = index.scores([str(text) for text in test.texts]).astype(np.float32)
        answers = held.task.decode(scores, held.outputs, {"shown": shown})
        said = "counting shared words (BM25) gives {:.3f} on the same rows"
    ranks = [c for c in need.accept if c.metric in compared and not c.relative_to]
    found = values(ranks, held.subject(test, answers))
    return [
        replace(v, note="; ".join(filter(None, [v.note, said.format(found[v.criterion])])))
        if v.criterion in found
        else v
        for v in verdicts
    ]


@dataclass(frozen=True, slots=True)
class Indexing:
    """Puts the documents and their vectors beside a graph, which makes the vectors itself.

    Args:
        words: Id to what a document says.
        passage: Put before every document; None where the graph reads none, and makes no vectors.
        manifest: Of the bundle to come.
        need_text: As the user wrote it.
        stage: Keeps what was made, by its content.
        scratch: Folder for a draft of the bundle.
    """

    words: Mapping[str, str]
    passage: str | None
    manifest: Manifest
    need_text: str
    stage: Stage
    scratch: Path

    def __call__(self, content: Content) -> dict[str, Path]:
        """The content with the files of `indexing` that there are."""
        if self.passage is None:
            key = digest("words", list(self.words.items()))
            folder = self.stage("index", key, lambda to: write_words(self.words, to))
            return {**content, DOCUMENTS: folder / DOCUMENTS}
        hashes = {name: file_sha256(path) for name, path in content.items()}
        read = self.manifest.preprocess.model_dump(mode="json")
        key = digest(hashes, read, self.passage, list(self.words.items()))
        folder = self.stage("index", key, lambda to: self._build(content, to))
        made = {name: path for name in FILES if (path := folder / name).is_file()}
        return {**content, **made}

    def _build(self, content: Content, to: Path) -> None:
        with TemporaryDirectory(dir=self.scratch) as place:
            manifest = self.manifest.model_copy(update={"decision": {}})
            draft = write_bundle(Path(place) / "draft", manifest, content, self.need_text)
            vectors = embed(draft, list(self.words.values()), self.passage or "")
            write_base(draft, self.words, vectors, to)
