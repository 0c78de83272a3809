"""An encoder that finds documents: a model of sentence-transformers, and of any vector database.

Texts and documents go through the encoder, the mean over its tokens, and a centre and a linear map
(`tasks.retrieval.space`), which are one Dense layer; what comes out has length 1. The documents
stay where they are: whoever has this folder makes their vectors anew.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from sartor.models.loading import quiet
from sartor.shrink.stock import (
    STOCKS,
    Answered,
    Told,
    Usage,
    load_fit,
    no_class,
    write_encoder_tokenizer,
)
from sartor.shrink.stocks._modules import Step, linear, write_encoder, write_modules
from sartor.tasks._encoder.heads import Index
from sartor.tasks._encoder.model import TextClassifier, mean_over_tokens

_INSTEAD = "top_layers or full"
QUERY, DOCUMENT = "query", "document"
"""Names of what is put before a text, and before a document."""
_USE = """\
```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(folder)
documents = model.encode(documents, prompt_name="{document}")
questions = model.encode(["a text"], prompt_name="{query}")
print(questions @ documents.T)  # cosines: the vectors have length 1
```

A vector has {width} numbers. {before}

## What the bundle does besides

It holds the documents and their vectors, says how sure it is of the first one, and answers "none"
where it is not sure enough. Texts are cut after {max_length:,} tokens{windows}.
"""


@STOCKS.add
@dataclass(frozen=True, slots=True)
class Retriever:
    """Holds encoders of texts and documents."""

    tasks: ClassVar[tuple[str, ...]] = ("retrieval",)

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        model = load_fit(fit, told.task)
        if not isinstance(model, TextClassifier) or not isinstance(model.head, Index):
            raise no_class("not an encoder of texts and documents", _INSTEAD)
        if model.added:
            raise no_class("an encoder with added layers", _INSTEAD)
        if model.layers != (model.encoder.config.num_hidden_layers,):
            raise no_class(f"one that reads {len(model.layers)} layers side by side", _INSTEAD)
        width = model.head.width or model.head_width
        with quiet():
            write_encoder(model.encoder, folder)
            write_encoder_tokenizer(fit, told.max_length, folder)
        prompts = {QUERY: told.prefix, DOCUMENT: told.passage}
        write_modules(
            folder, told.max_length, prompts, None, [_moved(model.head), Step("normalize", {})]
        )
        before = f"`{told.prefix}` is put before a text that asks and `{told.passage}` before a"
        text = _USE.format(
            query=QUERY,
            document=DOCUMENT,
            width=width,
            before=f"{before} document: the prompt names do." if any(prompts.values()) else "",
            max_length=told.max_length,
            windows=", where the bundle reads on in windows" if told.windows else "",
        )
        return Usage("sentence-similarity", "sentence-transformers", text)

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        """Largest distance, 1 less the cosine, of two vectors of one text."""
        theirs = vectors_of(folder, [told.prefix + str(text) for text in answered.texts])
        return float(np.max(1 - (answered.logits * theirs).sum(1)))


def vectors_of(folder: Path, texts: list[str]) -> Any:
    """(texts, width) float32 of length 1: what the folder makes of texts with their prefix, by
    transformers alone."""
    with quiet():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        encoder: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    (dense,) = folder.glob("*_Dense")
    layer = load_file(dense / "model.safetensors")
    read = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        means = mean_over_tokens(encoder(**read).last_hidden_state, read["attention_mask"])
        moved = torch.nn.functional.linear(means, layer["linear.weight"], layer["linear.bias"])
        return torch.nn.functional.normalize(moved, dim=-1).numpy()


def _moved(head: Index) -> Step:
    """P (x − μ) as W x + b."""
    with torch.no_grad():
        project = head.project if head.width else torch.eye(len(head.centre))
        return linear(project.T.contiguous(), -(head.centre @ project))
