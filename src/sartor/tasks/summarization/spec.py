"""Summarization: a document in, what matters of it out.

The same as translation but for what it is asked to keep: see `tasks.translation`.
"""

from dataclasses import dataclass

from sartor.tasks import TASKS
from sartor.tasks._target.reply import FreeText
from sartor.tasks.text_generation.spec import TextGeneration


@TASKS.add
@dataclass(frozen=True, slots=True)
class Summarization(TextGeneration):
    """A document in, its summary out."""

    @property
    def target(self) -> FreeText:
        return FreeText(turns=False)

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- rouge_l >= 0.25                      # words shared with the right one, in order",
            "- length_ratio <= 1.5                  # words of all summaries to all right ones",
            "# - rouge_1 >= 0.35",
            "# - rouge_2 >= 0.12",
            "# - rouge_l >= baseline + 0.03         # needs data.baseline: today's summaries",
        ]
