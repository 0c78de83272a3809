"""What a chosen candidate ships as: one graph and one tokenizer, whatever it is made of; or the
prompt of a language model that is only asked."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from sartor.core.events import Emit
from sartor.core.hashing import digest, file_sha256, sources_sha256, versions
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.data.prepare import Prepared
from sartor.llm.prompt import FILE
from sartor.llm.translated import ENCODER
from sartor.search.asking import Asking
from sartor.search.earlier import Former
from sartor.search.folds import both
from sartor.search.ladder import Tried
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Form
from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.export import to_onnx
from sartor.shrink.merge import merge_graphs
from sartor.shrink.together import Together
from sartor.tune.api import METHODS, asks
from sartor.tune.fit import Tuner
from sartor.tune.settings import read_settings
from sartor.tune.soup import Soup, make_soup, read_soup

FLOAT = "onnx"
"""The form that is exported; compressors make the others of it."""
Stage = Callable[[str, str, Callable[[Path], None]], Path]
"""(stage, key, build) to the folder with the result: `Workspace.stage`."""


@dataclass(frozen=True, slots=True)
class Product:
    """A candidate ready to be exported.

    Args:
        key: Content hash of everything that decides its answers.
        tokenizer: Its tokenizer.json; None where no graph needs one.
        write: Puts `file` into an empty folder.
        file: What answers: a graph, or a prompt.
        form: What a graph is: `FLOAT`, or an earlier bundle's, which stays as it is.
        fit: Folder of the one fit that it is, whose graph was exported; None of anything else.
        beside: Further content files, as they are.
        exported: Whether `write` exports the fit.
    """

    key: str
    tokenizer: Path | None
    write: Callable[[Path], None]
    file: str = GRAPH
    form: str = FLOAT
    fit: Path | None = None
    beside: Mapping[str, Path] = field(default_factory=dict[str, Path])
    exported: bool = False

    def written(self, folder: Path) -> Form:
        """The form whose graph `write` left in `folder`."""
        assert self.tokenizer is not None
        encoder = folder / ENCODER
        reads = encoder if encoder.exists() else None
        return Form(folder / GRAPH, self.tokenizer, self.fit, reads)

    def content(self, folder: Path) -> dict[str, Path]:
        """The content files of a bundle, with those that `write` or a compressor left there."""
        found = {self.file: folder / self.file}
        if self.tokenizer is None:
            return found
        return {**found, TOKENIZER: self.written(folder).left_in(folder).tokenizer}


@dataclass(frozen=True, slots=True)
class Workshop:
    """Turns what was tried into what ships.

    Args:
        tuner: Fits, or finds what it has fitted.
        rows: Training and validation rows.
        stage: Keeps results by content.
        emit: Progress.
        formers: Earlier bundles by their candidate's key.
        asking: The language model that the need names, if it names one.
        few: Whether rows are so few that heads were chosen by folds. What ships is then fitted on
            the validation rows too: of eight rows a label, two are much.
    """

    tuner: Tuner
    rows: Prepared
    stage: Stage
    emit: Emit
    formers: Mapping[str, Former] = field(default_factory=dict[str, Former])
    asking: Asking | None = None
    few: bool = False

    def on_all(self, tried: Tried) -> bool:
        """Whether what ships, or a member of it, is fitted on training and validation rows."""
        if tried.parts is not None:
            members = [member for _, member in tried.parts.members]
            return tried.parts.kind != "soup" and any(map(self.on_all, members))
        if not self.few or tried.earlier or asks(tried.candidate.method):
            return False
        candidate = tried.candidate
        return read_settings(candidate.settings, task=self._task, method=candidate.method).closed

    def logits(self, tried: Tried) -> Floats | None:
        """(validation rows, outputs) of what ships, before it is exported; None where only its
        members are known."""
        if not self.on_all(tried):
            assert tried.scored is not None
            return tried.scored.validation_logits
        if tried.parts is not None:
            return None
        return self.tuner(tried.candidate, *self._rows(tried), self.emit).validation_logits

    def product(self, tried: Tried) -> Product:
        """What `tried` ships as; members are exported when the product is written."""
        if tried.earlier:
            former = self.formers[tried.candidate.key]
            return _again(former, self._origin(former))
        if self.asking is not None and tried.parts is None and asks(tried.candidate.method):
            prompt = self.asking.prompt(tried.candidate, self.rows.train)
            writing = self.asking.writing(tried.candidate, self.rows.train)
            return Product(digest(FILE, prompt), None, writing, FILE)
        if tried.parts is None:
            fitted = self._fitted(tried)
            return self._of_folder(self._key(tried), fitted)
        if tried.parts.kind == "soup":
            return self._of_folder(self._key(tried), self.soup([t for _, t in tried.parts.members]))
        parts = tried.parts
        members = [(self.product(member), scale) for scale, member in parts.members]
        fits = [p.fit for p, _ in members if p.exported and p.fit is not None]
        together = Together(fits, self._task)

        def exporting(product: Product) -> Callable[[Path], None]:
            fit = product.fit
            if not product.exported or fit is None:
                return product.write
            return lambda to: together.write(fit, to / GRAPH)

        def write(to: Path) -> None:
            graphs = [
                (self.artefact(p, FLOAT, exporting(p)) / GRAPH, scale) for p, scale in members
            ]
            if parts.kind == "cascade":
                cheap, dear = graphs
                cascade_graphs(cheap, dear, parts.threshold, to / GRAPH)
            else:
                merge_graphs(graphs, to / GRAPH, parts.bias)

        return Product(self._key(tried), _reading([p for p, _ in members]), write)

    def artefact(
        self, product: Product, name: str, build: Callable[[Path], None], read: Sequence[str] = ()
    ) -> Path:
        """The folder with one form of a product, built once in the workspace.

        Args:
            product: What it is a form of.
            name: Of the form.
            build: Writes it.
            read: Hashes of what it may be made of besides.
        """
        code = sources_sha256("sartor.shrink")
        libraries = versions("torch", "transformers", "onnx", "onnxruntime", "onnxscript")
        return self.stage("artefact", digest(product.key, name, code, libraries, *read), build)

    def soup(self, offered: list[Tried]) -> Path:
        """The folder of the soup of fits, offered best first; see `tune.soup`."""

        def build(to: Path) -> None:
            rows = self.rows.train, self.rows.validation
            make_soup([self._fitted(t) for t in offered], rows, self._task, to)

        return self.stage("soup", digest("soup", [self._key(t) for t in offered]), build)

    def tasted(self, offered: list[Tried]) -> Soup:
        """Which of the offered fits the soup keeps, and how it answers the validation rows."""
        return read_soup(self.soup(offered))

    def _origin(self, former: Former) -> Path | None:
        """The fit that an earlier bundle was exported from, where this workspace has it."""
        manifest, rows = former.bundle.manifest, self.rows
        told = manifest.lineage
        backbone, sha256, method = (
            str(told.get(key)) for key in ("backbone", "backbone_sha256", "method")
        )
        settings, seed = told.get("settings"), told.get("seed")
        if not isinstance(settings, dict) or not isinstance(seed, int) or "members" in told:
            return None
        if list(manifest.outputs) != self.tuner.outputs:
            return None
        named = cast("dict[str, Any]", settings)
        candidate = Candidate(backbone, sha256, method, named, seed)
        return self.tuner.done(candidate, rows.train, rows.validation, self.emit)

    @property
    def _task(self) -> str:
        return self.tuner.options.task

    def _fitted(self, tried: Tried) -> Path:
        return self.tuner(tried.candidate, *self._rows(tried), self.emit).folder

    def _rows(self, tried: Tried) -> tuple[Examples, Examples]:
        train, held = self.rows.train, self.rows.validation
        return (both(train, held) if self.on_all(tried) else train), held

    def _of_folder(self, key: str, folder: Path) -> Product:
        def write(to: Path) -> None:
            to_onnx(folder, self._task, to / GRAPH)

        return Product(key, folder / TOKENIZER, write, fit=folder, exported=True)

    def _key(self, tried: Tried) -> str:
        if tried.parts is None:
            key = self.tuner.key(tried.candidate, *self._rows(tried))
            # A fit that the budget ended is another model than the whole one.
            return digest(key, tried.scored.cut) if tried.cut and tried.scored else key
        members = [(scale, self._key(member)) for scale, member in tried.parts.members]
        return digest(tried.parts.kind, members, tried.parts.threshold, tried.parts.bias)


def _reading(members: Sequence[Product]) -> Path | None:
    """The tokenizer of those that read texts, which all share; else that of one that reads none."""
    sizes = [p.tokenizer.stat().st_size if p.tokenizer else 0 for p in members]
    return members[sizes.index(max(sizes))].tokenizer


def _again(former: Former, fit: Path | None) -> Product:
    """A bundle's graph and tokenizer, as they are, with the fit that they came from."""
    bundle = former.bundle
    graph = bundle.path(GRAPH)

    def write(to: Path) -> None:
        shutil.copyfile(graph, to / GRAPH)

    # It names a folder, so a stranger's word for it is not taken.
    form = bundle.manifest.lineage.get("artefact")
    known = form == FLOAT or {*str(form).split("+")} <= {*COMPRESSORS.names()}
    form = str(form) if known else "as_it_was"
    hashes = [bundle.manifest.files[name].sha256 for name in (GRAPH, TOKENIZER)]
    return Product(digest("earlier", hashes), bundle.path(TOKENIZER), write, form=form, fit=fit)


def reading(
    backbones: Mapping[str, Backbone], max_length: int, pairs: bool = False
) -> Callable[[Candidate], str]:
    """Candidate to a hash of how its graph reads texts: only those that read alike can be one.

    Args:
        backbones: By name.
        max_length: Tokens a text is cut at, at most.
        pairs: Whether a row is two texts, which methods in closed form read apart.
    """

    @cache
    def of_backbone(name: str) -> str:
        backbone = backbones[name]
        if not backbone.path:  # columns alone
            return digest(backbone.name)
        tokenizer = file_sha256(Path(backbone.path) / "tokenizer.json")
        return digest(tokenizer, backbone.prefix, min(max_length, backbone.max_length))

    def of_pairs(candidate: Candidate) -> str:
        # A soup is no method, and its members read pairs joined.
        known = candidate.method in METHODS.names()
        method: Any = METHODS.get(candidate.method) if known else None
        apart = known and method.reads == "activations"
        return digest(of_backbone(candidate.backbone), apart)

    return of_pairs if pairs else lambda candidate: of_backbone(candidate.backbone)
