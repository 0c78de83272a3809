"""The settings that a method is tried with: its own, and over them what the need gives.

`prefer.settings` holds settings for all methods that know them, and under a method's name those of
that method alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sartor.core.errors import SettingError
from sartor.core.near import near_miss
from sartor.need.model import Preferences
from sartor.search.suiting import by_piece, locates, reads_pairs
from sartor.tune import writing
from sartor.tune.api import METHODS, asks
from sartor.tune.minding import MindsContexts, MindsDocuments, MindsPairs, MindsPieces
from sartor.tune.settings import owners_of, read_settings
from sartor.tune.teaching import passages_a_row

Flat = Mapping[str, Any]

LEAST_STEPS = 100
"""Optimiser steps that a fit should have: after thirty it is hardly further than it began."""
FEWEST_ROWS = 8
"""Rows of a batch at least: fewer leave a step to a row's luck, and the processor idle."""


def settings_of(method: Any, task: str) -> Sequence[Flat]:
    """The portfolio of a method for a task."""
    plain: Any = method
    if isinstance(method, MindsContexts) and locates(task):
        return plain.context_portfolio()
    if isinstance(method, MindsDocuments) and passages_a_row(task):
        return plain.document_portfolio()
    if isinstance(method, MindsPieces) and by_piece(task):
        return plain.piece_portfolio()
    minds = isinstance(method, MindsPairs) and reads_pairs(task)
    return plain.pair_portfolio() if minds else plain.portfolio()


def paced(settings: Flat, method: str, task: str, rows: int) -> Flat:
    """Settings with batches so small that few rows are steps enough, in the same epochs.

    A batch that the settings name themselves stays, and so does one that the rows fill often.

    Args:
        settings: Of a method.
        method: Its name.
        task: Name in the tasks registry.
        rows: Training rows; 0 where they are not known.
    """
    known: Any = METHODS.get(method)
    if not rows or known.reads not in ("states", "tokens") or "batch_rows" in settings:
        return settings
    loop = read_settings(settings, task=task, method=method).loop
    fitting = max(FEWEST_ROWS, rows * loop.epochs // LEAST_STEPS)
    return settings if fitting >= loop.batch_rows else {**settings, "batch_rows": fitting}


def given_to(given: Flat, method: str, known: Sequence[str]) -> Flat:
    """What a need gives a method.

    Args:
        given: `prefer.settings`.
        method: Its name.
        known: Settings that it has.
    """
    own = given.get(method)
    shared = {k: v for k, v in given.items() if k in known and not isinstance(v, Mapping)}
    return {**shared, **own} if isinstance(own, Mapping) else shared


def over(portfolio: Sequence[Flat], given: Flat) -> list[Flat]:
    """A portfolio with what is given in the place of its own; nothing is tried twice."""
    found: list[Flat] = []
    for settings in portfolio:
        whole = {**settings, **given}
        if whole not in found:
            found.append(whole)
    return found


def known_to(method: str, task: str) -> list[str]:
    """Settings of a method of encoders, of its task and of its loop; of one that asks, none."""
    if asks(method):
        return []
    return [field.name for owner in owners_of(task, method) for field in fields(owner)]


def known_to_writer(method: str) -> list[str]:
    """The same of a method that writes."""
    return [field.name for owner in writing.owners_of(method) for field in fields(owner)]


def check_given(prefer: Preferences, file: str, task: str, methods: Sequence[str]) -> list[str]:
    """Refuse settings that no method has, and values that one of the ladder cannot take.

    Args:
        prefer: The need's, with `settings`.
        file: The need's, for messages.
        task: Name in the tasks registry.
        methods: Names, of the ladder.

    Returns:
        That a setting is not read, where no method of the ladder has it.

    Raises:
        SettingError: Naming the setting.
    """
    if not prefer.settings:
        return []
    known = {name: known_to(name, task) for name in METHODS.names()}

    def read(name: str, flat: Flat) -> object:
        return read_settings(flat, task=task, method=name)

    return _checked(prefer.settings, file, (known, methods), read)


def check_given_to_writers(prefer: Preferences, file: str, methods: Sequence[str]) -> list[str]:
    """The same where answers are written."""
    known = {name: known_to_writer(name) for name in writing.WRITERS.names()}

    def read(name: str, flat: Flat) -> object:
        return writing.read_writing(flat, name)

    return _checked(prefer.settings, file, (known, methods), read)


def _checked(
    given: Flat,
    file: str,
    there: tuple[Mapping[str, Sequence[str]], Sequence[str]],
    read: Callable[[str, Flat], object],
) -> list[str]:
    known, ladder = there
    everything = {name for names in known.values() for name in names}
    for key, value in given.items():
        own = isinstance(value, Mapping)
        listed = known if own else everything
        if key not in listed:
            what = "is no method" if own else "no method has"
            raise SettingError(
                f"{file}: prefer.settings names {key!r}, which {what}.",
                fix=near_miss(key, sorted(listed)),
            )
    for name in ladder:
        mine = given_to(given, name, known[name])
        if mine and not known[name]:
            raise SettingError(
                f"{file}: prefer.settings names {name!r}, which has no settings.",
                fix="leave it out; what a language model is asked is said under prefer.llm.",
            )
        try:
            read(name, mine)
        except SettingError as error:
            raise SettingError(
                f"{file}: prefer.settings, for {name}: {error.what}",
                fix=f"{error.fix} What is for one method alone stands under its name.",
            ) from None
    used = {*ladder, *(name for each in ladder for name in known[each])}
    return [
        f"prefer.settings.{key} is not read: no method of the ladder has it."
        if key in everything
        else f"prefer.settings.{key} is not read: that method is not on the ladder."
        for key in given
        if key not in used
    ]
