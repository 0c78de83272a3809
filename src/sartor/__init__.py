"""Sartor: a need in, a verdict and a served model out."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["load", "run"]  # pyright: ignore[reportUnsupportedDunderAll]  # by __getattr__

_LAZY = {"run": "sartor.pipeline", "load": "sartor.serve.runtime"}


def __getattr__(name: str) -> Any:
    """Resolve `sartor.run` and `sartor.load` on first use: importing sartor loads nothing."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'sartor' has no attribute {name!r}")
