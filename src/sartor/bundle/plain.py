"""Plain files that nobody vouches for: bounded when they are read, strict when they are parsed."""

import errno
import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sartor.core.errors import BundleError
from sartor.core.forms import first_fault

MAX_JSON_BYTES = 1_000_000
_Form = TypeVar("_Form", bound=BaseModel)


def read_bytes(place: Path, most: int) -> bytes:
    """All of a file.

    Args:
        place: No link.
        most: Bytes that it may have.

    Raises:
        FileNotFoundError: If there is no such file.
        BundleError: If it is a link or no file, or larger.
    """
    # Opened once and then looked at: between two looks by name it could become something else.
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _no_plain_file(place) from None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _no_plain_file(place)
        data = file.read(most + 1)
    if len(data) > most:
        raise BundleError(
            f"{place} is larger than {most / 1e6:,.0f} MB.", fix="copy it again, or make it anew."
        )
    return data


def _no_plain_file(place: Path) -> BundleError:
    return BundleError(f"{place} is not a plain file.", fix="copy the whole folder again.")


def read_form(kind: type[_Form], place: Path, newest: int) -> _Form:
    """A JSON file of a form that says its `format`.

    Args:
        kind: The form.
        place: The file.
        newest: Format that is read.

    Raises:
        FileNotFoundError: If there is no such file.
        BundleError: If it is not of the form, or of a newer one.
    """
    data = read_bytes(place, MAX_JSON_BYTES)
    try:
        found = kind.model_validate_json(data)
    except ValidationError as error:
        raise BundleError(
            f"{place} is not of its form: {first_fault(error)}.",
            fix="copy it again, or make it anew.",
        ) from None
    if (newer := getattr(found, "format", newest)) > newest:
        raise BundleError(
            f"{place} has format {newer}; this sartor reads up to {newest}.",
            fix="upgrade with `pip install -U sartor`.",
        )
    return found


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Be the only one, among all processes, that changes what is below a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
