"""A small encoder-decoder that knows nothing yet: drawn weights, and a tokenizer of the texts.

For machines and languages that no pretrained model is at hand for. It is written as the folder of
any backbone, so everything else treats it as one; `Backbone.drawn` says that its weights were never
trained. The tokenizer is byte-level BPE (Sennrich et al. 2016, https://aclanthology.org/P16-1162):
whatever is written, it gives back. The architecture is mBART's, whose layers normalise what they
read, and so train without a long warm-up: Xiong et al. 2020, https://arxiv.org/abs/2002.04745
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sartor.core.types import Backbone
from sartor.models.folder import Label, describe
from sartor.models.loading import quiet

NAME = "from_scratch"
CONTROL = ("<pad>", "<s>", "</s>")
"""Padding, what the decoder begins with, and what ends a text; ids 0, 1, 2."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large it is; for some thousands of short texts and a small machine."""

    vocabulary: int = 4_000
    """Pieces that the tokenizer may learn."""
    layers: int = 3
    """Of the encoder, and of the decoder."""
    width: int = 256
    heads: int = 4
    positions: int = 512
    """Tokens of a text."""
    dropout: float = 0.2


def write_scratch(texts: Iterable[str], seed: int, folder: Path, sizes: Sizes = Sizes()) -> None:
    """Write config.json, tokenizer.json and model.safetensors.

    Args:
        texts: That the tokenizer is learnt on: sources and what is written of them.
        seed: Of the weights; torch's generator is left as it was.
        folder: Exists.
        sizes: See `Sizes`.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import MBartConfig, MBartForConditionalGeneration

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=sizes.vocabulary,
        min_frequency=2,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pad, begin, end = range(len(CONTROL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {CONTROL[end]}", special_tokens=[(CONTROL[end], end)]
    )
    config = MBartConfig(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=sizes.width,
        encoder_layers=sizes.layers,
        decoder_layers=sizes.layers,
        encoder_attention_heads=sizes.heads,
        decoder_attention_heads=sizes.heads,
        encoder_ffn_dim=4 * sizes.width,
        decoder_ffn_dim=4 * sizes.width,
        max_position_embeddings=sizes.positions,
        dropout=sizes.dropout,
        scale_embedding=True,
        # What a layer makes of what it reads is then as large, and words, scaled, are too: the
        # default is that of a model four times as wide.
        init_std=sizes.width**-0.5,
        pad_token_id=pad,
        bos_token_id=begin,
        eos_token_id=end,
        decoder_start_token_id=begin,
        forced_eos_token_id=None,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MBartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def describe_scratch(folder: Path, seed: int, languages: tuple[str, ...] = ("*",)) -> Backbone:
    """The backbone that `write_scratch` wrote."""
    found = describe(folder, Label(NAME, "folder", "none", languages, prefix=""))
    return replace(found, drawn=seed)
