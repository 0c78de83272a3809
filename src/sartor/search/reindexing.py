"""Other documents for a bundle: the model stays, what it finds its answers among is replaced.

The new bundle has another id, names the one it was made of, and has no verdicts: those were of the
old documents. Judged on rows that name the new ones, it is released like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sartor.bundle import Bundle, key_asked, open_bundle, record_verdicts, write_bundle
from sartor.core.errors import DataError, SettingError
from sartor.core.protocols import Floats
from sartor.data.documents import Base, read_base
from sartor.search.documents import PASSAGE
from sartor.search.indexing import FILES, write_base
from sartor.search.judging import Judged, judge_bundle
from sartor.serve.indexed import embed
from sartor.tasks.retrieval.cells import Cells
from sartor.tasks.retrieval.index import DOCUMENTS, INDEX, read_documents, read_index


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What became of a bundle.

    Args:
        bundle: The new one.
        kept: Documents that say what they said, whose vectors were taken over.
        new: Documents that are new or say something else.
        gone: Ids that are no longer there.
        cells: How they are searched; None where every search looks at all of them.
        judged: What its rows said of it; None where none were given.
    """

    bundle: Bundle
    kept: int
    new: int
    gone: int
    cells: Cells | None = None
    judged: Judged | None = None

    def sentence(self) -> str:
        """One line for the terminal."""
        said = (
            f"{self.kept + self.new:,} documents: {self.kept:,} as they were, {self.new:,} new or"
            f" changed, {self.gone:,} gone"
        )
        if self.cells is None:
            return said
        return (
            f"{said}; a search looks into {self.cells.looked:,} of {len(self.cells.sizes):,} cells"
            f" and finds {self.cells.recall:.1%} of the ten nearest"
        )


def reindex(
    folder: Path,
    documents: Path,
    to: Path,
    *,
    labels: Path | None = None,
    workspace: str | Path = ".",
) -> Reindexed:
    """Write a bundle with the same model and other documents.

    Args:
        folder: The bundle.
        documents: File with the columns id and text.
        to: Folder of the new bundle; must not exist.
        labels: Rows that name the new documents, to judge it by; it is released where they show
            that its need is met.
        workspace: Its ledger counts the looks at those rows.

    Raises:
        BundleError: If the bundle is damaged, or `to` holds something else.
        SettingError: If it finds no documents.
        DataError: If the documents or the rows cannot be used.
    """
    bundle = open_bundle(folder, verify_key=key_asked(None))
    manifest = bundle.manifest
    if INDEX not in manifest.files:
        raise SettingError(
            f"{folder} finds no documents: its task is {manifest.task}.",
            fix="give a bundle of task retrieval.",
        )
    base = read_base([str(documents)], Path())
    if len(base.words) < 2:
        raise DataError(
            f"{documents} holds {len(base.words)} document.", fix="give at least two documents."
        )
    before = read_documents(bundle.path(DOCUMENTS))
    same = [name for name, text in base.words.items() if before.get(name) == text]
    vectors = _vectors(bundle, base, before)
    told = {
        "of": manifest.id,
        "sources": {source.file: source.sha256 for source in base.sources},
    }
    changed = manifest.model_copy(
        update={
            "outputs": list(base.words),
            "verdicts": [],
            "released": False,
            "lineage": {**manifest.lineage, "reindexed": told},
        }
    )
    with TemporaryDirectory() as place:
        cells = write_base(bundle, base.words, vectors, Path(place))
        kept = [name for name, entry in manifest.files.items() if entry.content]
        content: Mapping[str, Path] = {
            name: bundle.path(name) for name in kept if name not in FILES
        }
        made = {name: path for name in FILES if (path := Path(place) / name).is_file()}
        content = {**content, **made}
        text = bundle.path("need.yaml").read_text("utf-8", "surrogatepass")
        written = write_bundle(to, changed, content, text, bundle.learnt())
    gone = len(before.keys() - base.words.keys())
    found = Reindexed(written, len(same), len(base.words) - len(same), gone, cells)
    if labels is None:
        return found
    judged = judge_bundle(to, labels, workspace=workspace)
    written = record_verdicts(written, judged.verdicts, released=judged.state == "met")
    return replace(found, bundle=written, judged=judged)


def _vectors(bundle: Bundle, base: Base, before: Mapping[str, str]) -> Floats:
    """(documents, width): those of texts that were there are taken over."""
    known = read_index(bundle.path(INDEX), len(bundle.manifest.outputs))
    place = {text: row for row, text in enumerate(before.values())}
    fresh = [text for text in base.words.values() if text not in place]
    prefix = str(bundle.manifest.lineage.get(PASSAGE, ""))
    made = embed(bundle, fresh, prefix) if fresh else known[:0]
    new = {text: row for row, text in enumerate(fresh)}
    return np.stack(
        [known[place[text]] if text in place else made[new[text]] for text in base.words.values()]
    )
