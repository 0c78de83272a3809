"""What compressors are tested on: a BERT of some ten thousand weights that has learnt something,
its graph, tokenizer and rows, answers through the serving runtime, and training where there is any.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from sartor.core.events import silent
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Backbone, Candidate, Examples
from sartor.search.retraining import Retraining
from sartor.serve.graph import Graph
from sartor.serve.reading import Reader
from sartor.serve.session import Session
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.shrink.parity import Parity, parity
from sartor.tasks._decision.logits import softmax
from sartor.tune.fit import TuneOptions, Tuner

TASK, OUTPUTS, LENGTH = "text_classification", ("bad", "good"), 32
_TOLERANCE = 0.02
_PRAISE = ("good", "great", "love", "fine", "works", "quick")
_BLAME = ("bad", "awful", "hate", "broken", "late", "slow")
_PLAIN = ("the", "this", "is", "it", "order", "product", "my", "very", "and", "today")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_UNUSED = 200
"""Words of the vocabulary that no row holds."""
_LEARNS = {"epochs": 6, "lr": 3e-3, "head_lr": 3e-3, "batch_rows": 16, "patience": 99}


@dataclass(frozen=True, slots=True)
class Workbench:
    """A form, and the bench that it lies on."""

    form: Form
    bench: Bench

    def compressed(self, name: str, to: Path, source: Form | None = None) -> Form:
        """The form that a compressor with its default settings leaves in the new folder `to`."""
        source = source or self.form
        to.mkdir(parents=True)
        COMPRESSORS.get(name)().compress(source, to, self.bench)
        return source.left_in(to)

    def logits(self, form: Form) -> Floats:
        """Of the validation rows."""
        return self.bench.answers(form, self.bench.validation.texts)


def answers(form: Form, texts: Sequence[Text]) -> Floats:
    """(texts, outputs) logits, through the serving runtime on one thread."""
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    length = form.max_length or LENGTH
    tokenizer.enable_truncation(length)
    reader = Reader(tokenizer, whole=None, prefix="", windows=None, room=length, pad=0)
    return Graph(Session.open(form.graph, 1), reader, len(OUTPUTS)).logits(texts)


def said(logits: Floats) -> list[dict[str, Any]]:
    """Answers of logits, one a row, as `shrink.parity` reads them."""
    return [
        {"best": max(stated, key=lambda name: stated[name]), "probabilities": stated}
        for stated in (dict(zip(OUTPUTS, row, strict=True)) for row in softmax(logits).tolist())
    ]


def rows(count: int, seed: int) -> Examples:
    """Made-up texts of skewed length; good where praise outnumbers blame."""
    draw = random.Random(seed)
    words = (*_PRAISE, *_BLAME, *_PLAIN)
    texts = [" ".join(draw.choices(words, k=draw.choice((3, 5, 8, 13, 21)))) for _ in range(count)]
    target = tuple(
        "good" if sum((w in _PRAISE) - (w in _BLAME) for w in text.split()) > 0 else "bad"
        for text in texts
    )
    return Examples(tuple(f"{seed}-{i}" for i in range(count)), {"text": tuple(texts)}, target)


def workbench(place: Path, seed: int = 1, layers: Sequence[int] = (2,)) -> Workbench:
    """Train a model in the empty folder `place`, export it and put it on a bench.

    Args:
        place: Holds everything afterwards.
        seed: Of the backbone's weights and the fit.
        layers: Of the two that the head reads.
    """
    train, held = rows(200, 1), rows(80, 2)
    backbone = _backbone(place / "backbone", seed)
    options = TuneOptions(task=TASK, max_length=LENGTH)
    tuner = Tuner({"tiny": backbone}, _no_source, place / "fits", OUTPUTS, options)
    settings = {**_LEARNS, "layers": list(layers)}
    candidate = Candidate("tiny", backbone.sha256, "full", settings, seed)
    fitted = tuner(candidate, train, held, silent).folder
    (place / "exported").mkdir()
    graph = place / "exported" / GRAPH
    to_onnx(fitted, TASK, graph)
    whole = answers(Form(graph, fitted / TOKENIZER), held.texts)

    def compares(form: Form) -> Parity:
        before, after = (said(each) for each in (whole, answers(form, held.texts)))
        return parity(before, after, held.target, _TOLERANCE)

    bench = Bench(
        task=TASK,
        outputs=OUTPUTS,
        max_length=LENGTH,
        prefix="",
        train=train,
        validation=held,
        answers=answers,
        retrain=Retraining(tuner, train, held, "", LENGTH, seed, silent),
        seed=seed,
        emit=silent,
        compares=compares,
    )
    return Workbench(Form(graph, fitted / TOKENIZER, fitted), bench)


def _no_source(backbone: Backbone) -> Any:
    """For fits that read tokens: nothing is asked of a frozen encoder but its length."""
    return _Length()


class _Length:
    max_length = LENGTH


def _backbone(folder: Path, seed: int) -> Backbone:
    folder.mkdir(parents=True)
    tokenizer = _tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        # Wider than BERT's 0.02: at this width, texts would otherwise look alike.
        initializer_range=0.2,
        architectures=["BertModel"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config, add_pooling_layer=False)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.to_json_file(folder / "config.json", use_diff=False)
    tokenizer.save(str(folder / TOKENIZER))
    count = sum(value.numel() for value in weights.values())
    return Backbone(
        name="tiny",
        source="folder",
        path=str(folder),
        sha256=f"{seed:064d}",
        licence="MIT",
        languages=("en",),
        parameters=count,
        layers=2,
        width=32,
        max_length=LENGTH,
    )


def _tokenizer() -> Tokenizer:
    draw = random.Random(0)
    unused = ["".join(draw.choices(_LETTERS, k=draw.randint(4, 9))) for _ in range(_UNUSED)]
    letters = (*_LETTERS, *(f"##{letter}" for letter in _LETTERS))
    pieces = dict.fromkeys((*_SPECIAL, *letters, *_PLAIN, *_PRAISE, *_BLAME, *unused))
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(s, vocabulary[s]) for s in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer
