"""What a run searched: the ladder, its trials, what mattered."""

import sys
from typing import Any

import typer

from sartor.cli.options import HERE, Json, RunNumber, Where

app = typer.Typer(help="What a run searched: show.", no_args_is_help=True)


@app.callback()
def of_search() -> None:
    """What a run searched: show."""


@app.command()
def show(run: RunNumber = None, workspace: Where = HERE, json: Json = False) -> None:
    """Show the ladder as climbed, its trials, what none beats, and which settings mattered."""
    from sartor.cli.drawing import write_json
    from sartor.core.workspace import Workspace
    from sartor.report.searched import summary, tables

    result: dict[str, Any] = Workspace.open(workspace).run(run).read_json("result.json")
    if json:
        write_json(summary(result))
        return
    from rich.console import Console

    screen = Console(highlight=False)
    for part in tables(result, result.get("language", "en")):
        if isinstance(part, str):
            sys.stdout.write(f"{part}\n")
        else:
            screen.print(part)
