"""A tiny model that writes, saved as a fit leaves it and served as a bundle: for several tests."""

import random
from collections.abc import Sequence
from pathlib import Path

from sartor.bundle import Bundle, Preprocess, write_bundle
from sartor.core.replies import Reply
from sartor.core.types import PUBLISHED, Backbone, Candidate, Examples
from sartor.models.loading import load_language_model
from sartor.shrink.decoder_graph import write_decoder
from sartor.tune.decoder import Decoder
from sartor.tune.settings import Loop
from sartor.tune.writing import Reading, WritingJob
from tests.manifests import draft
from tests.tiny import WORDS

NEED = "name: replies\n"


def rows(count: int, seed: int = 0) -> Examples:
    """Texts of a few words; the reply says what the last one is."""
    draw = random.Random(seed)
    texts = [" ".join(draw.sample(WORDS, draw.randint(2, 5))) for _ in range(count)]
    ids = tuple(f"{seed}-{i}" for i in range(count))
    replies = tuple(Reply(f"it is {text.split()[-1]}") for text in texts)
    return Examples(ids, {"text": tuple(texts)}, replies)


def job_of(backbone: Backbone, train: Examples, held: Examples, **settings: object) -> WritingJob:
    candidate = Candidate(backbone.name, backbone.sha256, "lora", settings, 0)
    return WritingJob(candidate, Loop(), backbone, train, held, bf16=False)


def saved(folder: Path, backbone: Backbone, shown: Sequence[int] = ()) -> tuple[Decoder, Reading]:
    """The untuned model as a fit leaves it in `folder`."""
    model = Decoder(load_language_model(backbone)).eval()
    reading = Reading.of(job_of(backbone, rows(12), rows(4, 1)), model.decoder, shown)
    model.file = reading.file
    model.save(folder)
    reading.says.tokenizer.save(str(folder / "tokenizer.json"))
    reading.says.published.save(folder / PUBLISHED)
    return model, reading


def bundle_of(fit: Path, folder: Path) -> Bundle:
    """A bundle of the fit in `fit`."""
    write_decoder(fit, fit / "model.onnx")
    manifest = draft(
        name="replies",
        task="text_generation",
        outputs=["reply"],
        preprocess=Preprocess(max_length=1024),
    )
    content = {name: fit / name for name in ("model.onnx", "tokenizer.json", "writer.json")}
    return write_bundle(folder, manifest, content, NEED)
