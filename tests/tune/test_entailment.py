"""Entailment: the shipped graph answers as the pair classifier does on plainly tokenised pairs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from tokenizers import Tokenizer
from tokenizers.processors import RobertaProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from sartor.core.errors import ModelError, SettingError
from sartor.core.events import silent
from sartor.core.types import Backbone, Candidate
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_pair_classifier
from sartor.shrink.export import to_onnx
from sartor.tasks.text_classification.train import load
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.frozen import Frozen, Point
from sartor.tune.methods.entailment import Entailment, hypothesis
from tests.tiny import make_tiny_bert, tiny_tokenizer
from tests.tune.killed import reviews

NLI = {"contradiction": 0, "neutral": 1, "entailment": 2}
TEXTS = (
    "the price is good",
    "my order was late and the product is broken , i hate it and this is very bad",
    "fine",
    "please refund the money for this order , it is not the product that i love",
)
LABELS = ("refund", "great")
MEANING = {"great": "this is a very good product and i love the taste ."}
SENTENCES = ("This text is about refund.", MEANING["great"])


def _shape(tokenizer: Tokenizer, labels: dict[str, int]) -> dict[str, Any]:
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 160,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "label2id": labels,
        "id2label": {place: name for name, place in labels.items()},
    }


def _bert(labels: dict[str, int]) -> tuple[PreTrainedModel, Tokenizer]:
    tokenizer = tiny_tokenizer()
    return BertForSequenceClassification(BertConfig(**_shape(tokenizer, labels))), tokenizer


def _roberta(labels: dict[str, int]) -> tuple[PreTrainedModel, Tokenizer]:
    """Two separators between the texts, no segments, positions counted from the padding's id."""
    tokenizer = tiny_tokenizer()
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = RobertaProcessing(*ends)
    config = RobertaConfig(**_shape(tokenizer, labels), type_vocab_size=1)
    return RobertaForSequenceClassification(config), tokenizer


def _deberta(labels: dict[str, int]) -> tuple[PreTrainedModel, Tokenizer]:
    """Relative positions alone: a hole between text and sentence would change its answers."""
    tokenizer = tiny_tokenizer()
    config = DebertaV2Config(
        **_shape(tokenizer, labels),
        type_vocab_size=0,
        relative_attention=True,
        position_biased_input=False,
        pos_att_type=["p2c", "c2p"],
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
    )
    return DebertaV2ForSequenceClassification(config), tokenizer


def _save(folder: Path, made: tuple[PreTrainedModel, Tokenizer]) -> Path:
    model, tokenizer = made
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(params=[_bert, _roberta, _deberta])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _save(tmp_path / "nli", request.param(NLI))


class Source:
    max_length = 64

    def features(self, texts: Any, layers: Any) -> np.ndarray:
        raise AssertionError("entailment reads tokens, not activations")

    def states(self, texts: Any, layer: int) -> Any:
        raise AssertionError("entailment reads tokens, not states")


def _frozen(backbone: Backbone, **changed: Any) -> Frozen:
    given: dict[str, Any] = {
        "backbone": backbone,
        "source": Source(),
        "train": list(TEXTS) * 40,
        "validation": list(TEXTS),
        "labels": np.zeros(160, np.int64),
        "held": np.zeros(4, np.int64),
        "outputs": LABELS,
        "descriptions": MEANING,
    }
    return Frozen(**{**given, **changed})


def _fit(frozen: Frozen, **settings: Any):
    return Entailment.fit_all(frozen, [Point(Entailment(**settings), (2,), (1.0, 1.0), 0)])[0]


def _plain(folder: Path, backbone: Backbone, texts: Any = TEXTS) -> np.ndarray:
    """transformers' own logits of each pair by itself, tokenised as a pair and not padded."""
    model, tokenizer = (
        load_pair_classifier(backbone),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    rows = []
    for text in texts:
        pairs = [tokenizer.encode(text, sentence) for sentence in SENTENCES]
        with torch.no_grad():
            found = [
                model(torch.tensor([p.ids]), **_segments(model, p.type_ids)).logits[0]
                for p in pairs
            ]
        rows.append([float(z[NLI["entailment"]] - z[NLI["contradiction"]]) for z in found])
    return np.array(rows)


def _segments(model: PreTrainedModel, types: list[int]) -> dict[str, torch.Tensor]:
    return {"token_type_ids": torch.tensor([types])} if model.config.type_vocab_size else {}


def test_logits_are_those_of_the_pairs_tokenised_plainly(folder: Path):
    backbone = find_backbone(str(folder))

    found = _fit(_frozen(backbone)).validation_logits

    expected = _plain(folder, backbone)
    assert np.ptp(expected) > 0.1, "all answers alike; the test would be vacuous"
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_pads_a_text_changes_nothing(folder: Path):
    model = _fit(_frozen(find_backbone(str(folder)))).build(None)
    (row,) = (Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXTS[0]).ids,)
    short = Tokens([row], 0).batch(np.array([0]))
    padding = torch.full((1, 30), 7)

    with torch.no_grad():
        alone = model(*short)
        padded = model(
            torch.cat([short[0], padding], 1), torch.cat([short[1], torch.zeros_like(padding)], 1)
        )

    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


