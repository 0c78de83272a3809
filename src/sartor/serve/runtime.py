"""A bundle answers, in process: ONNX Runtime, tokenizers and numpy, no trainer.

A bundle without a graph holds a prompt: its answers are those of a language model behind a URL,
which is asked only where the user allows it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.core.errors import LlmDown, LlmError, RequestError, SettingError, Unanswered
from sartor.core.protocols import Floats
from sartor.core.texts import Text, written
from sartor.core.types import answer_key
from sartor.serve.beside import beside
from sartor.serve.cache import Cache
from sartor.serve.cores import cores
from sartor.serve.in_pieces import portions
from sartor.serve.opening import Model, asks_llm, composed, open_model, replies, writes
from sartor.serve.rows import check_conversation, example_row, read_row
from sartor.serve.settings import ServeSettings
from sartor.serve.unreleased import How, tell_unreleased
from sartor.serve.unreleased import UnreleasedWarning as UnreleasedWarning
from sartor.tasks import TASKS, Brief, Task

# Imported where used: ssl and asyncio alone take a tenth of the time to the first answer.
if TYPE_CHECKING:
    from sartor.llm.asker import Asker, Asks
    from sartor.serve.adapters.graph import AdaptedGraph, Whose
    from sartor.serve.adapters.store import Adapters
    from sartor.serve.batcher import Batcher
    from sartor.serve.composed import Product
    from sartor.serve.sharing import Sharing
    from sartor.serve.writer import Replies, Writes


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    unreleased: How = "warn",
    allow_llm: Collection[str] = (),
    cache_mb: float | None = None,
    verify_key: str | Path | None = None,
    adapters: "Adapters | str | Path | None" = None,
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
        adapters: Where the adapters of its users lie; all get the same answers when None.

    Raises:
        BundleError: If it is damaged, edited, too new, not signed by the key that is asked for,
            refused as unreleased, or wants to ask a server that is not allowed; if the adapters are
            another bundle's.
        SettingError: If `threads` is below 1, the cache or the adapters have no room, a server's
            key is missing, or the public key cannot be used.
    """
    if threads is not None and threads < 1:
        raise SettingError(f"threads must be at least 1. Got {threads}.", fix="leave it out.")
    # Hashing leaves the interpreter free: ONNX Runtime is imported meanwhile.
    opening = beside(lambda: open_bundle(path, verify_key=key_asked(verify_key)))
    import_module("sartor.serve.graph")
    bundle = opening()
    if not bundle.manifest.released:
        tell_unreleased(bundle, unreleased)
    return start(bundle, threads=threads, allow_llm=allow_llm, cache_mb=cache_mb, adapters=adapters)


def start(
    bundle: Bundle,
    *,
    threads: int | None = None,
    allow_llm: Collection[str] = (),
    cache_mb: float | None = None,
    adapters: "Adapters | str | Path | None" = None,
) -> "Runtime":
    """Make a bundle that was verified ready to answer, released or not.

    Args:
        bundle: From `open_bundle`.
        threads: See `load`, as for the others.
        allow_llm: URLs of language models that it may send texts to.
        cache_mb: Memory for answers.
        adapters: Of its users.

    Raises:
        BundleError: If it cannot be run, or wants to ask a server that is not allowed; if the
            adapters are another bundle's.
        SettingError: If the cache or the adapters have no room, or a server's key is missing.
    """
    from sartor.serve.indexed import decision_of

    count = threads or cores()
    cache = None if cache_mb is None else Cache(cache_mb, bundle.manifest.id)
    adapted: AdaptedGraph | None = None
    if adapters is not None:
        model: Model = (adapted := _adapted(bundle, adapters, count, cache))
    else:
        model = open_model(bundle, count, cache, allow_llm)
    task = TASKS.get(bundle.manifest.task)()
    kept = None if composed(bundle) else cache  # the parts of a product keep their own
    return Runtime(bundle, count, model, task, decision_of(bundle), kept, adapted)


def _adapted(
    bundle: Bundle, adapters: "Adapters | str | Path", threads: int, cache: Cache | None
) -> "AdaptedGraph":
    from sartor.serve.adapters.graph import open_adapted
    from sartor.serve.adapters.store import Adapters

    given = adapters if isinstance(adapters, Adapters) else Adapters(adapters)
    return open_adapted(bundle, given, threads, cache)


