"""Versions of a served model: put one in place, weigh it beside another, go back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.cli.options import HERE, BundleFolder, Json, Unreleased, Where

if TYPE_CHECKING:
    from sartor.core.store import Store
    from sartor.serve.deployment import Change, Deployment, Placed
    from sartor.serve.status import ModelStatus, Status

Name = Annotated[
    str | None, typer.Argument(help="The deployment; may be left out where there is only one.")
]
Wait = Annotated[float, typer.Option(help="Seconds to wait for running servers to take it.")]
_ID = 12


def deploy(
    bundle: BundleFolder,
    name: Annotated[
        str | None, typer.Option(help="The deployment; default: the name of the bundle's need.")
    ] = None,
    canary: Annotated[
        str | None, typer.Option(help="Percent of the users whom it answers, e.g. 10%.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Answer copies only, and count where it differs.")
    ] = False,
    unreleased: Unreleased = False,
    new_contract: Annotated[
        bool,
        typer.Option("--new-contract", help="Take other inputs or labels than the live bundle's."),
    ] = False,
    wait: Wait = 30,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Make a bundle live, or put it beside the live one as a canary or a shadow."""
    from sartor.bundle.folder import read_manifest
    from sartor.serve.deploying import deploy as put

    deployment = _deployment(workspace, name or read_manifest(bundle).name)
    change = put(
        deployment,
        bundle,
        canary=_percent(canary) if canary is not None else None,
        shadow=shadow,
        unreleased=unreleased,
        new_contract=new_contract,
    )
    _tell(deployment, change, wait, json)


