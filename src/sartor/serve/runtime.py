"""A bundle answers, in process: ONNX Runtime, tokenizers and numpy, no trainer.

Texts are sorted by length and cut into batches of a bounded number of tokens, padding included:
a long text then never makes short ones pay for its length, and memory has a bound. Both libraries
release the interpreter's lock while they compute, so one runtime may serve several threads.
"""

import html
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from sartor.bundle import Bundle, open_bundle
from sartor.core.errors import BundleError, RequestError, SettingError
from sartor.core.near import near_miss
from sartor.core.protocols import Floats
from sartor.serve.session import Session
from sartor.serve.settings import ServeSettings
from sartor.tasks import TASKS, Task

MODEL, TOKENIZER = "model.onnx", "tokenizer.json"
BATCH_TOKENS = 2_048
"""Tokens in one forward pass, padding included; more gains nothing on a CPU and costs cache."""
_PADS = ("[PAD]", "<pad>", "<|pad|>")


class UnreleasedWarning(UserWarning):
    """The bundle answers although its need was not shown to be met."""


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    unreleased: Literal["warn", "allow", "refuse"] = "warn",
) -> "Runtime":
    """Verify a bundle and make it ready to answer.

    Args:
        path: The bundle's folder.
        threads: For one forward pass; the cores this process may use when None.
        unreleased: What to do about a bundle whose need is unmet or unproven.

    Raises:
        BundleError: If it is damaged, edited, too new, or refused as unreleased.
        SettingError: If `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise SettingError(f"threads must be at least 1. Got {threads}.", fix="leave it out.")
    bundle = open_bundle(path)
    if not bundle.manifest.released:
        _unreleased(bundle, unreleased)
    count = threads or cores()
    return Runtime(
        bundle=bundle,
        threads=count,
        _session=Session.open(bundle.path(MODEL), count),
        _tokenizer=_tokenizer(bundle),
        _task=TASKS.get(bundle.manifest.task)(),
    )


def cores() -> int:
    """Processor cores this process may use: its affinity, and its container's quota."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        allowed = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        allowed = min(allowed, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        pass
    return allowed


def open_runtime(settings: ServeSettings) -> "Runtime":
    """The bundle that a server is told to serve, warm.

    Raises:
        BundleError: If it is damaged, or unreleased without `settings.unreleased`.
    """
    how = "allow" if settings.unreleased else "refuse"
    runtime = load(settings.bundle, threads=settings.threads, unreleased=how)
    # The first pass allocates memory; better now than in a user's request.
    runtime.answer(["."])
    return runtime


