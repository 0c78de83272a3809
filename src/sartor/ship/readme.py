"""The page at the front of a shipped folder: what it holds, what to do, what to know."""

from sartor.ship.api import Handed, Parcel


def readme(target: str, parcel: Parcel, handed: Handed) -> str:
    """Markdown: the steps as one block that can be pasted, then the notes.

    Args:
        target: Its name.
        parcel: What is shipped.
        handed: By the target.
    """
    state = "released" if parcel.bundle.manifest.released else "not released"
    lines = [
        f"# {parcel.name} on {target}",
        "",
        f"Written by `sartor ship --to {target}` for the bundle {parcel.tag} ({state}). What was"
        " judged is what runs: the same bundle and the same sartor, both in this folder whole.",
        "",
        "```sh",
        *(line for step in handed.steps for line in (f"# {step.what}", step.command)),
        "```",
        "",
        *(f"- {note}" for note in handed.notes),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"
