"""What one request may bring: bytes, rows, and characters of a text."""

from collections.abc import Mapping, Sequence

from sartor.core.errors import RequestError
from sartor.core.texts import Text, parts_of
from sartor.serve.runtime import Runtime
from sartor.serve.settings import ServeSettings


def capped(
    runtime: Runtime, rows: Sequence[str | Mapping[str, str]], settings: ServeSettings
) -> list[Text]:
    """The text of each row.

    Raises:
        RequestError: 413 beyond the caps, 422 for a row that cannot be used.
    """
    most, longest = settings.max_rows, settings.max_text_chars
    if len(rows) > most:
        raise RequestError(
            f"{len(rows)} rows in one request; at most {most} are taken.",
            fix="send them in several requests.",
            status=413,
        )
    texts = runtime.texts(rows)
    for row, text in enumerate(texts):
        most_chars = max(map(len, parts_of(text)))
        if most_chars > longest:
            raise RequestError(
                f"Row {row} has {most_chars:,} characters; at most {longest:,} are taken.",
                fix="shorten the text.",
                status=413,
            )
    return texts


def too_long(most: int) -> RequestError:
    """For a body of more than `most` bytes."""
    return RequestError(
        f"The body is longer than {most:,} bytes.",
        fix="send fewer or shorter rows in one request.",
        status=413,
    )
