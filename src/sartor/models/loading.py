"""A resolved backbone into memory: a transformers model and its tokenizer, offline and silently.

The configuration is rebuilt from its plain values (`folder.read_config` has refused anything that
names code), so nothing in the folder decides what is imported or fetched.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from sartor.core.characters import tokenizer_fault
from sartor.core.errors import MissingExtra, ModelError
from sartor.core.types import Backbone
from sartor.models.by_piece import part_pieces
from sartor.models.folder import TOKENIZER_BYTES, read_capped, read_config, require_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig, PreTrainedModel

_AGAIN = "get the file from the model's source again."


def load_text_backbone(backbone: Backbone) -> tuple["PreTrainedModel", "Tokenizer"]:
    """Load weights and tokenizer.

    Returns:
        The encoder without pooler or head, float32, in eval mode; and the tokenizer with its
        stored padding and truncation switched off.

    Raises:
        ModelError: If transformers does not know the architecture, or weights are missing from it.
        MissingExtra: If transformers is not installed.
    """
    return load_encoder(backbone, backbone.layers), tokenizer_of(backbone)


def load_encoder(backbone: Backbone, depth: int | None = None) -> "PreTrainedModel":
    """What `load_text_backbone` loads, without its tokenizer.

    Args:
        backbone: Read from its folder, or drawn at random where it is a control.
        depth: Layers to load, from the bottom; all that the folder has when not given, or where
            they are drawn.
    """
    if backbone.drawn is None:
        return load_model(Path(backbone.path), depth)
    return draw_model(Path(backbone.path), backbone.drawn)


def tokenizer_of(backbone: Backbone) -> "Tokenizer":
    """The backbone's tokenizer, as it reads texts: see `Backbone.pieces`."""
    found = load_tokenizer(Path(backbone.path))
    return part_pieces(found) if backbone.pieces else found


def load_tokenizer(folder: Path, name: str = "tokenizer.json") -> "Tokenizer":
    """The tokenizer of a backbone folder; what it pads or cuts to is the caller's to say.

    Args:
        folder: Of the backbone.
        name: Of the file in it.

    Raises:
        ModelError: If it is missing, too large, or no tokenizer.
    """
    from tokenizers import Tokenizer

    require_tokenizer(folder)
    file = folder / name
    data = read_capped(file, TOKENIZER_BYTES)
    try:
        tokenizer = Tokenizer.from_str(data.decode())
    # tokenizers raises a bare Exception, whatever is wrong with the file.
    except Exception as error:
        raise ModelError(f"{file} is not a tokenizer: {error}.", fix=_AGAIN) from error
    if fault := tokenizer_fault(tokenizer):
        raise ModelError(f"{file} is not a tokenizer: {fault}.", fix=_AGAIN)
    # Stored settings may cut at 128 tokens or pad every text to 128, as MiniLM's do.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def load_model(folder: Path, depth: int | None = None) -> "PreTrainedModel":
    """The encoder of a backbone folder, float32, in eval mode.

    Args:
        folder: Of the backbone.
        depth: Layers to load, from the bottom; all when not given.
    """
    architecture, config = _architecture(folder)
    if depth is not None and depth != config.num_hidden_layers:
        config.num_hidden_layers = depth
    # We pool hidden states ourselves: a folder may well lack the pooler's.
    return _without_pooler(_loaded(folder, (architecture, config), spared=("pooler",)))


def load_pair_classifier(backbone: Backbone) -> "PreTrainedModel":
    """A backbone with the classification head that its folder has, float32, in eval mode.

    Raises:
        ModelError: If transformers has no such classifier, or weights of it are missing.
        MissingExtra: If transformers is not installed.
    """
    folder = Path(backbone.path)
    return _loaded(folder, _architecture(folder, "classifier")).eval()


def load_language_model(backbone: Backbone) -> "PreTrainedModel":
    """A causal language model with its head, float32, in eval mode.

    Raises:
        ModelError: If transformers has no such model, or weights of it are missing.
        MissingExtra: If transformers is not installed.
    """
    folder = Path(backbone.path)
    return _loaded(folder, _architecture(folder, "language model")).eval()


def load_seq2seq(backbone: Backbone) -> "PreTrainedModel":
    """An encoder-decoder with its head, float32, in eval mode.

    Raises:
        ModelError: If transformers has no such model, or weights of it are missing.
        MissingExtra: If transformers is not installed.
    """
    folder = Path(backbone.path)
    # Positions that are computed and a bias of zeros need not be in the weights.
    kind = _architecture(folder, "encoder-decoder")
    return _loaded(folder, kind, spared=("embed_positions", "final_logits_bias")).eval()


