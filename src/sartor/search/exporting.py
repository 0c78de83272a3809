"""A bundle as a folder of pretrained weights, for those who go on with transformers.

What is written of the fit that the bundle was made of (`origin`) is loaded again with stock classes
and held against the bundle before it gets its name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.durable import is_free, make_readable, named_folder
from sartor.core.errors import ModelError, SettingError
from sartor.core.events import Emit, StageDone, StageProgress, StageStarted, silent
from sartor.core.replies import as_said
from sartor.core.texts import Text
from sartor.core.workspace import Workspace
from sartor.llm import nearest
from sartor.search.documents import PASSAGE, finds_documents
from sartor.search.origin import MADE_UP, close_enough, fit_of
from sartor.serve import runtime
from sartor.serve.indexed import embed
from sartor.serve.opening import composed
from sartor.shrink.stock import Answered, Told, Usage, stock_of
from sartor.tasks import TASKS

_STAGE = "export"
_STEPS = ("weights and tokenizer", "the bundle's answers", "those of stock classes")
_WRITTEN = 4
"""Texts that are asked of a model that writes: each takes a second or more."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Args:
        folder: Where.
        sentence_transformers: Whether that library loads it too.
        difference: Largest one of a probability, before any decision rule, on made-up texts.
    """

    folder: Path
    sentence_transformers: bool
    difference: float


def export_pretrained(folder: Path, to: Path, place: Workspace, emit: Emit = silent) -> Exported:
    """Write the model that a bundle was made of as a folder for stock libraries.

    Args:
        folder: The bundle.
        to: New folder, or an empty one.
        place: Workspace that made the bundle.
        emit: Progress.

    Raises:
        BundleError: If the bundle is damaged.
        ModelError: If no stock class holds its model, it is a product, or the fit is gone or is
            another's.
        SettingError: If `to` holds something.
        MissingExtra: Without `sartor[train]`.
    """
    bundle = open_bundle(folder, verify_key=key_asked(None))
    _refuse(bundle)
    if not is_free(to):
        raise SettingError(f"{to} holds something already.", fix="name a new folder.")
    stock, told, fit = stock_of(bundle.manifest.task), _told(bundle), fit_of(bundle, place)
    emit(StageStarted(_STAGE, len(_STEPS), "steps"))

    def begin(step: int) -> None:
        emit(StageProgress(_STAGE, step, len(_STEPS), _STEPS[step]))

    with named_folder(to) as staging:
        begin(0)
        usage = stock.write(fit, told, staging)
        begin(1)
        answered = _answered(bundle)
        begin(2)
        apart = close_enough(bundle, stock.apart(staging, told, answered))
        (staging / "README.md").write_text(_card(bundle, apart, usage), encoding="utf-8")
        make_readable(staging)  # safetensors writes for the owner alone
    emit(StageDone(_STAGE, f"within {apart:.2g} of the bundle's probabilities"))
    return Exported(to, usage.loader == "sentence-transformers", apart)


def _refuse(bundle: Bundle) -> None:
    """What has no weights of its own."""
    if composed(bundle):
        raise ModelError(
            f"{bundle.folder} is a product of several models.",
            fix="export the bundle of one of its parts.",
        )
    if runtime.asks_llm(bundle):
        raise ModelError(
            f"{bundle.folder} holds a prompt: a language model behind a URL answers (prompted).",
            fix="there are no weights to export; take the prompt from its prompt.json.",
        )
    if nearest.FILE in bundle.manifest.files:
        raise ModelError(
            f"{bundle.folder} looks replies up (nearest), and has no weights.",
            fix="serve it, or name a method that learns under prefer.methods.",
        )


def _told(bundle: Bundle) -> Told:
    manifest = bundle.manifest
    read = manifest.preprocess
    return Told(
        task=manifest.task,
        outputs=tuple(manifest.outputs),
        decision=manifest.decision,
        prefix=read.prefix,
        passage=str(manifest.lineage.get(PASSAGE) or ""),
        max_length=read.max_length,
        windows=read.windows is not None,
    )


def _answered(bundle: Bundle) -> Answered:
    """What the bundle says of made-up texts."""
    if finds_documents(bundle.manifest.task):
        return Answered(MADE_UP, embed(bundle, MADE_UP, bundle.manifest.preprocess.prefix))
    served = runtime.start(bundle)
    if not served.writes:
        texts = _asked(bundle.manifest.task)
        return Answered(texts, served.logits(texts))
    texts = MADE_UP[:_WRITTEN]
    found = [as_said(row) for row in served.logits(texts)]
    written = [said.text if said else "" for said in found]
    return Answered(texts, served.scored(texts, written), written)


def _asked(task: str) -> Sequence[Text]:
    """Made-up texts, or pairs of them: each with the next one, and each with itself."""
    if len(TASKS.get(task)().roles.inputs) < 2:
        return MADE_UP
    others = (*MADE_UP[1:], MADE_UP[0])
    return [*zip(MADE_UP, others, strict=True), *zip(MADE_UP, MADE_UP, strict=True)]


def _card(bundle: Bundle, apart: float, usage: Usage) -> str:
    manifest = bundle.manifest
    licence = str(manifest.lineage.get("backbone_licence") or "").lower()
    head = ["---", f"pipeline_tag: {usage.pipeline}", f"library_name: {usage.loader}"]
    head += [f"license: {licence}"] if re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,40}", licence) else []
    return "\n".join(
        [
            *head,
            "---",
            "",
            "The weights, in float32, of the model that the bundle below was made of"
            f" (`{manifest.id[:12]}`). On made-up texts its probabilities lie within"
            f" {apart:.2g} of the bundle's. What the verdicts say was measured on the bundle.",
            "",
            "## Use",
            "",
            usage.text.rstrip(),
            "",
            bundle.path("README.md")
            .read_text(encoding="utf-8")
            .partition("\n## Use\n")[0]
            .rstrip(),
            "",
        ]
    )
