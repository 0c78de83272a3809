"""A bundle answers, in process: ONNX Runtime, tokenizers and numpy, no trainer.

A bundle without a graph holds a prompt: its answers are those of a language model behind a URL,
which is asked only where the user allows it.
"""

import html
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.errors import BundleError, LlmError, RequestError, SettingError
from sartor.core.near import near_miss
from sartor.core.protocols import Floats
from sartor.llm import prompt
from sartor.serve.beside import beside
from sartor.serve.cache import Cache
from sartor.serve.cores import cores
from sartor.serve.settings import ServeSettings
from sartor.tasks import TASKS, Task

# What a graph in process does without is imported where it is used: ssl and asyncio alone take a
# tenth of the time to the first answer.
if TYPE_CHECKING:
    from sartor.llm.asker import Asker, Asks
    from sartor.serve.batcher import Batcher
    from sartor.serve.sharing import Sharing


class UnreleasedWarning(UserWarning):
    """The bundle answers although its need was not shown to be met."""


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    unreleased: Literal["warn", "allow", "refuse"] = "warn",
    allow_llm: Collection[str] = (),
    cache_mb: float | None = None,
    verify_key: str | Path | None = None,
) -> "Runtime":
    """Verify a bundle and make it ready to answer.

    Args:
        path: The bundle's folder.
        threads: For one forward pass; the cores this process may use when None.
        unreleased: What to do about a bundle whose need is unmet or unproven.
        allow_llm: URLs of language models that it may send texts to, beside those in
            SARTOR_ALLOW_LLM; see `llm.access`.
        cache_mb: Memory for answers, so that a text which comes again is not computed again;
            nothing is kept when None. See `serve.cache` for what that gives away.
        verify_key: PEM file of the public key that must have signed it; that in SARTOR_VERIFY_KEY
            when None, and "" for none.

    Raises:
        BundleError: If it is damaged, edited, too new, not signed by the key that is asked for,
            refused as unreleased, or wants to ask a server that is not allowed.
        SettingError: If `threads` is below 1, the cache has no room, a server's key is missing, or
            the public key cannot be used.
    """
    if threads is not None and threads < 1:
        raise SettingError(f"threads must be at least 1. Got {threads}.", fix="leave it out.")
    # Hashing leaves the interpreter free: ONNX Runtime is imported meanwhile.
    opening = beside(lambda: open_bundle(path, verify_key=key_asked(verify_key)))
    import_module("sartor.serve.graph")
    bundle = opening()
    if not bundle.manifest.released:
        _unreleased(bundle, unreleased)
    return start(bundle, threads=threads, allow_llm=allow_llm, cache_mb=cache_mb)


def start(
    bundle: Bundle,
    *,
    threads: int | None = None,
    allow_llm: Collection[str] = (),
    asks: "Asks | None" = None,
    cache_mb: float | None = None,
) -> "Runtime":
    """Make a bundle that was verified ready to answer, released or not.

    Args:
        bundle: From `open_bundle`.
        threads: See `load`, as for the others.
        allow_llm: URLs of language models that it may send texts to.
        asks: How a language model is asked; without a memory when None.
        cache_mb: Memory for answers.

    Raises:
        BundleError: If it cannot be run, or wants to ask a server that is not allowed.
        SettingError: If the cache has no room, or a server's key is missing.
    """
    from sartor.serve.graph import open_graph

    count = threads or cores()
    cache = None if cache_mb is None else Cache(cache_mb, bundle.manifest.id)
    if asks_llm(bundle):
        model: Model = _asker(bundle, allow_llm, asks)
    else:
        model = open_graph(bundle, count, cache)
    task = TASKS.get(bundle.manifest.task)()
    return Runtime(bundle=bundle, threads=count, model=model, _task=task, cache=cache)


def asks_llm(bundle: Bundle) -> bool:
    """Whether it answers by asking a language model behind a URL."""
    return prompt.FILE in bundle.manifest.files


