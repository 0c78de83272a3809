"""What a model replies to: one message of a user, or a conversation as a JSON list.

    Where is my order?
    [{"role": "system", "content": "You are a shop."}, {"role": "user", "content": "Hello"}]

What is said is data: it is read without the model's control tokens (see `llm.written`), so a
message that spells one of them neither ends itself nor begins another.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sartor.core.unfit import Unfit

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
MOST_MESSAGES = 200


class NoConversation(Unfit):
    """Messages that no model could reply to; what is wrong with them is a whole sentence."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str


def conversation_of(text: str) -> tuple[Message, ...]:
    """The messages that a text stands for; a text that is no JSON list of objects is one message.

    Raises:
        NoConversation: If it is such a list and cannot be replied to.
    """
    found = _listed(text)
    return (Message("user", text),) if found is None else checked(found)


def checked(given: Sequence[Any]) -> tuple[Message, ...]:
    """Messages that nobody vouches for.

    Raises:
        NoConversation: Says which message cannot be used.
    """
    if not given or len(given) > MOST_MESSAGES:
        raise NoConversation(
            f"{len(given)} messages are not a conversation of 1 to {MOST_MESSAGES}",
            'write at least {"role": "user", "content": "…"}',
        )
    messages = tuple(_message(each, place) for place, each in enumerate(given))
    if any(message.role == "system" for message in messages[1:]):
        raise NoConversation("a system message stands behind others", "put it first")
    turns = [message.role for message in messages if message.role != "system"]
    if turns != [("user", "assistant")[place % 2] for place in range(len(turns))]:
        raise NoConversation(
            f"the turns are {', '.join(turns) or 'none'}",
            "let user and assistant take turns, the user first",
        )
    if not turns or turns[-1] != "user":
        raise NoConversation("the last message is not the user's", "end with what is replied to")
    return messages


def as_text(messages: Sequence[Message]) -> str:
    """The inverse of `conversation_of`."""
    if len(messages) == 1 and _listed(messages[0].content) is None:
        return messages[0].content
    listed = [{"role": each.role, "content": each.content} for each in messages]
    return json.dumps(listed, ensure_ascii=False)


def informed(messages: Sequence[Message], words: Sequence[str]) -> tuple[Message, ...]:
    """The messages, with what should be known for a reply at the end of the system message.

    Args:
        messages: From `conversation_of`.
        words: Blank ones are left out; the messages stay as they are where there is no other.
    """
    known = [each.strip() for each in words if each.strip()]
    if not known:
        return tuple(messages)
    system = [each.content for each in messages if each.role == "system"]
    turns = (each for each in messages if each.role != "system")
    return (Message("system", "\n\n".join([*system, *known])), *turns)


def question_of(text: str) -> str:
    """The last thing the user said; the text itself where it is no conversation."""
    try:
        return conversation_of(text)[-1].content
    except NoConversation:
        return text


def _listed(text: str) -> list[Any] | None:
    """The objects of a JSON list; None where the text is something else."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not found:
        return None
    each = cast("list[Any]", found)
    return each if all(isinstance(one, dict) for one in each) else None


def _message(given: Any, place: int) -> Message:
    if not isinstance(given, Mapping):
        raise NoConversation(f"message {place} is no object", 'write {"role": …, "content": …}')
    named = cast("Mapping[Any, Any]", given)
    role, content = named.get("role"), named.get("content")
    if role not in ROLES:
        raise NoConversation(
            f"message {place} has the role {str(role)[:40]!r}", f"use one of {', '.join(ROLES)}"
        )
    if not isinstance(content, str) or not content.strip():
        raise NoConversation(f"message {place} says nothing", 'put a text under "content"')
    try:
        content.encode()
    except UnicodeEncodeError as error:
        # JSON spells it as an escape, so that the text around it may be whole.
        raise NoConversation(
            f"message {place} holds half of a surrogate pair at character {error.start}",
            "write both halves of the pair, or neither",
        ) from None
    if odd := [str(name) for name in named if name not in ("role", "content")]:
        raise NoConversation(
            f"message {place} has the key {odd[0][:40]!r}", 'leave only "role" and "content"'
        )
    return Message(role, content)
