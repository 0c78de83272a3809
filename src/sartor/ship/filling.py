"""Text templates whose blanks look like `@name@`, which no format written here uses itself."""

import re
from collections.abc import Mapping

_BLANK = re.compile(r"@([a-z_]+)@")


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with every blank replaced; a line whose only content is an empty blank goes.

    Raises:
        KeyError: If a blank has no value.
    """
    lines: list[str] = []
    for line in template.splitlines():
        filled = _BLANK.sub(lambda found: str(values[found[1]]), line)
        if filled.strip() or not line.strip():
            lines.append(filled)
    return "\n".join(lines) + "\n"
