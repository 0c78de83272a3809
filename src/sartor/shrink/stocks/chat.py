"""A language model that replies: `AutoModelForCausalLM`, with its tokenizer and chat template.

What was learnt is folded into its weights, so it is a model like the one it came from, and whatever
serves that one serves it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
)

from sartor.core.errors import ModelError
from sartor.core.types import PUBLISHED
from sartor.llm.written import FILE, WriterFile, read_writer
from sartor.models.chat_template import ChatTemplate, read_template
from sartor.models.folder import read_config
from sartor.models.loading import load_tokenizer, quiet
from sartor.shrink.decoder_graph import INVERSE, SCALING
from sartor.shrink.stock import STOCKS, Answered, Told, Usage, no_class, write_tokenizer
from sartor.shrink.stocks._writing import (
    again,
    furthest,
    log_p_of,
    needs_published,
    write_config,
)
from sartor.tasks._encoder.files import from_plain

_HEAD = "head.weight"
_PROBE = "a"
"""A message to see how a template writes one: any will do."""
_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
asked = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "a question"}}],
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",
)
written = model.generate(**asked)
print(tokenizer.decode(written[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))
```

Whatever serves models of its architecture, {architecture}, serves this folder, by its own chat
template. `generation_config.json` takes the likeliest token each time, as the bundle does, and at
most {most:,} of them.

## What the bundle does besides

- It reads what is said without control tokens. The tokenizer here knows them, so a message that
  spells {spelt} ends where it does not seem to: take them out of what strangers send.
- Conversations of more than {context:,} tokens, the reply included, lose their oldest turns.
"""


@dataclass(frozen=True, slots=True)
class _Left:
    """What a fit left.

    Args:
        config: Plain values.
        file: How it reads conversations.
        tokenizer: As it was published.
    """

    config: Mapping[str, Any]
    file: WriterFile
    tokenizer: Any

    @staticmethod
    def by(fit: Path) -> "_Left":
        config, file = read_config(fit), read_writer(fit / FILE)
        return _Left(config, file, load_tokenizer(needs_published(fit)))

    def spelt(self, token: int) -> str:
        return self.tokenizer.id_to_token(token)


@STOCKS.add
@dataclass(frozen=True, slots=True)
class Chat:
    """Holds models that reply to conversations."""

    tasks: ClassVar[tuple[str, ...]] = ("text_generation",)

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        left = _Left.by(fit)
        if left.file.shown:
            raise no_class(
                "the language model as it came, shown examples before each conversation (prompted)",
                instead="lora",
            )
        tensors = load_file(fit / "model.safetensors")
        with quiet():
            model: Any = from_plain(left.config, MODEL_FOR_CAUSAL_LM_MAPPING).eval()
            head = tensors.pop(_HEAD, None)
            body = {name: t for name, t in tensors.items() if name not in (INVERSE, SCALING)}
            model.config.tie_word_embeddings = head is None
            model.tie_weights()
            try:
                model.base_model.load_state_dict(body)
                if head is not None:
                    model.get_output_embeddings().load_state_dict({"weight": head})
            except RuntimeError as error:
                raise ModelError(
                    f"{fit} does not hold a saved language model: {error}.", fix=again(fit)
                ) from error
            model.generation_config = self._generation(left)
            model.save_pretrained(folder)
        write_config(model.config, folder)
        self._write_tokenizer(fit / PUBLISHED, left, folder)
        return self._usage(left, type(model).__name__)

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        with quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        found: list[tuple[float, int]] = []
        for text, reply in zip(answered.texts, answered.written, strict=True):
            turns = [{"role": "user", "content": text}]
            asked: str = tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
            begun, *said = (
                tokenizer(each, add_special_tokens=False)["input_ids"]
                for each in (asked, reply, tokenizer.eos_token)
            )
            after = torch.tensor([token for part in said for token in part])
            with torch.inference_mode():
                logits = model(torch.tensor([[*begun, *after.tolist()]])).logits
            found.append(log_p_of(logits[0, len(begun) - 1 : -1], after))
        return furthest(found, answered)

    def _generation(self, left: _Left) -> GenerationConfig:
        config, (first, *_) = left.config, left.file.stop
        pad = config.get("pad_token_id")
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=left.file.max_new_tokens,
            eos_token_id=list(left.file.stop),
            bos_token_id=config.get("bos_token_id"),
            pad_token_id=pad if isinstance(pad, int) else first,
        )

    def _write_tokenizer(self, published: Path, left: _Left, folder: Path) -> None:
        template = read_template(published)
        if template is None:
            raise ModelError(f"{published} holds no chat template.", fix=again(published.parent))
        stop = left.spelt(left.file.stop[0])
        write_tokenizer(
            left.tokenizer,
            folder,
            chat_template=_beginning(template, left),
            model_max_length=left.file.context,
            **{"pad_token": stop, **template.tokens, "eos_token": stop},
        )

    def _usage(self, left: _Left, architecture: str) -> Usage:
        file = left.file
        text = _USE.format(
            architecture=architecture,
            most=file.max_new_tokens,
            spelt=f"`{left.spelt(file.stop[0])}`",
            context=file.context,
        )
        return Usage("text-generation", "transformers", text)


def _beginning(template: ChatTemplate, left: _Left) -> str:
    """The template, which says where a reply begins when it is asked to.

    Some say so only where there is a reply, and whoever calls them is to know the rest.

    Raises:
        ModelError: If it writes a conversation otherwise than the bundle reads it.
    """

    def ids(text: str) -> list[int]:
        return left.tokenizer.encode(text, add_special_tokens=False).ids

    joints = left.file.joints
    wanted = [*joints.first_user, *ids(_PROBE), *joints.assistant]
    turns = [{"role": "user", "content": _PROBE}]
    found = ids(template.written(turns, begins=True))
    if found == wanted:
        return template.text
    rest = left.tokenizer.decode(wanted[len(found) :], skip_special_tokens=False)
    if found != wanted[: len(found)] or [*found, *ids(rest)] != wanted:
        raise ModelError(
            "The chat template that was published with the model does not write a question as the"
            " bundle reads it.",
            fix="serve the bundle itself: `sartor serve` answers as OpenAI's API does.",
        )
    begins = json.dumps(rest, ensure_ascii=False)
    return f"{template.text}{{% if add_generation_prompt %}}{{{{ {begins} }}}}{{% endif %}}"