def test_the_fit_is_saved_loaded_and_exported_as_one_graph(folder: Path, tmp_path: Path):
    backbone = find_backbone(str(folder))
    tuner = Tuner(
        {backbone.name: backbone},
        lambda _: Source(),
        tmp_path / "work",
        ["great", "other"],
        TuneOptions(max_length=64, descriptions={"other": MEANING["great"]}),
    )
    candidate = Candidate(backbone.name, backbone.sha256, "entailment", {}, 0)

    fitted = tuner(candidate, reviews(40, 1), reviews(30, 2), silent)
    to_onnx(fitted.folder, "text_classification", tmp_path / "model.onnx")

    texts = list(reviews(30, 2).inputs["text"])
    tokenizer = Tokenizer.from_file(str(fitted.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    ids, mask = Tokens([e.ids for e in tokenizer.encode_batch(texts)], 0).batch(np.arange(30))
    with torch.no_grad():
        again = load(fitted.folder)(ids, mask).numpy()
    session = InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (served,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    np.testing.assert_allclose(again, fitted.validation_logits, atol=1e-4)
    np.testing.assert_allclose(served, fitted.validation_logits, atol=1e-3)
    assert np.ptp(served) > 0.1


def test_a_model_of_two_classes_says_no_where_it_does_not_entail(tmp_path: Path):
    torch.manual_seed(0)
    two = {"entailment": 0, "not_entailment": 1}
    backbone = find_backbone(str(_save(tmp_path / "two", _bert(two))))

    model: Any = _fit(_frozen(backbone)).build(None)

    assert (model.answers.yes, model.answers.no) == (0, 1)


def test_a_sample_of_the_training_rows_is_scored(tmp_path: Path):
    torch.manual_seed(0)
    backbone = find_backbone(str(_save(tmp_path / "nli", _bert(NLI))))

    scored = np.isfinite(_fit(_frozen(backbone)).train_logits).all(1)

    assert 0 < scored.sum() <= 64


def test_a_backbone_that_knows_no_entailment_is_an_obstacle_with_its_reason(tmp_path: Path):
    backbone = find_backbone(str(make_tiny_bert(tmp_path / "plain")))

    why = Entailment.obstacle(backbone, LABELS, {})

    assert "not trained on natural language inference" in why
    with pytest.raises(SettingError, match="natural language inference"):
        _fit(_frozen(backbone))


def test_a_folder_that_names_entailment_without_the_classifier_is_refused(tmp_path: Path):
    plain = make_tiny_bert(tmp_path / "headless")
    config = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps({**config, "label2id": NLI}))

    with pytest.raises(ModelError, match="not in the weights"):
        _fit(_frozen(find_backbone(str(plain))))


def test_sentences_that_do_not_fit_beside_a_text_are_refused(tmp_path: Path):
    torch.manual_seed(0)
    backbone = find_backbone(str(_save(tmp_path / "nli", _bert(NLI))))
    long = {"great": "very " * 120 + "good"}

    with pytest.raises(SettingError, match="more than the 160") as caught:
        _fit(_frozen(backbone, descriptions=long))

    assert "label_descriptions" in caught.value.fix


def test_a_description_stands_for_its_label_and_a_template_for_the_others():
    assert hypothesis("refund", "", "") == "This text is about refund."
    assert hypothesis("退款", "", "") == "这段文字是关于退款的。"
    assert hypothesis("refund", "", "It is {label}.") == "It is refund."
    assert hypothesis("T1", "money back", "") == "money back"
    with pytest.raises(SettingError, match="does not say where the label goes"):
        hypothesis("refund", "", "It is.")
