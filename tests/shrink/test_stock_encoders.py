"""Encoders that label parts of texts, or find documents, make the same in stock libraries."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, pipeline

from sartor.core.errors import ModelError
from sartor.core.pieces import pieces
from sartor.models.by_piece import part_pieces, tokenise_by_piece
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.shrink.stock import STOCKS, Answered, Told, Usage, stock_of
from sartor.shrink.stocks.retriever import vectors_of
from sartor.tasks import TASKS
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.retrieval.train import Retriever
from tests.tiny import make_tiny_bert, tiny_tokenizer

TEXTS = ["refund please", "the invoice was late and " * 20, "退款 谢谢 this is my order12", "x"]
TAGS = ("O", "B-place", "I-place", "B-人", "I-人")
RULE = {"temperature": 1.7, "outside": 0.5}
PARTS = Told("token_classification", TAGS, RULE, "order ", "", 16, windows=False)
BASE = Told("retrieval", ("a", "b", "c"), {}, "ask: ", "told: ", 16, windows=False)


def drawn(folder: Path, model_of: Any, outputs: int, layers: tuple[int, ...], **head: Any) -> Any:
    """A model with drawn weights on a tiny encoder."""
    encoder, _ = load_text_backbone(find_backbone(str(make_tiny_bert(folder / "tiny"))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = model_of(encoder, outputs, layers, head).eval()
        for tensor in (*model.head.parameters(), *model.head.buffers()):
            torch.nn.init.normal_(tensor.data) if tensor.ndim else tensor.data.fill_(1.0)
    return model


def written(model: Any, told: Told, folder: Path, *, by_piece: bool = False) -> Usage:
    """Leave the model as a fit does, and export it to `folder / "out"`."""
    model.save(folder / "fit")
    tokenizer = part_pieces(tiny_tokenizer()) if by_piece else tiny_tokenizer()
    tokenizer.save(str(folder / "fit" / "tokenizer.json"))
    (folder / "out").mkdir()
    return stock_of(told.task).write(folder / "fit", told, folder / "out")


@pytest.fixture
def tagger(tmp_path: Path) -> TextClassifier:
    model = drawn(tmp_path, TextClassifier, len(TAGS), (2,))
    model.by_piece = True
    return model


def at_each_piece(model: TextClassifier) -> np.ndarray:
    """(texts, pieces, tags) logits as the fit computes them, each text alone."""
    tokenizer = part_pieces(tiny_tokenizer())
    tokenizer.no_padding()
    tokenizer.enable_truncation(PARTS.max_length)
    found = np.zeros((len(TEXTS), 200, len(TAGS)), np.float32)
    for row, text in enumerate(TEXTS):
        ids, marks = tokenise_by_piece(tokenizer, [text], PARTS.prefix)
        mask = 1 + torch.from_numpy(np.asarray(marks[0], np.int64))[None]
        with torch.inference_mode():
            said = model(torch.tensor([list(ids[0])]), mask)[0].numpy()
        found[row, : len(said)] = said
    return found


def test_a_tagger_gives_each_piece_the_tag_of_the_fit(
    tmp_path: Path, tagger: TextClassifier, capfd: pytest.CaptureFixture[str]
):
    capfd.readouterr()
    usage = written(tagger, PARTS, tmp_path, by_piece=True)
    ours = at_each_piece(tagger)
    assert np.ptp(ours[0, : len(pieces(TEXTS[0]))].argmax(1)) or np.ptp(ours.argmax(2)), "all alike"
    near = stock_of(PARTS.task).apart(tmp_path / "out", PARTS, Answered(TEXTS, ours))
    assert near < 1e-4
    far = stock_of(PARTS.task).apart(tmp_path / "out", PARTS, Answered(TEXTS, ours[:, :, ::-1]))
    assert far > 0.1
    assert capfd.readouterr() == ("", "")
    assert "0.5 · [O]" in usage.text
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {str(i): name for i, name in enumerate(TAGS)}
    assert config["architectures"] == ["BertForTokenClassification"]


def test_the_stock_pipeline_finds_the_tags(tmp_path: Path, tagger: TextClassifier):
    written(tagger, PARTS, tmp_path, by_piece=True)
    tags = pipeline("token-classification", model=str(tmp_path / "out"), device="cpu")
    text = TEXTS[2]
    found = tags(PARTS.prefix + text)
    ours = at_each_piece(tagger)[2, : len(pieces(text))].argmax(1)
    starts = {
        start + len(PARTS.prefix): TAGS[tag]
        for (start, _), tag in zip(pieces(text), ours, strict=True)
    }
    told = {each["start"]: each["entity"] for each in found if each["start"] in starts}
    assert told == {start: tag for start, tag in starts.items() if tag != "O"}
    assert told, "no part was found: nothing is shown"
    # What the card tells to do: the tag of a piece is that of its first token.
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    read = tokenizer(PARTS.prefix + text, return_offsets_mapping=True)
    words, begun = read.word_ids(), [start for start, _ in read["offset_mapping"]]
    firsts = [at for at, word in enumerate(words) if word is not None and word not in words[:at]]
    assert [begun[at] for at in firsts if begun[at] >= len(PARTS.prefix)] == [*starts]


@pytest.mark.parametrize(
    ("layers", "head", "why"),
    [((1, 2), {}, "2 layers side by side"), ((2,), {"kind": "cosine"}, "of the kind cosine")],
)
def test_a_tagger_of_another_form_is_refused(
    tmp_path: Path, layers: tuple[int, ...], head: dict[str, Any], why: str
):
    model = drawn(tmp_path, TextClassifier, len(TAGS), layers, **head)
    with pytest.raises(ModelError, match=why):
        written(model, PARTS, tmp_path, by_piece=True)
    assert not any((tmp_path / "out").iterdir())


def vectors(model: Retriever, texts: list[str]) -> np.ndarray:
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.enable_truncation(BASE.max_length)
    rows = [torch.tensor([tokenizer.encode(text).ids]) for text in texts]
    with torch.inference_mode():
        return torch.cat(
            [model.head.embed(model.features(ids, torch.ones_like(ids))) for ids in rows]
        ).numpy()


@pytest.mark.parametrize("width", [0, 7])
def test_a_retriever_makes_the_vectors_of_the_fit(tmp_path: Path, width: int):
    model = drawn(tmp_path, Retriever, 3, (2,), kind="index", width=width)
    usage = written(model, BASE, tmp_path)
    asked = [BASE.prefix + text for text in TEXTS]
    ours = vectors(model, asked)
    np.testing.assert_allclose(vectors_of(tmp_path / "out", asked), ours, atol=1e-5)
    answered = Answered(TEXTS, ours)
    assert abs(stock_of("retrieval").apart(tmp_path / "out", BASE, answered)) < 1e-5
    far = stock_of("retrieval").apart(tmp_path / "out", BASE, Answered(TEXTS, -ours))
    assert far > 0.1
    assert f"{width or 32} numbers. `ask: `" in usage.text


def test_sentence_transformers_makes_the_same_vectors(tmp_path: Path):
    library = pytest.importorskip("sentence_transformers")
    model = drawn(tmp_path, Retriever, 3, (2,), kind="index", width=7)
    written(model, BASE, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        other = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
        asked, told = (other.encode(TEXTS, prompt_name=name) for name in ("query", "document"))
    np.testing.assert_allclose(asked, vectors(model, [f"ask: {t}" for t in TEXTS]), atol=1e-4)
    np.testing.assert_allclose(told, vectors(model, [f"told: {t}" for t in TEXTS]), atol=1e-4)


def test_a_retriever_of_several_layers_is_refused(tmp_path: Path):
    model = drawn(tmp_path, Retriever, 3, (1, 2), kind="index", width=7)
    with pytest.raises(ModelError, match="2 layers side by side"):
        written(model, BASE, tmp_path)


def test_a_task_has_one_form_or_none_and_none_is_refused_by_name():
    known = [task for name in STOCKS.names() for task in STOCKS.get(name).tasks]  # type: ignore[attr-defined]
    assert len(known) == len(set(known))
    assert set(known) <= set(TASKS.names())
    with pytest.raises(ModelError, match="Models of mastery cannot be exported") as refused:
        stock_of("mastery")
    assert "text_generation" in str(refused.value)