def promote(
    name: Name = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="The shadow, also where there is a canary.")
    ] = False,
    wait: Wait = 30,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Make the canary live, or the shadow where there is no canary."""
    from sartor.serve.deploying import promote as put

    deployment = _only(workspace, name)
    _tell(deployment, put(deployment, "shadow" if shadow else None), wait, json)


def rollback(
    name: Name = None, wait: Wait = 30, workspace: Where = HERE, json: Json = False
) -> None:
    """Put the bundle back that was live before; a canary and a shadow go."""
    from sartor.serve.deploying import rollback as put

    deployment = _only(workspace, name)
    _tell(deployment, put(deployment), wait, json)


def withdraw(
    name: Name = None, wait: Wait = 30, workspace: Where = HERE, json: Json = False
) -> None:
    """Take canary and shadow away; what is live stays."""
    from sartor.serve.deploying import withdraw as put

    deployment = _only(workspace, name)
    _tell(deployment, put(deployment), wait, json)


def deployments(
    name: Annotated[str | None, typer.Argument(help="One deployment; default all.")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Every change: when, who, what.")
    ] = False,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """What is live, what stands beside it, and how each model fares."""
    from sartor.cli.drawing import write_json
    from sartor.core.store import Store
    from sartor.core.workspace import Workspace
    from sartor.serve.deployment import names
    from sartor.serve.status import status

    place = Workspace.open(workspace)
    chosen = [_deployment(workspace, one) for one in ([name] if name else names(place.folder))]
    if history:
        for deployment in chosen:
            _tell_history(deployment, json)
        return
    with Store.open(place.store) as store:
        found = [(one, _opinions(store, one)) for one in map(status, chosen)]
    if json:
        for one, said in found:
            write_json(_as_json(one, said))
    elif not found:
        sys.stdout.write("Nothing is deployed. Start with: sartor deploy BUNDLE\n")
    for one, said in [] if json else found:
        _draw(one, said)


COMMANDS = (deploy, promote, rollback, withdraw, deployments)


def _percent(text: str) -> float:
    from sartor.core.errors import SettingError

    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise SettingError(
            f"--canary wants a share of the users. Got {text!r}.", fix="write e.g. --canary 10%."
        ) from None


def _deployment(workspace: Path, name: str) -> "Deployment":
    from sartor.core.workspace import Workspace
    from sartor.serve.deployment import Deployment

    return Deployment.of(Workspace.open(workspace).folder, name)


def _only(workspace: Path, name: str | None) -> "Deployment":
    from sartor.core.errors import DeploymentError
    from sartor.core.workspace import Workspace
    from sartor.serve.deployment import names

    if name is not None:
        return _deployment(workspace, name)
    found = names(Workspace.open(workspace).folder)
    if len(found) != 1:
        raise DeploymentError(
            f"{workspace} holds {len(found)} deployments; which one is meant is not said.",
            fix=f"name one of {', '.join(found[:10])}."
            if found
            else "start with sartor deploy BUNDLE.",
        )
    return _deployment(workspace, found[0])


def _tell(deployment: "Deployment", change: "Change", wait: float, json: bool) -> None:
    """Say what holds now, and what the running servers make of it."""
    from sartor.cli.drawing import write_json
    from sartor.core.errors import DeploymentError
    from sartor.serve import reports

    servers = reports.settled(deployment.reports, change.number, wait)
    taken = [one for one in servers if one.number >= change.number]
    if json:
        served = {"running": len(servers), "current": len(taken)}
        write_json({"name": deployment.name, **_change(change), "servers": served})
    else:
        sys.stdout.write(f"Change {change.number} of {deployment.name}: {_roles(change)}.\n")
        sys.stdout.write(_servers(deployment, len(servers), len(taken)))
    if failed := [one for one in servers if one.state == "failed"]:
        raise DeploymentError(
            f"The server at {failed[0].address} stays with what it had: {failed[0].problem}",
            fix="mend that, or take the change back with sartor rollback or sartor withdraw.",
        )


def _servers(deployment: "Deployment", running: int, taken: int) -> str:
    if not running:
        return f"No server follows it now: sartor serve --deployment {deployment.name}\n"
    return f"{taken} of {running} running servers serve it.\n"


def _roles(change: "Change") -> str:
    share = {"canary": f" for {change.share:g} % of the users"}
    return ", ".join(
        f"{role} {placed.id[:_ID]}{share.get(role, '')}" for role, placed in change.placed.items()
    )


def _change(change: "Change") -> dict[str, Any]:
    return {
        "change": change.number,
        "time": change.time.isoformat(),
        "who": change.who,
        "action": change.action,
        "live": _placed(change.live),
        "canary": _placed(change.canary),
        "share": change.share,
        "shadow": _placed(change.shadow),
        "previous": [_placed(one) for one in change.previous],
    }


def _placed(placed: "Placed | None") -> dict[str, Any] | None:
    return {"model": placed.id, "name": placed.name, "bundle": placed.bundle} if placed else None


def _tell_history(deployment: "Deployment", json: bool) -> None:
    from sartor.cli.drawing import write_json

    deployment.now()  # A name that was never deployed is a mistake, not an empty history.
    for change in deployment.history():
        if json:
            write_json({"name": deployment.name, **_change(change)})
        else:
            when = f"{change.time:%Y-%m-%d %H:%M:%S} UTC"
            sys.stdout.write(
                f"{deployment.name} {change.number:>4}  {when}  {change.who}"
                f"  {change.action}: {_roles(change)}\n"
            )


def _opinions(store: "Store", status: "Status") -> dict[str, dict[str, Any]]:
    """Bundle id to what users said of its answers."""
    from sartor.listen.feedback import summary

    said = {one.bundle.id: summary(store, one.bundle.id).said for one in status.models}
    return {model: _share(one.agreed, one.n) for model, one in said.items()}


def _share(k: int, n: int) -> dict[str, Any]:
    """A proportion with its 95 % Clopper-Pearson interval."""
    from sartor.judge.intervals import clopper_pearson

    low, high = clopper_pearson(k, n, 0.05)
    return {"agreed": k, "n": n, "low": float(low), "high": float(high)}


def _as_json(status: "Status", said: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": status.name,
        **_change(status.change),
        "models": [_model(one, said[one.bundle.id]) for one in status.models],
        "servers": [
            {
                "address": one.address,
                "change": one.number,
                "state": one.state,
                "problem": one.problem,
                "started": one.started.isoformat(),
            }
            for one in status.servers
        ],
    }


def _model(one: "ModelStatus", said: dict[str, Any]) -> dict[str, Any]:
    found = {
        "role": one.role,
        "model": one.bundle.id,
        "share": one.share,
        "requests": one.counts.requests,
        "errors": one.counts.errors,
        "shed": one.counts.shed,
        "latency_p95_ms": one.counts.percentile_ms(0.95),
        "feedback": said,
    }
    if (compared := one.compared) is not None:
        agreed = _share(compared.agreed, compared.agreed + compared.differed)
        found["shadow"] = {**agreed, "dropped": compared.dropped, "failed": compared.failed}
    return found


_COLUMNS = (
    "",
    "model",
    "share",
    "requests",
    "errors",
    "p95 ms",
    "feedback agrees",
    "shadow agrees",
)
_WIDTHS = (9, 13, 7, 9, 7, 7, 26, 0)


def _draw(status: "Status", said: dict[str, dict[str, Any]]) -> None:
    change = status.change
    when = f"{change.time:%Y-%m-%d %H:%M} UTC"
    out = sys.stdout.write
    out(f"{status.name}: change {change.number}, {change.action}, {when}, by {change.who}\n")
    for cells in (_COLUMNS, *(_row(one, said[one.bundle.id]) for one in status.models)):
        out((" " + " ".join(f"{c:<{w}}" for c, w in zip(cells, _WIDTHS, strict=True))).rstrip())
        out("\n")
    for server in status.behind:
        why = f": {server.problem}" if server.problem else ""
        out(f"The server at {server.address} serves change {server.number}{why}\n")
    if not status.servers:
        out(f"No server follows it now: sartor serve --deployment {status.name}\n")


def _row(one: "ModelStatus", said: dict[str, Any]) -> tuple[str, ...]:
    found = _model(one, said)
    p95 = found["latency_p95_ms"]
    shadow = found.get("shadow")
    return (
        one.role,
        one.bundle.id[:_ID],
        f"{one.share:g} %" if one.role in ("live", "canary") else "",
        f"{one.counts.requests:,}",
        f"{one.counts.errors:,}",
        "" if p95 is None else f"{p95:.3g}",
        _agrees(said),
        f"{_agrees(shadow)}, {shadow['dropped']:,} dropped" if shadow else "",
    )


def _agrees(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "no rows"
    return f"{found['agreed']:,} of {found['n']:,} ({found['low']:.3f} – {found['high']:.3f})"