def _asker(bundle: Bundle, allowed: Collection[str], asks: "Asks | None") -> "Asker":
    from sartor.llm.access import check_access
    from sartor.llm.asker import Asker, Asks
    from sartor.llm.chat import Chat

    found = prompt.read_prompt(bundle.path(prompt.FILE))
    check_access(found, bundle.folder, allowed)
    outputs = tuple(bundle.manifest.outputs)
    return Asker(found, outputs, Chat(found.url, found.model, found.key), asks or Asks())


def open_runtime(settings: ServeSettings) -> "Runtime":
    """The bundle that a server is told to serve, warm.

    Raises:
        BundleError: If it is damaged, or unreleased without `settings.unreleased`.
    """
    how = "allow" if settings.unreleased else "refuse"
    runtime = load(
        settings.bundle,
        threads=settings.threads,
        unreleased=how,
        allow_llm=settings.allow_llm,
        cache_mb=settings.cache_mb,
        verify_key=settings.verify_key,
    )
    # The first pass allocates memory; better now than in a user's request. Another's server is
    # asked for users alone.
    if not asks_llm(runtime.bundle):
        runtime.answer(["."])
    return runtime


class Model(Protocol):
    """What a bundle holds: a graph, or a prompt."""

    def logits(self, texts: Sequence[str]) -> Floats:
        """(texts, outputs), in the order of the texts."""
        ...


@dataclass(frozen=True)
class Runtime:
    """A loaded bundle; a `Predictor`. Safe to share between threads."""

    bundle: Bundle
    threads: int
    model: Model
    _task: Task
    cache: Cache | None = None

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

    async def predict_async(self, rows: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What `predict` gives, computed in a worker thread: the event loop stays free.

        Callers that wait on the same loop share batches: while one batch is computed the others
        gather, and go out together. A caller that is cancelled takes its rows that wait away. For
        thousands of rows at once `asyncio.to_thread(runtime.predict, rows)` makes larger batches.

        Args:
            rows: Texts, or mappings such as {"text": "…"}.

        Raises:
            RequestError: Names the row and the key that cannot be used.
        """
        return await self._sharing.submit(self.texts(rows))

    def batcher(self, max_wait_s: float = math.inf, rate: float = 0.0) -> "Batcher":
        """What lets concurrent callers on one event loop share batches.

        Args:
            max_wait_s: Work that would wait longer is refused; nothing is when infinite.
            rate: See `Batcher`.
        """
        from sartor.llm.asker import WORKERS
        from sartor.serve.batcher import LONGEST_CHARS, Batcher

        # Another's server computes while we wait for it: several batches may be in the air.
        workers = WORKERS if asks_llm(self.bundle) else 1
        windows = self.bundle.manifest.preprocess.windows
        longest = LONGEST_CHARS * (windows.most if windows else 1)
        return Batcher(
            self.answer, workers=workers, max_wait_s=max_wait_s, longest=longest, rate=rate
        )

    @cached_property
    def _sharing(self) -> "Sharing":
        from sartor.serve.sharing import Sharing

        return Sharing(self.batcher)

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
        """Answers to texts that were checked.

        Raises:
            RequestError: If a language model that the bundle asks does not answer.
        """
        if not texts:
            return []
        try:
            logits = self.logits(texts)
        except LlmError as error:
            raise RequestError(error.what, fix=error.fix, status=502) from None
        return self._task.decode(logits, self.outputs, self.bundle.manifest.decision)

    def logits(self, texts: Sequence[str]) -> Floats:
        """(texts, outputs) model outputs before any decision rule, in the order of the texts."""
        cache, model = self.cache, self.model
        if cache is None or not asks_llm(self.bundle):
            return model.logits(texts)
        # What another's model reads of a text is not known here: it is kept by the text itself.
        keys = [cache.key(text.encode()) for text in texts]
        return cache.answer(keys, lambda rows: model.logits([texts[row] for row in rows]))

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
