"""Methods that begin with other settings where a task reads, or answers with, other than a text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class MindsPairs(Protocol):
    """A method that does otherwise, or nothing, where a row is two texts."""

    @staticmethod
    def pair_obstacle(outputs: Sequence[str]) -> str:
        """Why it cannot be used on pairs with these labels, or ""."""
        ...

    @staticmethod
    def pair_portfolio() -> Sequence[Mapping[str, Any]]:
        """As `portfolio`, for pairs."""
        ...


@runtime_checkable
class MindsPieces(Protocol):
    """A method that does otherwise where the answers are about pieces of a text."""

    @staticmethod
    def piece_portfolio() -> Sequence[Mapping[str, Any]]:
        """As `portfolio`, for pieces."""
        ...


@runtime_checkable
class MindsContexts(Protocol):
    """A method that does otherwise where the answers are parts of a context."""

    @staticmethod
    def context_portfolio() -> Sequence[Mapping[str, Any]]:
        """As `portfolio`, for contexts."""
        ...


@runtime_checkable
class MindsDocuments(Protocol):
    """A method that does otherwise where the outputs are documents, which it reads too."""

    @staticmethod
    def document_portfolio() -> Sequence[Mapping[str, Any]]:
        """As `portfolio`, for documents."""
        ...
