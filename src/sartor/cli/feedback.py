"""Feedback as data: export it, draw an audit sample, forget a user, manage keys."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sartor.cli.options import HERE, Json, Where

if TYPE_CHECKING:
    from sartor.core.store import Store

app = typer.Typer(help="What users sent: export, audit, delete.", no_args_is_help=True)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help=".jsonl or .csv file to write.")],
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Write corrections and confirmations as a dataset."""
    from sartor.cli.drawing import write_json
    from sartor.listen.export import corrections, write_dataset

    with _store(workspace) as store:
        rows = corrections(store)
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
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Delete everything that is kept of a user."""
    from sartor.cli.drawing import write_json
    from sartor.listen.export import delete_user

    with _store(workspace) as store:
        gone = delete_user(store, user)
    if json:
        write_json(asdict(gone))
    else:
        sys.stdout.write(f"Deleted {gone.predictions:,} answers and {gone.feedback:,} opinions.\n")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    revoke: Annotated[int | None, typer.Option(help="Number of a key to revoke instead.")] = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Make an API key for the server; it is shown once and kept as a hash."""
    from sartor.cli.drawing import write_json

    with _store(workspace) as store:
        if revoke is not None:
            store.revoke_key(revoke)
            said = {"revoked": revoke}, f"Revoked key {revoke}."
        else:
            token = store.add_key(name)
            said = {"name": name, "key": token}, token
    if json:
        write_json(said[0])
    else:
        sys.stdout.write(f"{said[1]}\n")


def _store(workspace: Path) -> "Store":
    from sartor.core.store import Store
    from sartor.core.workspace import Workspace

    return Store.open(Workspace.open(workspace).store)
