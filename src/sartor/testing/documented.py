"""Whether every setting of a plug-in says what it does."""

import ast
import inspect
import textwrap
from typing import Any, cast


def undocumented(owner: type[Any]) -> list[str]:
    """Fields without a string under them."""
    body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
    lacking: list[str] = []
    for statement, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if not isinstance(statement, ast.AnnAssign) or "ClassVar" in ast.unparse(
            statement.annotation
        ):
            continue
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if not documented:
            lacking.append(ast.unparse(statement.target))
    return lacking
