"""A bundle as a folder of pretrained weights, for those who go on with transformers.

What is written of the fit that the bundle was made of (`origin`) is loaded again with stock classes
and held against the bundle before it gets its name.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.durable import staged_folder
from sartor.core.errors import ModelError, SettingError
from sartor.core.workspace import Workspace
from sartor.search.origin import MADE_UP, difference, fit_of
from sartor.serve import runtime
from sartor.serve.opening import composed
from sartor.shrink.pretrained import Told, logits_of, write_pretrained
from sartor.tasks import TASKS


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Args:
        folder: Where.
        sentence_transformers: Whether that library loads it too.
        difference: Largest one of a probability, before weights and abstention, on made-up texts.
    """

    folder: Path
    sentence_transformers: bool
    difference: float


def export_pretrained(folder: Path, to: Path, place: Workspace) -> Exported:
    """Write the model that a bundle was made of as a folder for stock libraries.

    Args:
        folder: The bundle.
        to: New folder.
        place: Workspace that made the bundle.

    Raises:
        BundleError: If the bundle is damaged.
        ModelError: If no stock class holds its model, it is a product, or the fit is gone or is
            another's.
        SettingError: If `to` holds something.
        MissingExtra: Without `sartor[train]`.
    """
    bundle = open_bundle(folder, verify_key=key_asked(None))
    if composed(bundle):
        raise ModelError(
            f"{folder} is a product of several models.",
            fix="export the bundle of one of its parts.",
        )
    if to.is_symlink() or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise SettingError(f"{to} holds something already.", fix="name a new folder.")
    fit, manifest = _fit(bundle, place), bundle.manifest
    TASKS.get(manifest.task)
    told = Told(
        manifest.task,
        tuple(manifest.outputs),
        manifest.decision,
        manifest.preprocess.prefix,
        manifest.preprocess.max_length,
    )
    with staged_folder(to) as staging:
        modules = write_pretrained(fit, told, staging)
        apart = difference(bundle, logits_of(staging, manifest.task, list(MADE_UP)))
        card = _card(bundle, apart, modules=modules)
        (staging / "README.md").write_text(card, encoding="utf-8")
    return Exported(to, modules, apart)


def _fit(bundle: Bundle, place: Workspace) -> Path:
    """The fit that the bundle was made of, where its model is a classifier."""
    if runtime.asks_llm(bundle):
        raise ModelError(
            f"{bundle.folder} holds a prompt: a language model behind a URL answers (prompted).",
            fix="there are no weights to export; take the prompt from its prompt.json.",
        )
    if runtime.writes(bundle):
        raise ModelError(
            f"{bundle.folder} replies in words, and only classifiers are exported.",
            fix="serve it: `sartor serve` answers over HTTP and on its page.",
        )
    return fit_of(bundle, place)


def _card(bundle: Bundle, apart: float, *, modules: bool) -> str:
    manifest = bundle.manifest
    licence = str(manifest.lineage.get("backbone_licence") or "").lower()
    head = ["---", "pipeline_tag: text-classification"]
    head += [f"library_name: {'sentence-transformers' if modules else 'transformers'}"]
    head += [f"license: {licence}"] if re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,40}", licence) else []
    rule, read = manifest.decision, manifest.preprocess
    weights = {k: v for k, v in rule.get("weights", {}).items() if v != 1}
    lines = [
        *head,
        "---",
        "",
        "The weights, in float32, of the model that the bundle below was made of"
        f" (`{manifest.id[:12]}`). On made-up texts its probabilities lie within"
        f" {apart:.2g} of the bundle's. What the verdicts say was measured on the bundle.",
        "",
        "## Use",
        "",
        "```sh",
        'python predict.py "a text"   # needs torch and transformers; answers by the rule below',
        "```",
        "",
        "```python",
        "from transformers import AutoModel, AutoTokenizer",
        "",
        "encoder = AutoModel.from_pretrained(folder)  # the head is in head.safetensors",
        "```",
        "",
    ]
    if modules:
        lines += [
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            "logits = SentenceTransformer(folder).encode(texts)  # (texts, labels)",
            "```",
            "",
        ]
    lines += [
        "There is no `AutoModelForSequenceClassification` for it: those read one token through a"
        " pooler, and this reads the mean over the tokens.",
        "",
        "## Decision rule",
        "",
        "No library applies it by itself; `predict.py` does.",
        "",
        f"- p = softmax(logits / {rule.get('temperature', 1.0):.6g})",
        f"- best = the label with the largest weight · p; weights {weights or 'are all 1'}",
        f"- no label where p of best is below {rule.get('abstain_below', 0.0):.6g}",
        f"- `{read.prefix}` is put before every text" if read.prefix else "- no prefix",
        f"- texts are cut after {read.max_length:,} tokens"
        + (", where the bundle reads on in windows" if read.windows else ""),
        "",
        bundle.path("README.md").read_text(encoding="utf-8").partition("\n## Use\n")[0].rstrip(),
        "",
    ]
    return "\n".join(lines)