@dataclass(frozen=True)
class Runtime:
    """A loaded bundle; a `Predictor`. Safe to share between threads."""

    bundle: Bundle
    threads: int
    _session: Session
    _tokenizer: Tokenizer
    _task: Task

    @property
    def id(self) -> str:
        """Content id of the bundle, 64 hex digits."""
        return self.bundle.manifest.id

    @property
    def name(self) -> str:
        return self.bundle.manifest.name

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Labels, in the order of the model's outputs."""
        return tuple(self.bundle.manifest.outputs)

    @property
    def released(self) -> bool:
        return self.bundle.manifest.released

    def predict(self, rows: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer a row, in order: label, best, probabilities, and reason where it abstains.

        Args:
            rows: Texts, or mappings such as {"text": "…"}.

        Raises:
            RequestError: Names the row and the key that cannot be used.
        """
        return self.answer(self.texts(rows))

    def texts(self, rows: Sequence[str | Mapping[str, Any]]) -> list[str]:
        """The text of each row, checked.

        Raises:
            RequestError: Names the row and the key that cannot be used.
        """
        if isinstance(rows, str | Mapping):
            raise RequestError(
                f"predict takes a list of rows, not one {type(rows).__name__}.",
                fix="write predict([row]).",
            )
        (key,) = self.bundle.manifest.inputs
        return [_text(row, index, key) for index, row in enumerate(rows)]

    def answer(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Answers to texts that were checked."""
        if not texts:
            return []
        manifest = self.bundle.manifest
        return self._task.decode(self.logits(texts), self.outputs, manifest.decision)

    def logits(self, texts: Sequence[str]) -> Floats:
        """(texts, outputs) model outputs before any decision rule, in the order of the texts."""
        prefix = self.bundle.manifest.preprocess.prefix
        encoded = self._tokenizer.encode_batch_fast([prefix + text for text in texts])
        tokens = [found.ids for found in encoded]
        result = np.empty((len(texts), len(self.outputs)), np.float32)
        for rows in _batches([len(ids) for ids in tokens]):
            result[rows] = self._forward([tokens[row] for row in rows])
        return result

    def _forward(self, tokens: Sequence[Sequence[int]]) -> Floats:
        longest = max(1, max(map(len, tokens)))
        ids = np.full((len(tokens), longest), self._pad, np.int64)
        mask = np.zeros((len(tokens), longest), np.int64)
        for row, found in enumerate(tokens):
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        return self._session.run(ids, mask)

    @cached_property
    def _pad(self) -> int:
        found = (self._tokenizer.token_to_id(name) for name in _PADS)
        return next((index for index in found if index is not None), 0)

    def __repr__(self) -> str:
        state = "released" if self.released else "unreleased"
        return f"<Runtime {self.name} {self.id[:12]}, {len(self.outputs)} labels, {state}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdicts, and how to ask."""
        manifest = self.bundle.manifest
        state = "released" if self.released else "unreleased: its need was not shown to be met"
        rows = "".join(
            f"<tr><td>{html.escape(str(v['criterion']))}</td><td>{v['value']:.4g}</td>"
            f"<td>{v['low']:.4g} – {v['high']:.4g}</td><td>{html.escape(str(v['state']))}</td></tr>"
            for v in manifest.verdicts
        )
        head = "<tr><th>criterion</th><th>value</th><th>interval</th><th>verdict</th></tr>"
        labels = ", ".join(map(html.escape, self.outputs[:20]))
        return (
            f"<b>{html.escape(self.name)}</b> ({manifest.id[:12]}, {state})<br>labels: {labels}"
            + (f"<table>{head}{rows}</table>" if rows else "")
        )


def _unreleased(bundle: Bundle, how: Literal["warn", "allow", "refuse"]) -> None:
    what = f"{bundle.folder} is not released: its need is unmet or unproven."
    if how == "refuse":
        raise BundleError(what, fix="add --unreleased to use it all the same.")
    if how == "warn":
        warnings.warn(f"{what} Answers may be wrong.", UnreleasedWarning, stacklevel=3)


def _tokenizer(bundle: Bundle) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(bundle.path(TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.manifest.preprocess.max_length)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by length, cut where rows × longest would pass the token budget."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[row] > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def _text(row: str | Mapping[str, Any], index: int, key: str) -> str:
    if isinstance(row, str):
        return _whole(row, index, key)
    # Callers in notebooks are not type-checked.
    if not isinstance(row, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RequestError(
            f"Row {index} is {type(row).__name__}, not a text or a mapping.",
            fix=f'write {{"{key}": "…"}}.',
            status=422,
        )
    for name in row:
        if name != key:
            raise RequestError(
                f"Row {index} has the key {name!r}, which this model does not take.",
                fix=near_miss(str(name), [key]),
                status=422,
            )
    if key not in row:
        raise RequestError(
            f"Row {index} lacks the key {key!r}.", fix=f'write {{"{key}": "…"}}.', status=422
        )
    if not isinstance(row[key], str):
        raise RequestError(
            f"Row {index}, key {key!r} is {type(row[key]).__name__}, not a text.",
            fix="send a string.",
            status=422,
        )
    return _whole(row[key], index, key)


def _whole(text: str, index: int, key: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"Row {index}, key {key!r} holds half of a surrogate pair at character {error.start}.",
            fix="decode the text as UTF-16 or UTF-8 before sending it.",
            status=422,
        ) from None
    return text
