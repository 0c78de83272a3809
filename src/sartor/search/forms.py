"""The forms of one model, by the compressors that leave them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sartor.search.chains import Chain, title
from sartor.search.product import Product
from sartor.search.time_left import OutOfTime
from sartor.shrink.api import Form


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

    def of(self, chain: Chain) -> Form:
        """
        Raises:
            NothingToShrink: If a compressor of the chain finds nothing to work on, or no time.
        """
        if chain not in self.made:
            self.made[chain] = self._left_by(chain)
        return self.made[chain]

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
