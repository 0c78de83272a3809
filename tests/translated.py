"""A tiny encoder-decoder, saved as a fit leaves it and served as a bundle: for several tests."""

import random
from pathlib import Path

from sartor.bundle import Bundle, Preprocess, write_bundle
from sartor.core.replies import Reply
from sartor.core.types import PUBLISHED, TARGET_TOKENIZER, Backbone, Examples
from sartor.models.loading import load_seq2seq
from sartor.shrink.seq2seq_graph import write_seq2seq
from sartor.tune.seq2seq import Seq2Seq
from sartor.tune.sides import Sides, sides_of
from tests.manifests import draft

WORDS = {"red": "红", "blue": "蓝", "cat": "猫", "dog": "狗", "big": "大", "old": "旧", "new": "新"}
NEED = "name: colours\n"


def pairs(count: int, seed: int = 0) -> Examples:
    """Texts of a few words, each with the words' Chinese, one character each."""
    draw = random.Random(seed)
    texts: dict[str, str] = {}
    while len(texts) < count:
        words = draw.choices(list(WORDS), k=draw.randint(2, 5))
        texts[" ".join(words)] = "".join(WORDS[word] for word in words)
    ids = tuple(f"{seed}-{i}" for i in range(count))
    return Examples(ids, {"text": tuple(texts)}, tuple(map(Reply, texts.values())))


def saved(
    folder: Path, backbone: Backbone, beams: int, penalty: float = 1.0, longest: int = 12
) -> tuple[Seq2Seq, Sides]:
    """The untuned model as a fit leaves it in `folder`."""
    sides, base = sides_of(backbone), load_seq2seq(backbone)
    file = sides.file(base, longest, beams, penalty)
    model = Seq2Seq(base, file, writer=sides.apart).eval()
    model.save(folder)
    sides.tokenizer.save(str(folder / "tokenizer.json"))
    sides.published.save(folder / PUBLISHED)
    return model, sides


def bundle_of(fit: Path, folder: Path) -> Bundle:
    """A bundle of the fit in `fit`."""
    write_seq2seq(fit, fit)
    manifest = draft(
        name="colours", task="translation", outputs=["reply"], preprocess=Preprocess(max_length=64)
    )
    names = ["model.onnx", "encoder.onnx", "tokenizer.json", "translator.json"]
    names += [TARGET_TOKENIZER] if (fit / TARGET_TOKENIZER).is_file() else []
    return write_bundle(folder, manifest, {name: fit / name for name in names}, NEED)
