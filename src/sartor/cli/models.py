"""Pretrained models for a need: list them, rank them on its rows."""

import sys
from typing import Annotated

import typer

from sartor.cli.options import HERE, Json, NeedFile, Quiet, Where

app = typer.Typer(
    help="Pretrained models: list them, rank them on your rows.", no_args_is_help=True
)


@app.command()
def rank(
    need: NeedFile,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[BACKBONE]...", help="Further backbones.")
    ] = None,
    backbones: Annotated[
        list[str] | None,
        typer.Option(help="What to rank: names, folders, hub ids, minilm@4 for 4 layers."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Training rows to look at, at most.")] = 1024,
    workspace: Where = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which backbone fits the need's rows best, before anything is tuned."""
    from sartor.cli.drawing import drawing, write_json
    from sartor.search.choosing import rank_need

    # `--backbones a b c`: the option takes one word, the others arrive as arguments.
    names = [*(backbones or ()), *(more or ())]
    with drawing(quiet=quiet) as emit:
        ranking = rank_need(need, names, rows=rows, workspace=workspace, emit=emit)
    if json:
        write_json(ranking.as_json())
        return
    from rich.console import Console

    from sartor.report.ranking import ranking_table

    Console(highlight=False).print(ranking_table(ranking.as_json()))
    sys.stdout.write(f"{ranking.advice()}\n")


@app.command(name="list")
def list_(json: Json = False) -> None:
    """List the pretrained models at hand, with what they cost."""
    from sartor.cli.drawing import write_json
    from sartor.models.catalogue import find_backbone, list_starters

    found = [find_backbone(s.name) for s in list_starters() if s.installed and s.kind == "encoder"]
    if json:
        write_json(
            [
                {"name": b.name, "licence": b.licence, "languages": b.languages}
                | {"parameters": b.parameters, "layers": b.layers, "width": b.width}
                for b in found
            ]
        )
        return
    for b in found:
        languages = "many languages" if "*" in b.languages else ", ".join(b.languages)
        sys.stdout.write(
            f"{b.name:10} {b.parameters / 1e6:,.1f} M weights, {b.layers} layers, {languages}"
            f" ({b.licence}); {b.name}@N is its first N layers\n"
        )
    sys.stdout.write("`sartor starters` lists those that are not installed.\n")
