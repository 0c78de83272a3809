"""What a verified bundle answers with: a graph, a prompt, a model that writes, or other bundles."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from sartor.bundle import PARTS, Bundle
from sartor.core.protocols import Floats
from sartor.llm import nearest, prompt, translated, written
from sartor.serve.cache import Cache
from sartor.tasks import TASKS, Written


class Model(Protocol):
    """What a bundle holds."""

    def logits(self, texts: Sequence[Any]) -> Floats:
        """(texts, outputs), in the order of the texts; each a `Text`."""
        ...


def asks_llm(bundle: Bundle) -> bool:
    """Whether it answers by asking a language model behind a URL."""
    return prompt.FILE in bundle.manifest.files


def writes(bundle: Bundle) -> bool:
    """Whether it answers in words of its own, or in words that were said before."""
    named = {written.FILE, translated.FILE, nearest.FILE}
    return not named.isdisjoint(bundle.manifest.files)


def replies(bundle: Bundle) -> bool:
    """Whether what it answers are conversations."""
    target = TASKS.get(bundle.manifest.task)().target
    return writes(bundle) and isinstance(target, Written) and target.turns


def composed(bundle: Bundle) -> bool:
    """Whether other bundles, which lie inside it, answer for it."""
    return any(name.startswith(f"{PARTS}/") for name in bundle.manifest.files)


def slow(bundle: Bundle) -> bool:
    """Whether an answer takes so long that a few requests must say how long; of a product, whether
    that of a part does."""
    named = {written.FILE, translated.FILE}
    own = asks_llm(bundle) or not named.isdisjoint(bundle.manifest.files)
    return own or any(slow(bundle.part(name)) for name in bundle.parts)


def open_model(
    bundle: Bundle, threads: int, cache: Cache | None, allowed: Collection[str]
) -> Model:
    """Make it ready to answer.

    Args:
        bundle: Verified.
        threads: Of one pass.
        cache: Of a graph's logits.
        allowed: URLs of language models that it may send texts to.

    Raises:
        BundleError: If it cannot be run, or wants to ask a server that is not allowed.
        SettingError: If a server's key is missing.
    """
    # What a graph in process does without is imported where it is used.
    if asks_llm(bundle):
        return _asker(bundle, allowed)
    if translated.FILE in bundle.manifest.files:
        from sartor.serve.translator import open_translator

        return open_translator(bundle, threads)
    if composed(bundle):
        from sartor.serve.composed import open_product

        return open_product(bundle, threads, cache)
    if writes(bundle):
        from sartor.serve.writer import open_writer

        return open_writer(bundle, threads)
    from sartor.serve import indexed

    return indexed.open_model(bundle, threads, cache)


def _asker(bundle: Bundle, allowed: Collection[str]) -> Model:
    from sartor.llm.access import check_access
    from sartor.llm.asker import Asker
    from sartor.llm.chat import Chat

    found = prompt.read_prompt(bundle.path(prompt.FILE))
    check_access(found, bundle.folder, allowed)
    outputs = tuple(bundle.manifest.outputs)
    return Asker(found, outputs, Chat(found.url, found.model, found.key))