def open_runtime(settings: ServeSettings) -> "Runtime":
    """The bundle that a server is told to serve, warm.

    Raises:
        BundleError: If it is damaged, or unreleased without `settings.unreleased`.
    """
    how = "allow" if settings.unreleased else "refuse"
    adapters = None
    if settings.adapters is not None:
        from sartor.serve.adapters.store import Adapters

        adapters = Adapters(settings.adapters, settings.adapters_mb)
    runtime = load(
        settings.bundle,
        threads=settings.threads,
        unreleased=how,
        allow_llm=settings.allow_llm,
        cache_mb=settings.cache_mb,
        verify_key=settings.verify_key,
        adapters=adapters,
    )
    runtime.try_out()  # the first pass allocates memory: better now than in a request
    return runtime


Row = str | Sequence[str] | Mapping[str, Any]
"""A text, several texts in the order of the inputs, or a mapping from input to text."""


@dataclass(frozen=True)
class Runtime:
    """A loaded bundle; a `Predictor`. Safe to share between threads."""

    bundle: Bundle
    threads: int
    model: Model
    _task: Task
    _decision: Mapping[str, Any]
    cache: Cache | None = None
    adapted: "AdaptedGraph | None" = None
    """The model where users may have adapters of their own."""

    @property
    def id(self) -> str:
        """Content id of the bundle, 64 hex digits."""
        return self.bundle.manifest.id

    @property
    def name(self) -> str:
        return self.bundle.manifest.name

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs, in order."""
        return tuple(self.bundle.manifest.outputs)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels that an answer may hold; mostly the outputs."""
        return tuple(self._task.labels(self.outputs))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """What a row holds, in the order in which the model reads it."""
        return tuple(self.bundle.manifest.inputs)

    @property
    def target(self) -> str:
        """Under which key an answer, or a correction, holds what is predicted."""
        return answer_key(self._task.roles.target_kind)

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        """An answer in brief: what is counted, compared and stored of it."""
        return self._task.brief(answer)

    def written(self, value: Any) -> str:
        """A right answer as the store keeps it."""
        return self._task.target.text(value)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of an answer."""
        return self._task.schema(self.outputs)

    @cached_property
    def replies(self) -> "Replies | None":
        """The model where it replies to conversations, to be asked piece by piece; else None."""
        return cast("Replies", self.model) if replies(self.bundle) else None

    @property
    def writes(self) -> bool:
        """Whether any text may be an answer."""
        return writes(self.bundle)

    @cached_property
    def product(self) -> "Product | None":
        """The model where other bundles answer for it; else None."""
        return cast("Product", self.model) if composed(self.bundle) else None

    def scored(self, texts: Sequence[Text], right: Sequence[str]) -> Floats:
        """As `logits`, of a bundle that writes: with how likely it finds the right ones."""
        assert self.writes, "asked of bundles that write"
        return cast("Writes", self.model).scored(texts, right)

    @property
    def released(self) -> bool:
        return self.bundle.manifest.released

    def predict(
        self,
        rows: Sequence[Row],
        *,
        user: str | None = None,
        users: Sequence[str | None] = (),
        tenant: str | None = None,
    ) -> list[dict[str, Any]]:
        """One answer a row, in order: e.g. label, best, probabilities, a reason where it abstains.

        Args:
            rows: Texts, or mappings such as {"text": "…"}; of several texts, tuples or mappings.
            user: By whose adapter; None for the answer that all get.
            users: The user of each row, where they are not the same; None as of `user`.
            tenant: Whose user they are.

        Raises:
            RequestError: Names the row and the key that cannot be used.
            UnknownName: If a user has no adapter.
            BundleError: If an adapter is damaged, another's, or of another bundle.
            SettingError: If users are named and no adapters were loaded.
        """
        texts = self.texts(rows)
        return self.answer(texts, self._whose(users or [user] * len(texts), tenant, len(texts)))

    async def predict_async(
        self,
        rows: Sequence[Row],
        *,
        user: str | None = None,
        users: Sequence[str | None] = (),
        tenant: str | None = None,
    ) -> list[dict[str, Any]]:
        """What `predict` gives, computed in a worker thread: the event loop stays free.

        Callers that wait on the same loop share batches: while one batch is computed the others
        gather, and go out together. A caller that is cancelled takes its rows that wait away. For
        thousands of rows at once `asyncio.to_thread(runtime.predict, rows)` makes larger batches.

        Arguments and errors are those of `predict`.
        """
        texts = self.texts(rows)
        named = users or [user] * len(texts)
        return await self._sharing.submit(texts, self._whose(named, tenant, len(texts)))

    def batcher(self, max_wait_s: float = math.inf, rate: float = 0.0) -> "Batcher":
        """What lets concurrent callers on one event loop share batches.

        Args:
            max_wait_s: Work that would wait longer is refused; nothing is when infinite.
            rate: See `Batcher`.
        """
        from sartor.serve.batcher import Batcher
        from sartor.serve.pacing import pace_of

        pace = pace_of(self.bundle, self.model, self.threads, rate)
        return Batcher(self.answer, pace, max_wait_s=max_wait_s)

    def try_out(self) -> None:
        """Answer one row of the form that it reads; another's server is not asked."""
        if not asks_llm(self.bundle):
            self.predict([example_row(self.bundle.manifest, ".")])

    def asking(self, asks: "Asks") -> "Runtime":
        """The same, whose language model is asked like that; itself where it asks none."""
        if not asks_llm(self.bundle):
            return self
        return replace(self, model=replace(cast("Asker", self.model), asks=asks))

    @cached_property
    def _sharing(self) -> "Sharing":
        from sartor.serve.sharing import Sharing

        return Sharing(self.batcher)

    def _whose(self, users: Sequence[str | None], tenant: str | None, rows: int) -> "Whose":
        if isinstance(users, str) or len(users) != rows:
            raise RequestError(
                f"{rows} rows and users {users!r:.100}.", fix="name as many users as rows."
            )
        if all(user is None for user in users):
            return ()
        if self.adapted is None:
            raise SettingError(
                "Users are named, and no adapters were loaded.",
                fix='say where they lie: load(path, adapters="…").',
            )
        store = self.adapted.store
        return [None if user is None else store.get(tenant, user) for user in users]

    def texts(self, rows: Sequence[Row]) -> list[Text]:
        """What the model reads of each row, checked.

        Raises:
            RequestError: Names the row and the key that cannot be used.
        """
        if isinstance(rows, str | Mapping):
            raise RequestError(
                f"predict takes a list of rows, not one {type(rows).__name__}.",
                fix="write predict([row]).",
            )
        inputs = self.bundle.manifest.inputs
        found = [read_row(row, at, inputs) for at, row in enumerate(rows)]
        if self.replies is not None or self.product is not None:
            for index, text in enumerate(found):
                check_conversation(text, index)
        return found

    def answer(self, texts: Sequence[Text], whose: "Whose" = ()) -> list[dict[str, Any]]:
        """Answers to texts that were checked.

        Args:
            texts: Of any users.
            whose: The adapter of each; empty where there is none at all.

        Raises:
            RequestError: If a language model that the bundle asks does not answer.
        """
        if self.target not in ("entities", "answer"):
            return self._answered(texts, whose) if texts else []
        found: dict[int, dict[str, Any]] = {}
        for rows in portions(texts):
            answers = self._answered([texts[row] for row in rows])
            found.update(zip(rows, answers, strict=True))
        return [found[row] for row in range(len(texts))]

    def _answered(self, texts: Sequence[Text], whose: "Whose" = ()) -> list[dict[str, Any]]:
        if self.product is not None:
            return self.product.answers(texts, self.decoded)
        try:
            logits = self.logits(texts, whose)
        except LlmDown as error:
            raise Unanswered(error.what, fix=error.fix, status=502) from None
        except LlmError as error:
            raise RequestError(error.what, fix=error.fix, status=502) from None
        answers = self.decoded(logits, texts)
        code = self.bundle.manifest.preprocess.columns
        return answers if code is None else code.noted(answers, texts)

    def decoded(self, logits: Floats, texts: Sequence[Text] = ()) -> list[dict[str, Any]]:
        """Model outputs to answers, by the bundle's decision rule."""
        return self._task.decode(logits, self.outputs, self._decision, texts)

    def logits(self, texts: Sequence[Text], whose: "Whose" = ()) -> Floats:
        """(texts, outputs) model outputs before any decision rule, in the order of the texts."""
        if self.adapted is not None:
            return self.adapted.logits(texts, whose)
        cache, model = self.cache, self.model
        if cache is None or not asks_llm(self.bundle):
            return model.logits(texts)
        # What another's model reads of a text is not known here: it is kept by the text itself.
        keys = [cache.key(written(text).encode()) for text in texts]
        return cache.answer(keys, lambda rows: model.logits([texts[row] for row in rows]))

    def __repr__(self) -> str:
        state = f"{'' if self.released else 'un'}released"
        return f"<Runtime {self.name} {self.id[:12]}, {len(self.labels)} labels, {state}>"

    def _repr_html_(self) -> str:
        from sartor.serve.notebook import shown

        return shown(self.bundle.manifest, self.labels)
