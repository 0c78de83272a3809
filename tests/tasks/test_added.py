"""Layers that stay in a model: named in classifier.json, and nothing else can be named there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from sartor.core.errors import ModelError
from sartor.tasks._encoder.added import describe, install, read_added
from sartor.tasks._encoder.added.adapter import Adapter
from sartor.tasks._encoder.added.prefix import Prefix
from sartor.tasks._encoder.added.prompt import Prompt
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import load

LAYER = "encoder.encoder.layer.0"
ADDED = [
    Adapter((f"{LAYER}.output.dense", f"{LAYER}.output.LayerNorm"), 3, "gelu"),
    Prompt(4),
    Prefix((f"{LAYER}.attention.self",), 2),
]


@pytest.fixture
def model() -> TextClassifier:
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    return TextClassifier(BertModel(config, add_pooling_layer=False), 2, (2,)).eval()


def answers(model: TextClassifier) -> torch.Tensor:
    ids, mask = torch.arange(1, 11).view(2, 5), torch.ones(2, 5, dtype=torch.long)
    mask[1, 3:] = 0
    with torch.no_grad():
        return model(ids, mask)


def test_all_kinds_together_are_saved_and_come_back(model: TextClassifier, tmp_path: Path):
    for layers in ADDED:
        install(model, layers)
    torch.nn.init.normal_(model.get_parameter(f"{LAYER}.output.dense.adapter.up.weight"))
    model.save(tmp_path)

    loaded = load(tmp_path)

    assert list(loaded.added) == ADDED
    assert torch.equal(answers(loaded), answers(model))


def test_a_prompt_leaves_every_position_of_the_backbone_to_the_text(model: TextClassifier):
    install(model, Prompt(4))
    ids = torch.ones(1, 16, dtype=torch.long)

    assert model(ids, torch.ones_like(ids)).shape == (1, 2)


def test_the_word_table_is_still_found_behind_a_prompt(model: TextClassifier):
    table = model.encoder.get_input_embeddings()

    install(model, Prompt(4))

    assert model.encoder.get_input_embeddings() is table
    with pytest.raises(ModelError, match="a prompt already"):
        install(model, Prompt(2))


def test_descriptions_are_plain_values_and_read_back_equal():
    assert read_added(json.loads(json.dumps(describe(ADDED)))) == ADDED


def test_what_could_not_be_read_back_is_not_saved(model: TextClassifier, tmp_path: Path):
    class Own:
        def install(self, model: torch.nn.Module) -> None: ...

    install(model, Own())
    with pytest.raises(ModelError, match="Own is no registered kind"):
        model.save(tmp_path)


def test_a_model_without_added_layers_says_nothing_of_them(model: TextClassifier, tmp_path: Path):
    model.save(tmp_path)

    assert "added" not in json.loads((tmp_path / "classifier.json").read_text())
    assert torch.equal(answers(load(tmp_path)), answers(model))


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda first: first.__setitem__(key, value)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (change("kind", "adaptor"), "adapter"),
        (change("kind", "../../evil"), "evil"),
        (change("kind", None), "None"),
        (change("bottleneck", 10**9), "bottleneck=1000000000"),
        (change("bottleneck", 4), "size mismatch"),
        (change("at", ["encoder.nothing"]), "encoder.nothing"),
        (change("at", ["encoder.embeddings.word_embeddings"]), "Embedding"),
        (change("at", [f"{LAYER}.output.dense"] * 2), "BesideLinear"),
        (change("activation", "os.system"), "os.system"),
        (change("code", "import os"), "code"),
    ],
    # Workers must agree on what a test is called, and a closure has no name but its address.
    ids=lambda value: value if isinstance(value, str) else "harm",
)
def test_a_description_that_cannot_be_is_refused_with_what_is_wrong(
    model: TextClassifier, tmp_path: Path, harm: Callable[[dict[str, Any]], None], told: str
):
    install(model, ADDED[0])
    model.save(tmp_path)
    shape = json.loads((tmp_path / "classifier.json").read_text())
    harm(shape["added"][0])
    (tmp_path / "classifier.json").write_text(json.dumps(shape))

    with pytest.raises(ModelError, match=told.replace(".", r"\.")) as caught:
        load(tmp_path)

    assert caught.value.fix


def test_added_that_is_no_list_of_objects_is_refused(model: TextClassifier, tmp_path: Path):
    model.save(tmp_path)
    shape = json.loads((tmp_path / "classifier.json").read_text())
    for wrong in ("adapter", ["adapter"], {"kind": "prompt"}, 3):
        (tmp_path / "classifier.json").write_text(json.dumps({**shape, "added": wrong}))
        with pytest.raises(ModelError):
            load(tmp_path)
