"""A need by entailment, on a model of natural language inference in a folder: to a bundle."""

import json
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

from tests.stories.shop import NEED, Here
from tests.tiny import tiny_tokenizer

ENTAILMENT = NEED.replace("{backbones: [./tiny]}", "{backbones: [./nli], methods: [entailment]}")


def _make_nli(folder: Path) -> None:
    """Random weights, of the shape that a real one has: 512 positions, three classes."""
    tokenizer = tiny_tokenizer()
    names = ("contradiction", "neutral", "entailment")
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.2,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def test_a_need_by_entailment_ends_in_a_bundle_that_answers(new_shop: Path, here: Here):
    _make_nli(new_shop / "nli")
    (new_shop / "need.yaml").write_text(ENTAILMENT)

    said = here("run", "need.yaml", "--json")

    assert said.status in (0, 1), said.err
    (bundle,) = (new_shop / ".sartor" / "bundles").iterdir()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["lineage"]["method"] == "entailment"
    (new_shop / "new.txt").write_text("a very good order thanks\nan awful broken order\n")
    answered = here("predict", bundle, "new.txt")
    assert answered.status == 0, answered.err
    assert len(answered.out.splitlines()) == 2


def test_on_another_backbone_it_is_left_out_with_the_reason(new_shop: Path, here: Here):
    (new_shop / "need.yaml").write_text(ENTAILMENT.replace("./nli", "./tiny"))

    said = here("plan", "need.yaml")

    assert said.status == 2
    assert "natural language inference" in said.err
