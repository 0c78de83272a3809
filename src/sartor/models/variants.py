"""Backbones made from another one: its first layers, or its twin with random weights.

The first k layers of an encoder are an encoder: 1/k-th of the work, and often all that a task needs
(Sajjad et al. 2020, https://arxiv.org/abs/2004.03844). Their activations are those of the whole
one, layer by layer, so whoever has encoded the whole one has encoded them all.

The random twin knows nothing of language beyond its tokenizer: a pretrained backbone that is no
better on some texts has not learnt anything about texts like those.
"""

import re
from dataclasses import replace
from pathlib import Path

from sartor.core.errors import ModelError
from sartor.core.hashing import digest
from sartor.core.types import Backbone
from sartor.models.folder import count_parameters, weight_files

_CUT = re.compile(r"(?P<name>.+)@(?P<layers>[0-9]{1,2})")


def split_name(written: str) -> tuple[str, int | None]:
    """(name, layers to keep): "minilm@4" is ("minilm", 4), "minilm" is ("minilm", None).

    One or two digits are layers; a revision of a hub model is never that short.
    """
    found = _CUT.fullmatch(written)
    return (found["name"], int(found["layers"])) if found else (written, None)


def first_layers(whole: Backbone, layers: int) -> Backbone:
    """The backbone that ends after some layers.

    Raises:
        ModelError: If it has not more layers than that.
    """
    if not 0 < layers < whole.layers:
        raise ModelError(
            f"{whole.name}@{layers} cannot be: {whole.name} has {whole.layers} layers.",
            fix=f"write {whole.name}@N with N from 1 to {whole.layers - 1}, or {whole.name} for "
            "all of them."
            if whole.layers > 1
            else f"write {whole.name}.",
        )
    return replace(
        whole,
        name=f"{whole.name}@{layers}",
        sha256=digest(whole.sha256, "layers", layers),
        parameters=count_parameters(weight_files(Path(whole.path)), layers),
        layers=layers,
        whole=whole,
    )


def random_twin(backbone: Backbone, seed: int) -> Backbone:
    """The same architecture and tokenizer with weights drawn at random: a control, not a choice.

    The twin of the first layers is the first layers of the whole one's twin.
    """
    return replace(
        backbone,
        name=f"{backbone.name}@random",
        sha256=digest(backbone.sha256, "drawn", seed),
        whole=random_twin(backbone.whole, seed) if backbone.whole else None,
        drawn=seed,
    )