def _loaded(
    folder: Path,
    kind: "tuple[type[PreTrainedModel], PreTrainedConfig]",
    *,
    spared: tuple[str, ...] = (),
) -> "PreTrainedModel":
    """The folder's weights in an architecture; only tensors named like `spared` may be missing."""
    import torch

    architecture, config = kind
    # The attention is not named: transformers takes torch's own, and DeBERTa, which has none,
    # would be refused.
    with quiet():
        try:
            loaded = architecture.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
            model, report = cast("tuple[PreTrainedModel, dict[str, list[str]]]", loaded)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"{folder} cannot be loaded as {architecture.__name__}: {error}.",
                fix="check that config.json and the weights belong together.",
            ) from error
    lacking = sorted(n for n in report["missing_keys"] if not any(part in n for part in spared))
    lacking += sorted(str(name) for name in report["mismatched_keys"])
    if lacking:
        raise ModelError(
            f"{folder}: {len(lacking)} tensors of {architecture.__name__} are not in the weights "
            f"or have another shape (first: {lacking[0]}).",
            fix="check that config.json and the weights belong together.",
        )
    return model


def draw_model(folder: Path, seed: int) -> "PreTrainedModel":
    """A model of a folder's configuration whose weights are drawn as before pretraining.

    torch's generator is left as it was.
    """
    architecture, config = _architecture(folder)
    import torch

    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _without_pooler(architecture(config))


def _without_pooler(model: "PreTrainedModel") -> "PreTrainedModel":
    """In eval mode. We pool hidden states ourselves; a pooler would be dead, at times random."""
    from torch import nn

    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.register_module("pooler", None)
    return model.eval()


def empty_model(folder: Path) -> "PreTrainedModel":
    """The encoder of a backbone folder on torch's meta device: names and shapes, no weights.

    Raises:
        ModelError: If transformers does not know the architecture, or the configuration is not
            one of it.
        MissingExtra: If transformers is not installed.
    """
    architecture, config = _architecture(folder)
    import torch
    from transformers.initialization import no_init_weights

    try:
        with quiet(), no_init_weights(), torch.device("meta"):
            model = architecture(config)
    # torch asserts some of what a configuration must be.
    except (AssertionError, ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
        raise ModelError(
            f"{folder / 'config.json'} describes no {architecture.__name__}: {error}.",
            fix="get the file from the model's source again.",
        ) from error
    return _without_pooler(model)


def sketch_model(backbone: Backbone, depth: int) -> "PreTrainedModel":
    """The backbone's architecture with few layers and words and large random weights, in eval mode.

    To find out, before anything is spent, whether a method can work on it.

    Raises:
        ModelError: If its configuration cannot be read, or does not allow so few layers.
    """
    folder = Path(backbone.path)
    architecture, config = _architecture(folder)
    config.num_hidden_layers = depth
    config.vocab_size, config.pad_token_id = 32, 0
    # Ten times the usual: with less, a layer hardly changes what passes through it.
    config.initializer_range = 0.2
    with quiet():
        try:
            model = architecture(config)
        except (ValueError, TypeError, LookupError, RuntimeError) as error:
            raise ModelError(
                f"{architecture.__name__} of {folder} cannot be built with {depth} layers: "
                f"{error}.",
                fix="use a BERT-like backbone.",
            ) from error
    return model.eval()


_What = Literal["encoder", "classifier", "language model", "encoder-decoder"]


def _architecture(
    folder: Path, what: _What = "encoder"
) -> "tuple[type[PreTrainedModel], PreTrainedConfig]":
    """The class that a backbone folder is loaded as, and its configuration.

    Raises:
        ModelError: If transformers does not know it.
        MissingExtra: If transformers is not installed.
    """
    try:
        from transformers import (
            MODEL_FOR_CAUSAL_LM_MAPPING,
            MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
            MODEL_MAPPING,
            AutoConfig,
        )
    except ImportError as error:
        raise MissingExtra(
            f"Loading {folder} needs torch and transformers ({error}).",
            fix="pip install 'sartor[train]'.",
        ) from error
    values = read_config(folder)
    kind = str(values.pop("model_type"))
    try:
        config = AutoConfig.for_model(kind, **values)
        known = {
            "encoder": MODEL_MAPPING,
            "classifier": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
            "language model": MODEL_FOR_CAUSAL_LM_MAPPING,
            "encoder-decoder": MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        }
        return cast("type[PreTrainedModel]", known[what][type(config)]), config
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"transformers has no {what} for model_type {kind!r} of {folder}.",
            fix="use a BERT-like model, or install a transformers that knows this one.",
        ) from error


@contextmanager
def quiet() -> Generator[None]:
    """No progress bar, no report, no warning: and everything as it was afterwards."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
