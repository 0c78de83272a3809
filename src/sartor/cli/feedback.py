"""Feedback as data: export it, draw an audit sample, forget a user."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sartor.cli.options import HERE, Json, Tenant, Where

if TYPE_CHECKING:
    from sartor.core.store import Store

app = typer.Typer(help="What users sent: export, audit, delete.", no_args_is_help=True)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help=".jsonl or .csv file to write.")],
    tenant: Tenant = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Write corrections and confirmations as a dataset."""
    from sartor.cli.drawing import write_json
    from sartor.listen.export import corrections, write_dataset

    with _store(workspace) as store:
        rows = corrections(store, tenant=tenant)
    write_dataset(rows, to)
    if json:
        write_json({"file": str(to), "rows": len(rows)})
    else:
        sys.stdout.write(f"Wrote {to}: {len(rows):,} rows.\n")


@app.command()
def audit(
    n: Annotated[int, typer.Option("--n", help="How many served requests to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed draws the same rows.")] = 0,
    workspace: Where = HERE,
    json: Annotated[bool, typer.Option("--json", help="JSON lines are what it prints.")] = True,
) -> None:
    """Draw a random sample of served requests for labelling, one JSON object a line."""
    from sartor.cli.drawing import write_json
    from sartor.listen.feedback import draw_audit

    with _store(workspace) as store:
        for row in draw_audit(store, n, seed):
            write_json(asdict(row))


@app.command()
def delete(
    user: Annotated[str, typer.Option(help="The user to forget.")],
    tenant: Tenant = None,
    adapters: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of adapters outside the workspace; may be repeated."),
    ] = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Delete everything that is kept of a user, and every model of their own.

    What remains is a line in the store that says when, under which tenant and how much, not whose.
    """
    from sartor.cli.drawing import write_json
    from sartor.core.workspace import Workspace
    from sartor.search.forgetting import forget_user

    gone = forget_user(Workspace.open(workspace), user, tenant, adapters or ())
    if json:
        write_json(asdict(gone))
    else:
        sys.stdout.write(
            f"Deleted {gone.predictions:,} answers, {gone.feedback:,} opinions"
            f" and {gone.adapters:,} adapters.\n"
        )


def _store(workspace: Path) -> "Store":
    from sartor.core.store import Store
    from sartor.core.workspace import Workspace

    return Store.open(Workspace.open(workspace).store)
