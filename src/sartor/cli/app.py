"""The commands, grouped by what they are for. `sartor --help` imports none of the stages."""

import sys
from typing import Annotated

import typer

from sartor import __version__
from sartor.cli import (
    bundles,
    cost,
    data,
    deploying,
    feedback,
    keys,
    models,
    needs,
    personal,
    search,
    serving,
    shipping,
    system,
)

app = typer.Typer(
    name="sartor",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A need in, a verdict and a served model out. Start with `sartor init DATA.csv`.",
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"sartor {__version__}\n")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    """What can be asked without a command."""


for group in (needs, serving, deploying, shipping, personal, cost, system):
    for command in group.COMMANDS:
        app.command(name=command.__name__.rstrip("_"))(command)
app.add_typer(system.starters, name="starters")
app.add_typer(bundles.app, name="bundle")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(search.app, name="search")
app.add_typer(feedback.app, name="feedback")
app.add_typer(keys.app, name="keys")
