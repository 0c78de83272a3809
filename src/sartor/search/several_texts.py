"""What a need says that its task has no use for: of several texts, of a question, of columns."""

from sartor.core.errors import SettingError
from sartor.core.types import Roles
from sartor.need.model import Need
from sartor.search.suiting import locates
from sartor.search.tabular import refuse_unread
from sartor.shrink.api import COMPRESSORS


def refuse_preferred(need: Need, file: str, roles: Roles) -> None:
    """Refuse it before anything is read.

    Args:
        need: As the user wrote it.
        file: Its file, for messages.
        roles: Of its task.

    Raises:
        SettingError: Naming the preference.
        UnknownName: If a compressor does not exist.
    """
    if roles.columns:
        refuse_unread(need, file)
    refuse_languages(need, file)
    if locates(need.task) and need.data.labels is not None:
        raise SettingError(
            f"{file}: data.labels lists labels, and answers of {need.task} are parts of a context.",
            fix="leave data.labels out.",
        )
    prefer, inputs = need.prefer, len(roles.inputs)
    for name in prefer.compressors or ():
        COMPRESSORS.get(name)
    if inputs < 2:
        return
    # Contexts are read in windows whatever the need says.
    if prefer.long_texts == "windows" and not locates(need.task):
        raise SettingError(
            f"{file}: prefer.long_texts is windows, and windows are of one text; {need.task} reads"
            f" {inputs}.",
            fix="leave long_texts out: the longer text of a row is cut first.",
        )
    if prefer.llm is not None:
        raise SettingError(
            f"{file}: prefer.llm is asked about one text, and {need.task} reads {inputs}.",
            fix="leave prefer.llm out.",
        )
    if prefer.pretrain != "none" and locates(need.task):
        raise SettingError(
            f"{file}: prefer.pretrain is {prefer.pretrain}, and what it brings is measured by heads"
            f" on single texts; {need.task} reads a question with its context.",
            fix="leave pretrain out.",
        )


def refuse_languages(need: Need, file: str) -> None:
    """Refuse languages that nothing is translated from or into.

    Raises:
        SettingError: Naming them.
    """
    if need.data.languages and need.task != "translation":
        raise SettingError(
            f"{file}: data.languages says what is translated into what, and {need.task} translates"
            " nothing.",
            fix="leave languages out.",
        )
