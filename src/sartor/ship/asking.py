"""Steps and notes that several targets give: a key, a first question, what must be known."""

import shlex

from sartor.ship.api import Parcel, Step
from sartor.ship.image import STORE
from sartor.ship.parcel import KEY


def new_key(secrets: tuple[str, ...]) -> tuple[Step, ...]:
    """Put every secret into the shell's environment: our own is made, others are asked for.

    Args:
        secrets: Names of environment variables.
    """
    steps: list[Step] = []
    for name in secrets:
        if name == KEY:
            made = f"export {KEY}=$(openssl rand -hex 32)"
            steps.append(Step(made, "make the key that callers send; keep it somewhere safe"))
        else:
            what = "the URL of the database" if name == STORE else "the language model's key"
            read = f"printf '{name}: ' && read -r {name} && export {name}"
            steps.append(Step(read, f"type {what}"))
    return tuple(steps)


def curl(parcel: Parcel, url: str, *, key: bool = True) -> str:
    """A command that asks the first question, with the key from the environment."""
    words = ["curl --fail-with-body", "--header 'content-type: application/json'"]
    if key:
        words.append(f'--header "authorization: Bearer ${KEY}"')
    return " ".join([*words, f"--data {shlex.quote(parcel.question)}", f"{url}/v1/predict"])


def of_keys() -> tuple[str, ...]:
    """Where keys come from."""
    return (
        f"The key in `{KEY}` may do everything; give it to nobody who can have one of their own"
        " (`sartor keys add`). No secret is in this folder: do not add one.",
    )


def of_llm(parcel: Parcel) -> tuple[str, ...]:
    """What must be known of a bundle that asks a language model; nothing of any other."""
    if parcel.asks is None:
        return ()
    (variable, allowed), *_ = parcel.variables.items()
    return (
        f"Every text is sent on to {allowed.partition('=')[0]}. That is allowed by `{variable}`,"
        " which is set here; the place must be able to reach that address.",
    )
