"""`Tuner`: a candidate in, a folder with a folded model out. Implements `core.protocols.Fit`.

A fit's place on disk is the hash of everything that decides its bytes, so asking again costs a
verification, and asking after a kill goes on from the last checkpoint.
"""

import fcntl
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from sartor.core.durable import staged_folder
from sartor.core.errors import DataError, SettingError
from sartor.core.events import Emit, Note
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.near import near_miss
from sartor.core.protocols import Fitted, Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.loading import load_text_backbone
from sartor.tasks.text_classification.train import TextClassifier
from sartor.tune.batching import Tokens
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.dropout import set_dropout
from sartor.tune.generators import seeded
from sartor.tune.heads import HeadData, HeadFit, HeadSetting, fit_heads
from sartor.tune.loop import Recipe, Rows, Watch, score, train
from sartor.tune.manifest import damage, seal
from sartor.tune.methods.head import Head
from sartor.tune.settings import Settings, read_settings


class FeatureSource(Protocol):
    """Texts to pooled hidden states, through the activation cache."""

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        ...

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        """(texts, len(layers) * width)."""
        ...


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is the same for every candidate of a run."""

    task: str = "text_classification"
    """Name in the tasks registry."""
    max_length: int = 256
    """Tokens a text is cut at; the encoder of `encoder_for` must cut at the same."""
    bf16: bool = False
    """Whether the loop's matrix products run in bfloat16: the precision probe's answer."""
    deadline: float = math.inf
    """`time.monotonic()` after which a fit ends at its next step."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints."""
    checkpoint_steps: int = 0
    """Steps between checkpoints; 0 leaves it to the time."""
    scored_train_rows: int = 512
    """Training rows the loop's methods score at the end, drawn by seed; the others are NaN. Heads
    score all of them for nothing."""


