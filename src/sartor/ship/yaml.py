"""YAML files for people: keys in the order given, a comment on top."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML


def to_yaml(documents: Sequence[Any], heading: str) -> str:
    """One file of several documents.

    Args:
        documents: Of plain mappings, lists, texts, numbers and truths.
        heading: Lines of the comment above them, without `#`.
    """
    writer = YAML()
    writer.width = 1_000  # a command broken over lines is hard to read
    writer.indent(mapping=2, sequence=4, offset=2)
    parts: list[str] = []
    for document in documents:
        stream = StringIO()
        writer.dump(document, stream)  # pyright: ignore[reportUnknownMemberType]
        parts.append(stream.getvalue())
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    return comment + "---\n".join(parts)
