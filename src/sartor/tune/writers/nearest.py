"""Nearest: the reply of the training text that is most like the one asked; nothing is trained.

What a search over old answers would give, or a translation memory, and what a model must beat to be
worth its price: see `llm.nearest`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from sartor.core.replies import as_numbers
from sartor.llm.nearest import FILE, Nearest, RepliesFile
from sartor.models.loading import load_tokenizer
from sartor.tune.job import Result
from sartor.tune.recipe import Watch
from sartor.tune.writing import WRITERS, WritingJob, unscored


class Replies(nn.Module):
    """Texts and their replies, as they are written to disk."""

    def __init__(self, texts: Sequence[str], replies: Sequence[str]) -> None:
        super().__init__()
        self._file = RepliesFile(texts=list(texts), replies=list(replies))

    def save(self, folder: Path) -> None:
        """Write replies.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(self._file.to_json(), encoding="utf-8")


@WRITERS.add
@dataclass(frozen=True, slots=True)
class NearestReply:
    """Looks the reply up."""

    rung: ClassVar[int] = 0
    learns: ClassVar[bool] = False
    writes: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("conversation", "text")
    begins: ClassVar[str] = "any"

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        texts, replies = [str(t) for t in job.train.texts], [str(r) for r in job.train.target]
        index = Nearest(texts, replies)
        said = [index.find(str(text)) for text in job.validation.texts]
        tokenizer = load_tokenizer(Path(job.backbone.path))
        return Result(Replies(texts, replies), tokenizer, as_numbers(said), unscored(job.train))

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{}]
