"""A model of pairs: encoder and head, with a script that reads two texts as the bundle does.

Joined in one sequence, or each by itself with a head over both. transformers has no class for
either: its cross-encoders read one token through a pooler. Of a model that knows nothing but how
alike two texts are, the modules of sentence-transformers give vectors with that cosine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sartor.core.protocols import Floats
from sartor.core.texts import parts_of
from sartor.models.loading import quiet
from sartor.shrink.stock import STOCKS, Answered, Told, Usage, load_fit, no_class
from sartor.shrink.stocks import _predict
from sartor.shrink.stocks._heads import (
    INSTEAD,
    Head,
    labels_apart,
    rule_of_label,
    rule_section,
    steps_of,
    write_encoder_and_head,
)
from sartor.shrink.stocks._modules import Step, linear, write_modules
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_pair.similarity import Similarity
from sartor.tasks.text_pair.train import PairClassifier

_USE = """\
```sh
python predict.py "a text" "the other"   # needs torch and transformers; answers by the rule below
```

```python
from pathlib import Path
from predict import Model

logits = Model(Path(folder)).logits([("a text", "the other")])  # (pairs, outputs)
```
"""
_COSINE = """\

```python
from sentence_transformers import SentenceTransformer

one, other = SentenceTransformer(folder).encode(["a text", "the other"])
logits = (one @ other) * slope + offset  # slope {slope}, offset {offset}
```
"""
_READ = {
    "joined": "The two texts are one sequence, as the tokenizer joins them, and the head reads the"
    " mean over its tokens: `AutoModelForSequenceClassification` reads one token through a pooler.",
    "apart": "Each text goes through the encoder alone; the head reads the two means, their"
    " distance and their product. No class of a library does that.",
    "alike": "Each text goes through the encoder alone; what counts is the cosine of the two means"
    " about their centre.",
}


@STOCKS.add
@dataclass(frozen=True, slots=True)
class Pair:
    """Holds models that answer about two texts."""

    tasks: ClassVar[tuple[str, ...]] = ("text_pair",)

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        model = load_fit(fit, told.task)
        reads, head = _read(model)
        said = {"answers": "label", "reads": reads}
        if reads == "apart":
            said["symmetric"] = model.symmetric
        write_encoder_and_head(model, head, fit, told, folder, said)
        cosine = reads == "alike" and model.layers == (model.encoder.config.num_hidden_layers,)
        if cosine:
            prompts = {"text": told.prefix} if told.prefix else {}
            steps = [Step("shift", {"bias": -model.head.centre}), Step("normalize", {})]
            write_modules(folder, told.max_length, prompts, next(iter(prompts), None), steps)
        library = "sentence-transformers" if cosine else "transformers"
        return Usage("text-classification", library, _said(told, model, reads, cosine=cosine))

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        pairs = [parts_of(text) for text in answered.texts]
        return labels_apart(answered.logits, logits_of(folder, pairs), told.decision)


def logits_of(folder: Path, pairs: list[tuple[str, ...]]) -> Floats:
    """(pairs, outputs) float32: what the folder answers when stock classes load it."""
    with quiet():
        return _predict.Model(folder).logits(pairs).numpy()


def _read(model: Any) -> tuple[str, Head]:
    """How it reads two texts, in a word of head.json, and what follows.

    Raises:
        ModelError: If no stock class can hold its encoder, or its head is not known here.
    """
    if isinstance(model, TextClassifier) and not model.added:
        return "joined", Head(steps_of(model.head))
    if not isinstance(model, PairClassifier):
        kind = "an encoder with added layers" if isinstance(model, TextClassifier) else ""
        raise no_class(kind or "a table of words' vectors (static)", INSTEAD)
    if not isinstance(model.head, Similarity):
        return "apart", Head(steps_of(model.head))
    head = model.head
    step = linear(head.slope[:, None], head.offset)
    return "alike", Head([step], {"centre": head.centre})


def _said(told: Told, model: Any, reads: str, *, cosine: bool) -> str:
    """For the card."""
    shown = _USE
    if cosine:
        head: Similarity = model.head
        shown += _COSINE.format(slope=_numbers(head.slope), offset=_numbers(head.offset))
    return "\n".join(
        [
            shown,
            _READ[reads],
            "",
            *rule_section(
                rule_of_label(told.decision),
                told,
                "two texts together are" if reads == "joined" else "each text is",
            ),
            "",
        ]
    )


def _numbers(found: Tensor) -> list[float]:
    return [round(value, 6) for value in torch.as_tensor(found).tolist()]
