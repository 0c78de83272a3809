"""A user's own updates: learnt beside the shared model, pulled towards it, and taken off again."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sartor.core.errors import NothingToTune
from sartor.core.workspace import Workspace
from sartor.tasks.text_classification.train import load
from sartor.tune import personal_lora
from sartor.tune.personal_lora import Network, PersonalLora, Start, Told, fit_personal_lora
from tests.search.personal import LABELS, right
from tests.search.personal_bert import TOPICS, make_fit, text_of

FRESH = [text_of(topic, 5_000 + topic) for topic in range(len(TOPICS))]
LAYER = "encoder.encoder.layer.1.output.dense"


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fit")
    return make_fit(Workspace.open(place), place)


@pytest.fixture(scope="module", autouse=True)
def brief() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(personal_lora, "STEPS", 6)
        patch.setattr(personal_lora, "FOLDS", 2)
        yield


def opened(fit: Path) -> Network:
    return Network.open(Start(fit, "text_classification", len(LABELS), "", 32, 1.0))


@pytest.fixture(scope="module")
def network(fit: Path) -> Network:
    """Every user leaves it as it was."""
    network = opened(fit)
    layers = {
        name: (module.in_features, module.out_features)
        for name, module in network.model.named_modules()
        if isinstance(module, nn.Linear) and name != "head"
    }
    network.adapt(layers, 2)
    return network


@pytest.fixture(scope="module")
def found(network: Network, brief: None) -> PersonalLora:
    return fit_personal_lora(network, told(network), (math.inf, 1.0))


def told(network: Network, weight: float = 1.0) -> Told:
    """Somebody to whom an invoice is a refund, of eighteen texts."""
    topics = [number % len(TOPICS) for number in range(18)]
    meant = ["refund" if right(topic) == "invoice" else right(topic) for topic in topics]
    texts = [text_of(topic, number) for number, topic in enumerate(topics)]
    labels = np.array([LABELS.index(label) for label in meant], np.int64)
    return Told(network.reading.tokens(texts), labels, np.full(len(texts), weight))


def change(found: PersonalLora) -> float:
    """How far the layers' weights were moved."""
    names = [name.removesuffix(".A") for name in found.tensors if name.endswith(".A")]
    moved = [found.tensors[f"{n}.B"] @ found.tensors[f"{n}.A"] for n in names]
    return math.sqrt(sum(float(np.square(each).sum()) for each in moved))


def test_updates_answer_as_the_weights_that_they_are_merged_into(
    fit: Path, network: Network, found: PersonalLora
):
    assert found.strength == 1.0, "six steps towards what was said do better than none"
    assert found.losses[1.0] < found.losses[math.inf]
    assert found.tensors[f"{LAYER}.A"].shape == (2, 64)
    assert found.tensors[f"{LAYER}.B"].shape == (32, 2)
    assert len(found.tensors) == 24, "six layers in each of two, two tables each"
    merged = load(fit)
    with torch.no_grad():
        for name, module in merged.named_modules():
            if f"{name}.A" in found.tensors:
                more = found.tensors[f"{name}.B"] @ found.tensors[f"{name}.A"]
                module.weight += torch.from_numpy(more)  # type: ignore[operator]
    personal_lora._train(network, told(network), 1.0)
    ids = network.reading.tokens(FRESH).batch(np.arange(len(FRESH)))
    with torch.no_grad():
        np.testing.assert_allclose(network.logits(FRESH), merged(*ids).numpy(), atol=1e-4)
    personal_lora._begin(network)


def test_the_shared_model_is_there_again_when_a_user_is_done(
    fit: Path, network: Network, found: PersonalLora
):
    again = fit_personal_lora(network, told(network), (math.inf, 1.0))
    np.testing.assert_array_equal(network.logits(FRESH), opened(fit).logits(FRESH))
    assert again.losses == found.losses
    for name, table in found.tensors.items():
        np.testing.assert_array_equal(table, again.tensors[name])


def test_a_stronger_pull_stays_nearer_to_the_shared_model(network: Network, found: PersonalLora):
    strong = fit_personal_lora(network, told(network), (math.inf, 100.0))
    assert 0 < change(strong) < 0.9 * change(found)


def test_where_what_is_learnt_helps_no_other_row_the_shared_model_stays(network: Network):
    # The same nine texts in both folds: in one as all mean them, in the other otherwise.
    rows = range(2 * len(TOPICS))
    texts = [text_of(row % len(TOPICS), row % len(TOPICS)) for row in rows]
    truth = [LABELS.index(right(row % len(TOPICS))) for row in rows]
    labels = np.array([(label + row % 2) % len(LABELS) for row, label in enumerate(truth)])
    data = Told(network.reading.tokens(texts), labels, np.ones(len(labels)))
    kept = fit_personal_lora(network, data, (math.inf, 1.0))
    assert math.isinf(kept.strength)
    assert kept.tensors == {}


def test_only_how_rows_weigh_beside_one_another_counts(network: Network, found: PersonalLora):
    light = fit_personal_lora(network, told(network, 0.25), (math.inf, 1.0))
    np.testing.assert_array_equal(light.tensors[f"{LAYER}.B"], found.tensors[f"{LAYER}.B"])


def test_layers_that_the_graph_calls_otherwise_take_none(fit: Path):
    network = opened(fit)
    with pytest.raises(NothingToTune, match=r"linear\.0"):
        network.adapt({"linear.0": (32, 32)}, 2)
    with pytest.raises(NothingToTune, match="layer"):
        network.adapt({LAYER: (32, 32)}, 2)  # of another width
