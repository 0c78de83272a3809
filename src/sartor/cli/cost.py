"""What a bundle costs to run: on each target, for a thousand requests and a month."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sartor.cli.options import BundleFolder, Json

if TYPE_CHECKING:
    from sartor.core.texts import Text

_MOST_TEXTS = 2_000


def cost(
    bundle: BundleFolder,
    requests: Annotated[
        list[int] | None, typer.Option(help="Requests a month; may be repeated.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="What you charge for 1,000 requests.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Where it runs: what others are compared with.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="File with prices of targets.")] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="Your texts, a line each, as for `predict`; default made-up ones."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of one forward pass.")] = 1,
    json: Json = False,
) -> None:
    """Measure a bundle here and say what it costs on Lambda, Cloud Functions, a VM, your machine.

    Each of six fresh serving processes is asked over HTTP; it takes about half a minute.
    """
    from rich.console import Console

    from sartor.cli.drawing import write_json
    from sartor.core.errors import SettingError
    from sartor.report.result import read_costs
    from sartor.report.terminal import cost_lines, cost_table
    from sartor.search.pricing import SAMPLE, Asked, cost_of_bundle

    if threads < 1:
        raise SettingError(f"threads must be at least 1. Got {threads}.", fix="leave it out.")
    asked = Asked(
        tuple(requests or ()), price, target, None if prices is None else str(prices), threads
    )
    found = cost_of_bundle(bundle, SAMPLE if texts is None else _texts(texts, bundle), asked)
    if json:
        write_json(found)
        return
    language = str(found["language"])
    costs = read_costs(found)
    above, below = cost_lines(costs, language)
    for line in above:
        sys.stdout.write(f"{line}\n")
    Console(highlight=False).print(cost_table(costs, language))
    for line in below:
        sys.stdout.write(f"{line}\n")


COMMANDS = (cost,)


def _texts(file: Path, bundle: Path) -> "list[Text]":
    from sartor.bundle import open_bundle
    from sartor.cli.serving import read_row
    from sartor.core.errors import DataError
    from sartor.serve.rows import read_row as text_of_row

    inputs = open_bundle(bundle).manifest.inputs
    found: list[Text] = []
    try:
        with file.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                row = read_row(line, number, file, inputs)
                found.append(text_of_row(row, number, inputs))
                if len(found) == _MOST_TEXTS:
                    break
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}.", fix="check the path and its permissions."
        ) from None
    if not found:
        raise DataError(f"{file} holds no text.", fix="write a text a line.")
    return found
