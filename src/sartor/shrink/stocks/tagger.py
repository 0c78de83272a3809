"""A model that labels parts of a text: `AutoModelForTokenClassification`.

Stock classes put a linear layer on the last hidden state of each token, and so does this model
where it reads one layer: those above it are cut off. Its tokenizer parts a text at its pieces, so
that no token stands in two of them, and the tag of a piece is that of its first token.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from sartor.core.errors import ModelError
from sartor.core.pieces import pieces, read_at
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
from sartor.shrink.stocks._modules import name_outputs
from sartor.tasks._decision.logits import softmax
from sartor.tasks._encoder.files import from_plain, plain_config
from sartor.tasks._encoder.heads import Linear
from sartor.tasks._encoder.model import TextClassifier

_INSTEAD = "lora, full or top_layers"
_USE = """\
```python
from transformers import AutoModelForTokenClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForTokenClassification.from_pretrained(folder)
read = tokenizer("{prefix}a text", return_offsets_mapping=True, return_tensors="pt")
places, pieces = read.pop("offset_mapping")[0].tolist(), read.word_ids()
best = model(**read).logits[0].argmax(-1).tolist()
for at, piece in enumerate(pieces):
    if piece is not None and piece not in pieces[:at]:
        print(places[at], model.config.id2label[best[at]])
```

{prefixed}A token never stands in two pieces of a text (a word, a number, a character of a script
without spaces, a mark of punctuation), and the tag of a piece is that of its first token. The
pipeline `token-classification` does that with `aggregation_strategy="first"` where spaces stand
between words. In Chinese it takes a sentence for a word then; `"simple"` takes each token.

## What the bundle does besides

- It takes the likeliest sequence of tags that is an answer, `I-…` only behind its own `B-…` or
  `I-…`, and gives each part its probability; here each piece is by itself.
- p = softmax((logits + {outside:.6g} · [O]) / {temperature:.6g})
- Texts are cut after {max_length:,} tokens{windows}.
"""


@STOCKS.add
@dataclass(frozen=True, slots=True)
class Tagger:
    """Holds models that label parts of texts."""

    tasks: ClassVar[tuple[str, ...]] = ("token_classification",)

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        model = load_fit(fit, told.task)
        if not isinstance(model, TextClassifier) or model.added:
            raise no_class("not a plain encoder with a head on it", _INSTEAD)
        if model.layers != (model.encoder.config.num_hidden_layers,):
            raise no_class(f"a head on {len(model.layers)} layers side by side", _INSTEAD)
        if not isinstance(model.head, Linear):
            raise no_class(f"a head of the kind {model.head.shape().get('kind')}", _INSTEAD)
        with quiet():
            _stock(model, told.outputs).save_pretrained(folder)
            write_encoder_tokenizer(fit, told.max_length, folder)
        rule, prefix = told.decision, told.prefix
        text = _USE.format(
            prefix=prefix,
            prefixed=f"`{prefix}` is put before every text. " if prefix else "",
            outside=rule.get("outside", 0.0),
            temperature=rule.get("temperature", 1.0),
            max_length=told.max_length,
            windows=", where the bundle reads on in windows" if told.windows else "",
        )
        return Usage("token-classification", "transformers", text)

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        with quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model: Any = AutoModelForTokenClassification.from_pretrained(
                folder, dtype=torch.float32
            ).eval()
        most = 0.0
        for text, ours in zip(answered.texts, answered.logits, strict=True):
            read = tokenizer(
                told.prefix + str(text),
                truncation=True,
                return_offsets_mapping=True,
                return_tensors="pt",
            )
            offsets = [(int(a), int(b)) for a, b in read.pop("offset_mapping")[0]]
            marks = read_at(offsets, pieces(str(text)), len(told.prefix))
            with torch.inference_mode():
                found = np.repeat(model(**read).logits[0].numpy(), marks, axis=0)
            if len(found):
                apart = softmax(ours[: len(found)]) - softmax(found)
                most = max(most, float(np.abs(apart).max()))
        return most


def _stock(model: TextClassifier, outputs: tuple[str, ...]) -> Any:
    """The same weights in the class that stock libraries have.

    Raises:
        ModelError: If that class puts more than a linear layer on the encoder.
    """
    kinds: Any = MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING
    config: Any = model.encoder.config
    if type(config) not in kinds:
        raise no_class(f"a {config.model_type} that labels tokens")
    name_outputs(config, outputs)
    stock: Any = from_plain(plain_config(config), kinds).eval()
    body = stock.base_model
    own = {name for name in stock.state_dict() if not name.startswith(stock.base_model_prefix)}
    if own != {"classifier.weight", "classifier.bias"}:
        raise no_class(f"a {config.model_type}, whose stock class has other layers on it", "")
    try:
        body.load_state_dict(model.encoder.state_dict())
        stock.classifier.load_state_dict(model.head.state_dict())
    except RuntimeError as error:
        raise ModelError(
            f"{type(stock).__name__} does not hold this model's weights: {error}.",
            fix="serve the bundle itself.",
        ) from error
    return stock
