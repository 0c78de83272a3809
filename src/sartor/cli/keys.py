"""API keys for the server: make, list, revoke."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.cli.options import HERE, Json, Where

if TYPE_CHECKING:
    from sartor.core.store import ApiKey, Store

app = typer.Typer(help="API keys for the server: add, list, revoke.", no_args_is_help=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[
        str, typer.Option(help="predict, feedback (and predict), metrics, or admin (all).")
    ] = "feedback",
    tenant: Annotated[
        str | None, typer.Option(help="Whose answers and feedback it makes and sees.")
    ] = None,
    rate_limit: Annotated[
        str | None, typer.Option(help="Rows it may ask, e.g. 50/s; none; default the server's.")
    ] = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Make a key; it is shown once and kept as a hash."""
    from sartor.cli.drawing import write_json
    from sartor.core.grants import Grant
    from sartor.core.store import token_hash

    grant = Grant(role=role, tenant=tenant, rate=rate_limit)
    with _store(workspace) as store:
        token = store.add_key(name, grant)
        made = token_hash(token)
        number = next(key.id for key in reversed(store.keys()) if key.hash == made)
    if json:
        write_json({"number": number, "name": name, **asdict(grant), "key": token})
    else:
        sys.stderr.write(f"Key {number} for {name!r}, shown once:\n")
        sys.stdout.write(f"{token}\n")


@app.command("list")
def list_(workspace: Where = HERE, json: Json = False) -> None:
    """All keys with their roles, tenants and rates; never the keys themselves."""
    from sartor.cli.drawing import write_json

    with _store(workspace) as store:
        keys = store.keys()
    if json:
        write_json([_shown(key) for key in keys])
        return
    for key in keys:
        grant = key.grant
        tenant = f", tenant {grant.tenant}" if grant.tenant else ""
        rate = f", {grant.rate}" if grant.rate else ""
        gone = f", revoked {key.revoked:%Y-%m-%d}" if key.revoked else ""
        made = f"{key.created:%Y-%m-%d}"
        sys.stdout.write(f"{key.id:4} {key.name!r}: {grant.role}{tenant}{rate}, {made}{gone}\n")
    if not keys:
        sys.stdout.write("No key was made yet: `sartor keys add NAME`.\n")


@app.command()
def revoke(
    number: Annotated[int, typer.Argument(help="Number of the key, from `sartor keys list`.")],
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Make a key stop working, within seconds."""
    from sartor.cli.drawing import write_json

    with _store(workspace) as store:
        store.revoke_key(number)
    if json:
        write_json({"revoked": number})
    else:
        sys.stdout.write(f"Revoked key {number}.\n")


def _shown(key: "ApiKey") -> dict[str, Any]:
    return {
        "number": key.id,
        "name": key.name,
        **asdict(key.grant),
        "created": key.created.isoformat(),
        "revoked": key.revoked.isoformat() if key.revoked else None,
    }


def _store(workspace: Path) -> "Store":
    from sartor.core.store import Store
    from sartor.core.workspace import Workspace

    return Store.open(Workspace.open(workspace).store)
