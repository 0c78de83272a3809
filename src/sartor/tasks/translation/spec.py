"""Translation: a text in one language in, the same in another out.

What a model writes travels, is decoded and is compared as replies are; what it reads is a text and
never a conversation. Whatever the two languages are, the rows say.
"""

from dataclasses import dataclass

from sartor.tasks import TASKS
from sartor.tasks._target.reply import FreeText
from sartor.tasks.text_generation.spec import TextGeneration


@TASKS.add
@dataclass(frozen=True, slots=True)
class Translation(TextGeneration):
    """A text in, its translation out."""

    @property
    def target(self) -> FreeText:
        return FreeText(turns=False)

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- chrf >= 30                           # 0 to 100: runs of characters in common",
            "- placeholders_kept >= 0.95            # of texts with %(name)s, {} or <b>",
            "# - bleu >= 25                         # 0 to 100, over all rows together",
            "# - exact_match >= 0.30",
            "# - chrf >= baseline + 2               # needs data.baseline: today's translations",
        ]
