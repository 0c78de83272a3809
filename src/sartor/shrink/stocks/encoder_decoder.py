"""A model that translates or sums up: `AutoModelForSeq2SeqLM`, with its tokenizer.

Where it was told what to do, by a language or by words before a text, that is in the folder: its
tokenizer puts around a text what the bundle does, and `generation_config.json` begins as it does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
)

from sartor.core.errors import ModelError
from sartor.core.types import TARGET_TOKENIZER
from sartor.llm.translated import FILE, TranslatorFile, read_translator
from sartor.models.folder import read_config
from sartor.models.loading import load_tokenizer, quiet
from sartor.shrink.seq2seq_graph import BIAS, HEAD
from sartor.shrink.stock import STOCKS, Answered, Told, Usage, write_tokenizer
from sartor.shrink.stocks._writing import (
    again,
    furthest,
    log_p_of,
    needs_published,
    write_config,
)
from sartor.tasks._encoder.files import from_plain

_ENCODER, _DECODER = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
WRITER = "writer"
"""Folder of the tokenizer that spells what is written, where another one reads."""
_USE = """\
```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

reads = AutoTokenizer.from_pretrained(folder)
spells = {spells}
model = AutoModelForSeq2SeqLM.from_pretrained(folder)
written = model.generate(**reads(["a text"], return_tensors="pt"))
print(spells.batch_decode(written, skip_special_tokens=True))
```

`generation_config.json` writes as the bundle does: {beams} beams, at most {most:,} tokens. Texts
are cut after {read:,} tokens: `reads` does it with `truncation=True`.

## What the bundle does besides

It reads texts without control tokens. The tokenizer here knows them: take them out of what
strangers send.
"""


@STOCKS.add
@dataclass(frozen=True, slots=True)
class EncoderDecoder:
    """Holds models that write one text of another."""

    tasks: ClassVar[tuple[str, ...]] = ("translation", "summarization")

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        file, published = read_translator(fit / FILE), needs_published(fit)
        with quiet():
            model = _model(fit)
            model.generation_config = _generation(file)
            model.save_pretrained(folder)
        write_config(model.config, folder)
        pad, stop = file.pad, file.stop[0]
        sides = [("tokenizer.json", folder)]
        sides += [(TARGET_TOKENIZER, folder / WRITER)] if file.apart else []
        for name, to in sides:
            tokenizer = load_tokenizer(published, name)
            named = {"pad_token": pad, "eos_token": stop}
            spelt = {role: tokenizer.id_to_token(token) for role, token in named.items()}
            write_tokenizer(
                tokenizer,
                to,
                model_max_length=file.most_read,
                **{role: token for role, token in spelt.items() if token is not None},
            )
        spells = f'AutoTokenizer.from_pretrained(f"{{folder}}/{WRITER}")' if file.apart else "reads"
        text = _USE.format(
            spells=spells, beams=file.beams, most=file.max_new_tokens, read=file.most_read
        )
        return Usage(told.task, "transformers", text)

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        with quiet():
            reads: Any = AutoTokenizer.from_pretrained(folder)
            apart = (folder / WRITER).is_dir()
            spells: Any = AutoTokenizer.from_pretrained(folder / WRITER) if apart else reads
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
        how = model.generation_config
        forced = how.forced_bos_token_id
        opening = [how.decoder_start_token_id, *([] if forced is None else [forced])]
        (stop, *_) = how.eos_token_id if isinstance(how.eos_token_id, list) else [how.eos_token_id]
        found: list[tuple[float, int]] = []
        for text, said in zip(answered.texts, answered.written, strict=True):
            given = reads([text], truncation=True, return_tensors="pt")
            ids = spells(said, add_special_tokens=False)["input_ids"][: how.max_new_tokens - 1]
            after = torch.tensor([*ids, stop])
            begun = torch.tensor([[*opening, *after[:-1].tolist()]])
            with torch.inference_mode():
                logits = model(**given, decoder_input_ids=begun).logits
            found.append(log_p_of(logits[0, len(opening) - 1 :], after))
        return furthest(found, answered)


def _model(fit: Path) -> Any:
    """The encoder-decoder with the weights that a fit left; see `tune.seq2seq`.

    Raises:
        ModelError: If they are another's.
    """
    config, tensors = read_config(fit), load_file(fit / "model.safetensors")
    model: Any = from_plain(config, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING).eval()
    model.tie_weights()
    body = getattr(model, "model", model)
    # A head that the fit keeps is one of its own, but for that of a T5 which shares its words: the
    # fit has it with the scale of the states folded in, and the model scales by itself.
    own = HEAD in tensors and not config.get("scale_decoder_outputs")
    words = tensors[_ENCODER]
    every: dict[str, Tensor] = {"shared.weight": words, _DECODER: words, **tensors}
    every["lm_head.weight"] = tensors[HEAD] if own else every[_DECODER]
    bias = getattr(model, "final_logits_bias", None)
    try:
        if own:
            model.lm_head.weight = nn.Parameter(tensors[HEAD])
            model.config.tie_word_embeddings = False
        body.load_state_dict({name: every[name] for name in body.state_dict()})
        if bias is not None:
            bias.copy_(tensors[BIAS].reshape(bias.shape))
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{fit} does not hold a saved encoder-decoder: {error}.", fix=again(fit)
        ) from error
    return model


def _generation(file: TranslatorFile) -> GenerationConfig:
    start, *forced = file.opening
    return GenerationConfig(
        do_sample=False,
        num_beams=file.beams,
        length_penalty=file.length_penalty if file.beams > 1 else 1.0,
        early_stopping=False,
        max_new_tokens=file.max_new_tokens,
        decoder_start_token_id=start,
        forced_bos_token_id=forced[0] if forced else None,
        pad_token_id=file.pad,
        eos_token_id=list(file.stop),
        # What is forced is never asked for again, and would be held back where it is.
        suppress_tokens=[token for token in file.silent if token not in forced] or None,
    )
