"""Heads and LoRAs of users' own, from their feedback."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sartor.cli.options import HERE, BundleFolder, Json, Quiet, Where

if TYPE_CHECKING:
    from sartor.search.personal_record import Outcome
    from sartor.search.personal_trial import Silence
    from sartor.search.personalising import Way

Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the adapters; default one for the bundle under .sartor/adapters/."
    ),
]


def personalize(
    bundle: BundleFolder,
    user: Annotated[
        list[str] | None, typer.Option(help="As requests name the user; may be repeated.")
    ] = None,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="Every user of whom there is feedback.")
    ] = False,
    tenant: Annotated[
        str | None,
        typer.Option(help="Whose users; default the tenant without a name, with --all-users all."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="What is tuned: head; lora, updates of all linear layers, which takes the run's"
            " workspace; or auto, whichever of the two does better on rows left out of training."
        ),
    ] = "head",
    rank: Annotated[int, typer.Option(help="Of a LoRA.")] = 4,
    adapters: Root = None,
    confidence: Annotated[
        float, typer.Option(help="That nothing is released which is not better.")
    ] = 0.95,
    silence: Annotated[
        str,
        typer.Option(help="What an answer counts for that was let stand: agrees, or nothing."),
    ] = "agrees",
    workspace: Where = HERE,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Tune a head or a LoRA for one user, or each, from their feedback; release what is better.

    It is tried on answers to the user that it did not learn from. Users about whom nothing changed
    since the last time are not tried again.
    """
    from sartor.cli.drawing import drawing, write_json
    from sartor.core.errors import SettingError
    from sartor.search.personalising import Rule, Whom, personalise

    if bool(user) == all_users:
        raise SettingError(
            "Say whom to tune for: users by name, or all of them, and not both.",
            fix="write --user U, or --all-users.",
        )
    with drawing(quiet=quiet) as emit:
        found = personalise(
            bundle,
            Whom(tuple(user or ()), tenant),
            root=adapters,
            rule=Rule(confidence, cast("Silence", silence), cast("Way", method), rank),
            workspace=workspace,
            emit=emit,
        )
    for one in found:
        if json:
            write_json(one.as_json())
        else:
            sys.stdout.write(f"{_line(one)}\n")


COMMANDS = (personalize,)


def _line(one: "Outcome") -> str:
    name = one.user if one.tenant is None else f"{one.tenant}/{one.user}"
    gain = ""
    if one.gain is not None and one.low is not None and one.high is not None:
        ends = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
        gain = f" Accuracy {100 * one.gain:+.1f} points ({ends}), look {one.look}."
    if one.more is not None and one.reason != "too few":
        least, most = one.more
        count = f"{least:,}" if least == most else f"{least:,} – {most:,}"
        gain += f" {count} more corrections would decide."
    if one.ask and one.state != "released":
        gain += f" Ask them about {len(one.ask)} answers that they let stand (--json lists them)."
    return f"{name}: {one.state}, {one.why}{gain}"
