"""Where a bundle comes from, as its manifest says it."""

from collections.abc import Mapping
from typing import Any

import sartor
from sartor.bundle import Manifest, Preprocess, Windows
from sartor.core.types import Backbone
from sartor.core.windows import MOST, MOST_OF_CONTEXT, stride_of
from sartor.need.model import Need
from sartor.search.documents import PASSAGE, finds_documents, plainly
from sartor.search.ladder import Tried
from sartor.search.setup import Ready
from sartor.search.suiting import by_piece, locates
from sartor.search.tabular import inputs_of


def draft_manifest(need: Need, ready: Ready, best: Tried) -> Manifest:
    """Everything but files and decision.

    Args:
        need: What was asked.
        ready: Rows and backbones of the run.
        best: The chosen candidate.
    """
    candidate, rows = best.candidate, ready.setting.rows
    if (former := ready.formers.get(candidate.key)) is not None:
        return former.manifest_for(need, rows.test.fingerprint())
    backbone = ready.backbones[candidate.backbone]
    read = preprocess_of(need, backbone)
    if ready.code is not None:
        read = read.model_copy(update={"columns": ready.code})
    roles = ready.setting.held.task.roles
    return Manifest(
        format=read.format,
        id="",
        name=need.name,
        task=need.task,
        inputs=inputs_of(roles, ready.setting.gathered),
        outputs=list(ready.setting.held.outputs),
        decision={},
        preprocess=read,
        files={},
        need=plainly(need),
        lineage={
            "backbone": backbone.name,
            "backbone_sha256": backbone.sha256,
            "backbone_weights_sha256": backbone.weights_sha256,
            "backbone_licence": backbone.licence,
            "method": candidate.method,
            "settings": dict(candidate.settings),
            "seed": candidate.seed,
            "train_rows": rows.train.fingerprint(),
            "test_rows": rows.test.fingerprint(),
            "sources": {s.file: s.sha256 for s in ready.setting.gathered.table.sources},
            "sartor": sartor.__version__,
            **({PASSAGE: backbone.passage} if finds_documents(need.task) else {}),
            **({"asks": backbone.path} if backbone.source == "llm" else {}),
            **({"members": members_of(best, ready.backbones)} if best.parts else {}),
        },
    )


def preprocess_of(need: Need, backbone: Backbone) -> Preprocess:
    """How the bundle reads texts: cut, or in windows where the need says so; contexts in windows.

    Where a language model is asked, it reads the text that it is sent.
    """
    length = min(need.prefer.max_length, backbone.max_length)
    whole = need.prefer.long_texts == "windows" or locates(need.task)
    if not whole or backbone.source == "llm":
        return Preprocess(prefix=backbone.prefix, max_length=length)
    joins = "centre" if by_piece(need.task) else "mean"
    most = MOST_OF_CONTEXT if locates(need.task) else MOST
    windows = Windows(stride=stride_of(length), most=most, aggregate=joins)
    return Preprocess(prefix=backbone.prefix, max_length=length, windows=windows)


def members_of(tried: Tried, backbones: Mapping[str, Backbone]) -> list[dict[str, Any]]:
    """For the manifest: what a candidate that was made of others is made of."""
    found: list[dict[str, Any]] = []
    for factor, member in tried.parts.members if tried.parts else ():
        candidate = member.candidate
        found.append(
            {
                "factor": [list(row) for row in factor] if isinstance(factor, tuple) else factor,
                "backbone": candidate.backbone,
                "backbone_sha256": candidate.backbone_sha256,
                "backbone_licence": backbones[candidate.backbone].licence,
                "method": candidate.method,
                "settings": dict(candidate.settings),
                "seed": candidate.seed,
                **({"members": members_of(member, backbones)} if member.parts else {}),
            }
        )
    if tried.parts is not None and tried.parts.kind == "cascade":
        found[0]["climbs_below"] = tried.parts.threshold
    if tried.parts is not None and tried.parts.bias:
        found[0]["bias"] = list(tried.parts.bias)
    return found
