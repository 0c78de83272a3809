"""A bundle leaves for where it will run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sartor.cli.options import AllowLlm, Json, Unreleased

if TYPE_CHECKING:
    from sartor.ship.writing import Shipped


def ship(
    bundle: Annotated[
        Path | None, typer.Argument(help="The bundle's folder.", metavar="BUNDLE")
    ] = None,
    to: Annotated[str | None, typer.Option(help="The target; --list shows them.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default NAME-TARGET here.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the target, key=value; may be repeated."),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the targets; with --to, its settings.")
    ] = False,
    unreleased: Unreleased = False,
    allow_llm: AllowLlm = None,
    json: Json = False,
) -> None:
    """Write a folder that runs a bundle elsewhere: an image, a service, a function.

    It holds the bundle as it was judged, this sartor, and the versions of all else; no secret.
    """
    from sartor.core.errors import SettingError

    if list_:
        _list(to, json)
        return
    if bundle is None or to is None:
        raise SettingError(
            "Name the bundle and where it goes.",
            fix="sartor ship BUNDLE --to docker; `sartor ship --list` shows the targets.",
        )
    from sartor.ship.writing import ship as write

    settings = _settings(set_ or ())
    found = write(bundle, to, out, settings, unreleased=unreleased, allow_llm=allow_llm or ())
    _tell(found, json)


COMMANDS = (ship,)


def _settings(words: Sequence[str]) -> dict[str, str]:
    from sartor.core.errors import SettingError

    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or key in found:
            what = "is given twice" if key in found else "is no key=value"
            raise SettingError(f"--set {word!r:.100} {what}.", fix="write e.g. --set port=9000.")
        found[key] = value
    return found


def _list(target: str | None, json: bool) -> None:
    from dataclasses import asdict

    from sartor.cli.drawing import write_json
    from sartor.ship.api import TARGETS
    from sartor.ship.settings import settings_of

    if target is not None:
        settings = settings_of(target)
        if json:
            write_json([asdict(one) for one in settings])
            return
        for one in settings:
            sys.stdout.write(f"{one.name}={one.default}\n    {one.what}\n")
        return
    found = {name: str(TARGETS.get(name).summary) for name in TARGETS.names()}  # type: ignore[attr-defined]
    if json:
        write_json([{"name": name, "summary": summary} for name, summary in found.items()])
        return
    for name, summary in found.items():
        sys.stdout.write(f"{name:16} {summary}\n")
    sys.stdout.write("The settings of one: sartor ship --to NAME --list\n")


def _tell(found: "Shipped", json: bool) -> None:
    from dataclasses import asdict

    from sartor.cli.drawing import write_json

    if json:
        handed = asdict(found.handed)
        write_json({"folder": str(found.folder), "target": found.target, **handed})
        return
    out = sys.stdout.write
    out(f"Wrote {found.folder}. What to do there is in its README.md:\n\n")
    for number, step in enumerate(found.handed.steps, 1):
        out(f"{number}. {step.what[:1].upper()}{step.what[1:]}:\n   {step.command}\n")
    out("\n")
    for note in found.handed.notes:
        out(f"- {note}\n")