class Tuner:
    """Fits candidates: heads on cached activations, everything else through the loop.

    Args:
        backbones: By `Backbone.name`.
        encoder_for: The cached encoder of a backbone.
        work: Folder for checkpoints and results; one subfolder a fit.
        outputs: Names of the model's outputs, in order; every target is one of them.
        options: What all candidates share.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        encoder_for: Callable[[Backbone], FeatureSource],
        work: Path,
        outputs: Sequence[str],
        options: TuneOptions = TuneOptions(),
    ) -> None:
        self.backbones, self.encoder_for = backbones, encoder_for
        self.work, self.outputs, self.options = work, list(outputs), options

    def __call__(
        self, candidate: Candidate, train: Examples, validation: Examples, emit: Emit
    ) -> Fitted:
        """Fit one candidate, or return its finished result.

        Raises:
            SettingError: If the candidate's settings cannot work.
            UnknownName: If its method is unknown.
            NothingToTune: If the method matches nothing in the backbone.
            DataError: If a label is not among the outputs, or all are the same.
            Diverged: If the loss stops being a number.
        """
        settings = self._settings(candidate)
        place = self.work / self.key(candidate, train, validation)[:24]
        with _locked(place):
            done = place / "fitted"
            if done.exists():
                fault = damage(done)
                if fault is None:
                    return _read(done)
                emit(Note(f"The result in {done} is damaged ({fault}); fitting again.", "warning"))
                shutil.rmtree(done)
            started = time.perf_counter()
            job = _Job(candidate, settings, self.backbones[candidate.backbone], train, validation)
            if settings.method.reads == "activations":
                fitted = self._fit_head(job)
            else:
                fitted = self._fit_loop(job, Checkpoints(place / "checkpoints", emit), emit)
            self._write(done, job, fitted, time.perf_counter() - started)
            shutil.rmtree(place / "checkpoints", ignore_errors=True)
            return _read(done)

    def heads(
        self, candidates: Sequence[Candidate], train: Examples, validation: Examples
    ) -> list[HeadFit]:
        """Fit many head candidates at once, in order, without writing anything.

        The chosen one is then fitted through `__call__`, with the same numbers.
        """
        found: dict[int, HeadFit] = {}
        for name in dict.fromkeys(c.backbone for c in candidates):
            places = [i for i, c in enumerate(candidates) if c.backbone == name]
            jobs = [
                _Job(c, self._settings(c), self.backbones[name], train, validation)
                for c in (candidates[i] for i in places)
            ]
            grid = [self._head_setting(job) for job in jobs]
            found |= dict(zip(places, fit_heads(self._head_data(jobs[0]), grid), strict=True))
        return [found[i] for i in range(len(candidates))]

    def key(self, candidate: Candidate, train: Examples, validation: Examples) -> str:
        """Hash of everything that decides a fit's bytes, 64 hex digits."""
        rows = [
            [part.ids, part.inputs.get("text", ()), part.target] for part in (train, validation)
        ]
        options = asdict(self.options)
        shared = {name: options[name] for name in ("task", "max_length", "bf16")}
        scored = self.options.scored_train_rows
        code = sources_sha256("sartor.tune", "sartor.tasks.text_classification.train")
        numeric = versions("torch", "transformers", "peft", "scikit-learn", "tokenizers", "numpy")
        return digest(candidate.key, rows, self.outputs, shared, scored, code, numeric)

    def _settings(self, candidate: Candidate) -> Settings:
        return read_settings(candidate.settings, task=self.options.task, method=candidate.method)

    def _cut(self, backbone: Backbone) -> int:
        return min(self.options.max_length, backbone.max_length)

    def _labels(self, examples: Examples) -> NDArray[np.int64]:
        index = {name: i for i, name in enumerate(self.outputs)}
        for label in examples.target:
            if label not in index:
                raise DataError(
                    f"label {label!r} is not among the outputs.", fix=near_miss(label, index)
                )
        return np.array([index[label] for label in examples.target], dtype=np.int64)

    def _fit_head(self, job: "_Job") -> "_Outcome":
        setting = self._head_setting(job)
        fit = fit_heads(self._head_data(job), [setting])[0]
        encoder, tokenizer = load_text_backbone(job.backbone)
        with seeded(job.candidate.seed):
            model = TextClassifier(encoder, len(self.outputs), setting.layers).eval()
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(fit.weight))
            model.head.bias.copy_(torch.from_numpy(fit.bias))
        return _Outcome(model, tokenizer, fit.validation_logits, fit.train_logits)

    def _head_data(self, job: "_Job") -> HeadData:
        encoder = self.encoder_for(job.backbone)
        cut = self._cut(job.backbone)
        if encoder.max_length != cut:
            raise SettingError(
                f"the encoder cuts texts at {encoder.max_length} tokens, the tuner at {cut}.",
                fix="give both the same max_length: a head must serve what it was fitted on.",
            )

        def features(examples: Examples) -> Callable[[tuple[int, ...]], Floats]:
            texts = examples.inputs["text"]
            return lambda layers: encoder.features(texts, layers)

        return HeadData(
            train=features(job.train),
            validation=features(job.validation),
            labels=self._labels(job.train),
            outputs=len(self.outputs),
        )

    def _head_setting(self, job: "_Job") -> HeadSetting:
        task, method = job.settings.task, job.settings.method
        assert isinstance(method, Head), "only a head reads activations"
        weights = task.weights(self._labels(job.train), len(self.outputs))
        layers = task.resolve(job.backbone.layers)
        return HeadSetting(layers, cast("Any", method).C, tuple(weights.tolist()))

    def _fit_loop(self, job: "_Job", checkpoints: Checkpoints, emit: Emit) -> "_Outcome":
        task, method, loop = job.settings.task, job.settings.method, job.settings.loop
        encoder, tokenizer = load_text_backbone(job.backbone)
        pad = encoder.config.pad_token_id or 0
        rows = Rows(self._tokens(tokenizer, job, job.train, pad), self._labels(job.train))
        held = Rows(self._tokens(tokenizer, job, job.validation, pad), self._labels(job.validation))
        with seeded(job.candidate.seed):
            model = task.build(encoder, len(self.outputs))
            if loop.dropout is not None:
                set_dropout(model, loop.dropout)
            method.attach(model)
        weights = torch.from_numpy(task.weights(rows.labels, len(self.outputs)))
        recipe = Recipe(
            loop=loop,
            seed=job.candidate.seed,
            loss=lambda logits, labels: task.loss(
                logits, labels, weights.to(logits.device), loop.label_smoothing
            ),
            rate=lambda name: method.rate(name, max(model.layers)),
            bf16=self.options.bf16,
        )
        watch = Watch(
            checkpoints,
            every_seconds=self.options.checkpoint_seconds,
            every_steps=self.options.checkpoint_steps,
            deadline=self.options.deadline,
            emit=emit,
        )
        trained = train(model, (rows, held), recipe, watch)
        method.fold(model)
        model.cpu().eval()
        if trained.cut:
            emit(Note(f"The time budget ended the fit after {trained.steps:,} steps.", "warning"))
        return _Outcome(
            model,
            tokenizer,
            # In float32: these logits stand for the model that is exported.
            score(model, held.tokens),
            self._score_sample(model, rows.tokens, job.candidate.seed),
            tuple(trained.history),
        )

    def _tokens(self, tokenizer: Tokenizer, job: "_Job", examples: Examples, pad: int) -> Tokens:
        tokenizer.enable_truncation(self._cut(job.backbone))
        tokenizer.no_padding()
        # Lone surrogates have no UTF-8, and the tokenizer reads UTF-8.
        texts = [
            (job.backbone.prefix + text).encode("utf-8", "replace").decode()
            for text in examples.inputs["text"]
        ]
        return Tokens([encoding.ids for encoding in tokenizer.encode_batch(texts)], pad)

    def _score_sample(self, model: TextClassifier, tokens: Tokens, seed: int) -> Floats:
        total = len(tokens.ids)
        logits = np.full((total, len(self.outputs)), np.nan, dtype=np.float32)
        count = min(total, self.options.scored_train_rows)
        chosen = np.sort(np.random.default_rng(seed).permutation(total)[:count])
        if count:
            picked = Tokens([tokens.ids[i] for i in chosen], tokens.pad)
            logits[chosen] = score(model, picked, bf16=self.options.bf16)
        return logits

    def _write(self, done: Path, job: "_Job", outcome: "_Outcome", seconds: float) -> None:
        text = {
            "prefix": job.backbone.prefix,
            "max_length": self._cut(job.backbone),
            "outputs": self.outputs,
        }
        logits = {"validation": outcome.validation_logits, "train": outcome.train_logits}
        with staged_folder(done) as folder:
            outcome.model.save(folder)
            outcome.tokenizer.save(str(folder / "tokenizer.json"))
            save_file(
                {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in logits.items()},
                folder / "logits.safetensors",
            )
            _write_json(folder / "text.json", text)
            _write_json(folder / "fit.json", {"seconds": seconds, "history": outcome.history})
            seal(folder)


@dataclass(frozen=True, slots=True)
class _Job:
    candidate: Candidate
    settings: Settings
    backbone: Backbone
    train: Examples
    validation: Examples


@dataclass(frozen=True, slots=True)
class _Outcome:
    model: TextClassifier
    tokenizer: Tokenizer
    validation_logits: Floats
    train_logits: Floats
    history: tuple[dict[str, float], ...] = ()


def _read(folder: Path) -> Fitted:
    logits = load_file(folder / "logits.safetensors")
    fit = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    return Fitted(
        folder, logits["validation"], logits["train"], fit["seconds"], tuple(fit["history"])
    )


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One process at a time in a fit's folder; a second one waits, then finds the result."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
