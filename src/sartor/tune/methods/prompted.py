"""Prompted: a language model is shown the labels and a few examples, and asked.

Few-shot prompting: Brown et al. 2020, https://arxiv.org/abs/2005.14165. Nothing is trained and no
weight is touched; `search.asking` puts the questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from sartor.tune.api import METHODS, Dimension, Reads


@METHODS.add
@dataclass(frozen=True, slots=True)
class Prompted:
    """Asks the language model that the need names under `prefer.llm`."""

    reads: ClassVar[Reads] = "answers"
    # Behind what takes seconds here and sends no text away, before what trains for minutes.
    rung: ClassVar[int | None] = 15

    examples: Annotated[int, Ge(0), Le(64)] = 8
    """Labelled training texts that each question shows."""

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # Every further setting would be asked about every validation row.
        return [{"examples": 8}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {}
