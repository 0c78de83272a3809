"""LoRAs of users' own: tuned on the fit that the bundle was made of, tried on the bundle's graph.

The fit is in float and the bundle may be in 8 bits, so what is tuned is not quite what is served.
Nothing rests on that: whether a LoRA is better is decided by the answers of the graph that serves.
"""

import math
from pathlib import Path

from sartor.bundle import Bundle
from sartor.core.errors import NothingToTune
from sartor.core.events import Emit
from sartor.core.workspace import Workspace
from sartor.search.origin import MADE_UP, difference, fit_of
from sartor.search.personal_model import Model, open_model
from sartor.search.personal_own import Lesson, Own, Tuning
from sartor.tune.personal_lora import Network, Start, Told, fit_personal_lora


def open_lora(
    bundle: Bundle, place: Workspace, root: Path | None, rank: int, emit: Emit
) -> tuple[Model, Tuning]:
    """The shared model on a base that takes LoRAs, and how they are tuned.

    Args:
        bundle: From `open_shared`.
        place: Workspace that made it, where the adapters lie by default.
        root: Folder of the adapters elsewhere.
        rank: Of the LoRAs.
        emit: Told where servers must open the base again.

    Raises:
        BundleError: If `root` is another bundle's.
        ModelError: If the bundle's fit is gone, damaged or another's.
        NothingToTune: If the fit is no encoder with a head, or the graph takes no LoRAs.
    """
    manifest = bundle.manifest
    start = Start(
        fit_of(bundle, place),
        manifest.task,
        len(manifest.outputs),
        manifest.preprocess.prefix,
        manifest.preprocess.max_length,
        float(manifest.decision.get("temperature", 1.0)),
    )
    try:
        network = Network.open(start)
    except NothingToTune as error:
        raise NothingToTune(
            f"The fit of {bundle.folder} takes no LoRAs: {error.what}",
            fix="tune heads: leave --method out; or run the need with --method head, lora,"
            " top_layers or full, whose fits take them.",
        ) from None
    difference(bundle, network.logits(MADE_UP))
    model = open_model(bundle, place, root, rank, emit)
    network.adapt(model.adapted.base.linears, rank)
    return model, lora_tuning(network)


def lora_tuning(network: Network) -> Tuning:
    """LoRAs that are pulled towards the shared model."""

    def tune(lesson: Lesson) -> Own:
        if not lesson.corrections:
            # Every answer is as the user wants it: a minute of training would tell no more.
            return Own("lora", {}, math.inf, math.inf)
        tokens = network.reading.tokens(lesson.texts)
        found = fit_personal_lora(network, Told(tokens, lesson.labels, lesson.weights))
        return Own("lora", found.tensors, found.strength, min(found.losses.values()))

    return tune
