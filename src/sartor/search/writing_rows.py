"""Rows of conversations with replies, looked through before anything is learnt from them.

What cannot be replied to, or not be written by the model, is refused with file and row; what is
only read otherwise than the user may think is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sartor.core.errors import DataError
from sartor.core.events import Emit, Note
from sartor.core.types import Backbone
from sartor.data.table import FILE, ROW, Columns, place, texts_of
from sartor.llm.conversation import NoConversation, conversation_of
from sartor.tune.conversing import Conversing
from sartor.tune.writing import LONGEST_REPLY, context_of


@dataclass(frozen=True, slots=True)
class Rowwise:
    """What rows are looked through for.

    Args:
        backbone: That is to write.
        says: How it reads conversations.
        emit: Progress.
    """

    backbone: Backbone
    says: Conversing
    emit: Emit


def check_rows(frame: pl.DataFrame, columns: Columns, by: Rowwise) -> None:
    """Look through clean rows.

    Args:
        frame: From `data.clean`.
        columns: Which hold texts and replies.
        by: See `Rowwise`.

    Raises:
        DataError: For the first row whose text is no conversation, or whose reply the tokenizer
            does not give back; with the number of such rows.
    """
    texts = [text or "" for text in texts_of(frame[columns.text])]
    replies = [reply or "" for reply in texts_of(frame[columns.label])]
    places = [place(str(f), int(r)) for f, r in zip(frame[FILE], frame[ROW], strict=True)]
    check_conversations(frame, columns)
    _refuse_changed(replies, places, by)
    spelt = [i for i, text in enumerate(texts) if any(c in text for c in by.says.spelt)]
    if spelt:
        by.emit(
            Note(
                f"{_some(len(spelt), 'text')} {_spell(len(spelt))} a control token of"
                f" {by.backbone.name}, the first at {places[spelt[0]]}: it is read as plain text.",
                "warning",
            )
        )
    _tell_of_long(texts, replies, places, by)


def check_conversations(frame: pl.DataFrame, columns: Columns) -> None:
    """Look through rows whose texts may be conversations.

    Args:
        frame: From `data.clean`.
        columns: Which hold texts.

    Raises:
        DataError: For the first row whose text begins as one and is none; with their number.
    """
    faults: list[tuple[str, NoConversation]] = []
    places = zip(frame[FILE], frame[ROW], strict=True)
    for text, (file, row) in zip(texts_of(frame[columns.text]), places, strict=True):
        try:
            conversation_of(text or "")
        except NoConversation as error:
            faults.append((place(str(file), int(row)), error))
    if faults:
        where, first = faults[0]
        more = f" {len(faults):,} such rows." if len(faults) > 1 else ""
        raise DataError(f"{where}: {first.what}.{more}", fix=f"{first.fix}.")


def _refuse_changed(replies: Sequence[str], places: Sequence[str], by: Rowwise) -> None:
    changed = [i for i, reply in enumerate(replies) if not by.says.survives(reply)]
    if not changed:
        return
    first = changed[0]
    back = by.says.text(by.says.said(replies[first]))
    more = f" {len(changed):,} such rows." if len(changed) > 1 else ""
    raise DataError(
        f"{places[first]}: the tokenizer of {by.backbone.name} gives the reply"
        f" {replies[first][:60]!r} back as {back[:60]!r}, so it could never be written.{more}",
        fix="correct the replies, take the rows out, or name another model under prefer.backbones.",
    )


def _tell_of_long(
    texts: Sequence[str], replies: Sequence[str], places: Sequence[str], by: Rowwise
) -> None:
    context = context_of(by.backbone)
    most = min(LONGEST_REPLY, context // 2)
    long_replies = [i for i, reply in enumerate(replies) if len(by.says.said(reply)) > most]
    if long_replies:
        by.emit(
            Note(
                f"{_some(len(long_replies), 'reply', 'replies')} of more than {most:,} tokens, the"
                f" first at {places[long_replies[0]]}: what comes after is not learnt to its end.",
                "warning",
            )
        )
    # A character is rarely more than a token: most rows need not be read for this.
    room = context - most
    long_texts = [
        i
        for i, text in enumerate(texts)
        if len(text) > room
        and sum(len(by.says.said(m.content)) for m in conversation_of(text)) > room
    ]
    if long_texts:
        by.emit(
            Note(
                f"{_some(len(long_texts), 'text')} of more than {room:,} tokens, the first at"
                f" {places[long_texts[0]]}: the oldest turns are left out, then the end is cut.",
                "warning",
            )
        )


def _some(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _spell(count: int) -> str:
    return "spells" if count == 1 else "spell"
