"""The forms of one model, by the compressors that leave them."""

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sartor.core.errors import (
    Interrupted,
    LlmError,
    NothingToShrink,
    SartorError,
    WorkspaceError,
)
from sartor.search.chains import Chain, title
from sartor.search.product import Product
from sartor.search.time_left import OutOfTime
from sartor.shrink.api import Form

_OTHERS = "take another form of the model."
_LONGEST = 300
"""Characters of another library's words that are kept."""


class Failed(NothingToShrink):
    """A compressor failed, or what it left cannot be run: there is one form less."""


class Compressing(Protocol):
    """What writes into a folder what a compressor leaves of a form."""

    def __call__(self, name: str, source: Form, named: str) -> Callable[[Path], None]:
        """
        Args:
            name: Of the compressor.
            source: What it works on.
            named: What it leaves, as `TimeLeft` knows it; empty for what is made in any case.
        """
        ...


@dataclass(frozen=True, slots=True)
class Forms:
    """Each is made once.

    Args:
        product: What they are forms of.
        stage: Keeps a graph under a name; built once, found again on resume.
        compressing: See `Compressing`.
        always: Chains that are made whatever time is left.
        made: Those there are.
        late: Compressors that no time was left for, in the order in which they were to be tried.
    """

    product: Product
    stage: Callable[[str, Callable[[Path], None]], Path]
    compressing: Compressing
    always: Collection[Chain]
    made: dict[Chain, Form] = field(default_factory=dict[Chain, Form])
    late: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Title of a form to why it cannot be made or run; what failed once is not tried again."""

    def of(self, chain: Chain) -> Form:
        """
        Raises:
            NothingToShrink: If a compressor of the chain finds nothing to work on, or no time, or
                fails.
        """
        if chain not in self.made:
            with self.tried(chain):
                self.made[chain] = self._left_by(chain)
        return self.made[chain]

    @contextmanager
    def tried(self, chain: Chain) -> Generator[None]:
        """Whatever a form fails with, the others can ship: it is left out. What stops the run is
        not the form's, nor is a judge that does not answer, and the model as exported has to be
        there.

        Raises:
            Failed: If making or running the form fails, or did before.
        """
        name = title(chain, self.product.form)
        if name in self.failed:
            raise Failed(f"{name} failed before: {self.failed[name]}", fix=_OTHERS)
        try:
            yield
        except (Interrupted, LlmError, NothingToShrink, OSError, WorkspaceError):
            raise
        except Exception as error:
            if not chain:
                raise
            self.failed[name] = _told(error)
            raise Failed(f"{name} failed: {self.failed[name]}", fix=_OTHERS) from error

    def fit_of(self, chain: Chain) -> Path | None:
        """The fit it comes from: what a compressor of graphs leaves is still that model, in fewer
        bytes."""
        return self.of(chain).fit or (self.fit_of(chain[:-1]) if chain else None)

    def _left_by(self, chain: Chain) -> Form:
        name = title(chain, self.product.form)
        if not chain:
            return self.product.written(self.stage(name, self.product.write))
        source = self.of(chain[:-1])
        anyhow = any(each[: len(chain)] == chain for each in self.always)
        named = "" if anyhow else f"{self.product.key[:16]} {name}"
        try:
            return source.left_in(self.stage(name, self.compressing(chain[-1], source, named)))
        except OutOfTime:
            if chain[-1] not in self.late:
                self.late.append(chain[-1])
            raise


def _told(error: Exception) -> str:
    """In one line."""
    said = error.what if isinstance(error, SartorError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())[:_LONGEST]
