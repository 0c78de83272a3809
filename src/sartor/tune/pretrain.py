"""Continued pretraining: a backbone reads the user's unlabelled texts before it is tuned.

Gururangan et al. 2020, https://arxiv.org/abs/2004.10964

The result is a backbone's folder that every rung takes like any other, named by the hash of what
decides it: weights, texts, settings. It goes through the one gradient loop, so a run killed
anywhere goes on from its last checkpoint and ends with the same bytes. Whether it helped is for
the caller to measure: it may well not.
"""

import fcntl
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.core.durable import staged_folder
from sartor.core.errors import DataError
from sartor.core.events import Emit, Note
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.registry import Registry
from sartor.core.seals import damage, seal
from sartor.core.types import Backbone
from sartor.models.folder import Label, describe
from sartor.models.loading import load_text_backbone
from sartor.models.packed import Packed, tokenise
from sartor.tune.batching import Tokens
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.ending import Ending, Facts, NoFacts, folder_of
from sartor.tune.generators import seeded
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.settings import Loop

FEWEST = 32
"""Texts below which there is nothing to learn a language from."""
_HELD_SHARE, _HELD_MOST = 0.05, 512


@dataclass(frozen=True, slots=True)
class Words:
    """What a pretext task needs to know of the tokens.

    Args:
        used: Ids that occur in the texts and stand for a word, ascending.
        special: Ids that stand for no word: padding, beginnings, ends.
        mask: Id of the mask token, or None.
    """

    used: list[int]
    special: frozenset[int]
    mask: int | None


class Pretext(Protocol):
    """One file in `tune/pretexts/`. Its dataclass fields are its settings."""

    def loop(self) -> Loop:
        """How the gradient loop runs."""
        ...

    def rate(self, name: str) -> float:
        """Peak learning rate of the tensor called `name` in the built module."""
        ...

    def build(self, encoder: PreTrainedModel, words: Words) -> nn.Module:
        """`(input_ids, attention_mask) → answers`, with the encoder inside; fresh weights come
        from torch's generator.

        Raises:
            SettingError: If the backbone lacks what the task needs.
        """
        ...


PRETEXTS: Registry[Pretext] = Registry(
    "pretext task", package="sartor.tune.pretexts", group="sartor.pretexts"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What decides a pretrained backbone.

    Args:
        pretext: Name in the registry.
        backbone: What is trained on.
        texts: What it reads.
        cut: Tokens a text is cut at.
        seed: Of batches, dropout, masks and the texts that are held out.
        bf16: Whether matrix products run in bfloat16.
    """

    pretext: str
    backbone: Backbone
    texts: Sequence[str]
    cut: int
    seed: int
    bf16: bool = False

    def key(self) -> str:
        """Content hash, 64 hex digits."""
        task = PRETEXTS.get(self.pretext)()
        code = sources_sha256("sartor.tune")
        numeric = versions("torch", "transformers", "tokenizers", "numpy")
        decides = [self.pretext, task, self.backbone.sha256, self.backbone.prefix, self.cut]
        return digest(decides, list(self.texts), self.seed, self.bf16, code, numeric)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What does not decide it, bar where the clock cuts it.

    Args:
        work: Folder for checkpoints and results; one subfolder each.
        emit: Progress.
        deadline: `time.monotonic()` after which it ends at the next step.
        facts: Of the run: where the clock cut it.
        checkpoint_seconds: Time between checkpoints.
        checkpoint_steps: Steps between checkpoints; 0 leaves it to the time.
    """

    work: Path
    emit: Emit
    deadline: float = math.inf
    facts: Facts = field(default_factory=NoFacts)
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int = 0

    def __call__(self, reading: Reading) -> Backbone:
        """The pretrained backbone, trained now or found.

        Raises:
            DataError: If there are too few texts.
            SettingError: If the backbone lacks what the pretext task needs.
            Diverged: If the loss stops being a number.
        """
        if len(reading.texts) < FEWEST:
            raise DataError(
                f"{len(reading.texts)} texts are too few to pretrain on; {FEWEST} are the least.",
                fix="name more texts under data.unlabelled, or leave prefer.pretrain out.",
            )
        key = reading.key()
        place = self.work / key[:24]
        place.mkdir(parents=True, exist_ok=True)
        ending = Ending(self.facts, f"pretrain {key[:16]}")
        with (place / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            done = folder_of(place, ending.cut())
            if done.exists() and (fault := damage(done)):
                text = f"The backbone in {done} is damaged ({fault}); training it again."
                self.emit(Note(text, "warning"))
                shutil.rmtree(done)
            if not done.exists():
                done = self._train(reading, place, ending)
            ending.record(_cut_of(done))
        base = reading.backbone
        name = f"{base.name}+{reading.pretext}"
        return describe(
            done, Label(name, "folder", base.licence, base.languages, base.prefix, base.passage)
        )

    def _train(self, reading: Reading, place: Path, ending: Ending) -> Path:
        """Train, and write the result; its folder."""
        task = PRETEXTS.get(reading.pretext)()
        encoder, tokenizer = load_text_backbone(reading.backbone)
        tokens = _tokens(tokenizer, reading, encoder.config.pad_token_id or 0)
        words = _words(tokenizer, tokens)
        with seeded(reading.seed):
            module = task.build(encoder, words)
        recipe = Recipe(
            loop=task.loop(),
            seed=reading.seed,
            loss=lambda found, _: -found[:, 0].mean(),
            rate=task.rate,
            bf16=reading.bf16,
        )
        watch = Watch(
            Checkpoints(place / "checkpoints", self.emit),
            every_seconds=self.checkpoint_seconds,
            every_steps=self.checkpoint_steps,
            deadline=math.inf if ending.known() else self.deadline,
            cut_at=ending.cut(),
            on_cut=ending.record,
            emit=self.emit,
        )
        trained = train(module, _divided(tokens, reading.seed), recipe, watch)
        cut = trained.steps if trained.cut else None
        done = folder_of(place, cut)
        with staged_folder(done) as folder:
            _save(encoder, folder)
            tokenizer.no_truncation()
            tokenizer.save(str(folder / "tokenizer.json"))
            _write(folder / "pretrain.json", {"cut": cut, "history": list(trained.history)})
            seal(folder)
        if cut is None:
            shutil.rmtree(place / "checkpoints", ignore_errors=True)
        return done


def answers(losses: Tensor) -> Tensor:
    """(rows, 2) log-probabilities of a row being right or wrong, where right has e^(−loss).

    The loop takes the log-loss of a classifier's logits; of these, with every row's answer being
    "right", that is the mean of the losses.

    Args:
        losses: (rows,), in nats, at least 0.
    """
    losses = losses.float()
    wrong = torch.log(-torch.expm1(-losses.detach().clamp(min=1e-6)))
    return torch.stack([-losses, wrong], dim=1)


def fixed(ids: Tensor) -> torch.Generator:
    """A generator that draws the same for the same batch: evaluations can then be compared."""
    return torch.Generator().manual_seed(int(ids.sum()))


def _divided(tokens: Tokens, seed: int) -> tuple[Rows, Rows]:
    """Texts to learn from, and texts that tell when to stop."""
    order = np.random.default_rng(seed).permutation(len(tokens.ids)).tolist()
    held = max(2, min(round(_HELD_SHARE * len(order)), _HELD_MOST))

    def rows(chosen: Sequence[int]) -> Rows:
        ids = Packed.of(tokens.ids[i] for i in sorted(chosen))
        return Rows(Tokens(ids, tokens.pad), np.zeros(len(ids), np.int64))

    return rows(order[held:]), rows(order[:held])


def _tokens(tokenizer: Tokenizer, reading: Reading, pad: int) -> Tokens:
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(reading.cut, reading.backbone.max_length))
    return Tokens(tokenise(tokenizer, reading.texts, reading.backbone.prefix), pad)


def _words(tokenizer: Tokenizer, tokens: Tokens) -> Words:
    added = tokenizer.get_added_tokens_decoder()
    special = frozenset(index for index, token in added.items() if token.special)
    masks = (tokenizer.token_to_id(name) for name in ("[MASK]", "<mask>"))
    mask = next((index for index in masks if index is not None), None)
    used = [index for index in tokens.vocabulary().tolist() if index not in special]
    return Words(used, special, mask)


def _save(encoder: PreTrainedModel, folder: Path) -> None:
    tensors = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = encoder.config.to_dict()
    config.pop("_name_or_path", None)
    _write(folder / "config.json", config)


def _cut_of(done: Path) -> int | None:
    found = json.loads((done / "pretrain.json").read_text(encoding="utf-8"))
    return cast("int | None", found["cut"])


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
