"""The data of a need: check it, show what became of it."""

import sys
from collections import Counter
from json import loads
from pathlib import Path
from typing import Annotated

import typer

from sartor.cli.options import HERE, Json, NeedFile, RunNumber, Where

_NOTES_A_KIND = 3
"""Notes of one kind that are printed; a run changes hundreds of rows in the same way."""

app = typer.Typer(help="The data of a need: check, show.", no_args_is_help=True)


@app.command()
def check(need: NeedFile, json: Json = False) -> None:
    """List everything that is wrong with the data, each with file, row and fix."""
    from dataclasses import asdict

    from sartor.cli.drawing import write_json
    from sartor.data.check import check as examine
    from sartor.data.prepare import columns_of
    from sartor.need.file import load_need
    from sartor.search.documents import checked
    from sartor.search.judging import roles_of
    from sartor.tasks import TASKS

    found, findings = checked(load_need(need, roles_of), str(need), need.parent)
    data = found.data
    task = TASKS.get(found.task)()
    columns = columns_of(data, tuple(task.roles.inputs), task.target)
    sources = {
        "train": data.train,
        "validation": data.validation or [],
        "test": data.test or [],
    }
    findings += examine(sources, need.parent, columns, labels=data.labels)
    faults = sum(f.level == "fault" for f in findings)
    if json:
        write_json({"faults": faults, "findings": [asdict(f) for f in findings]})
    else:
        shown: Counter[str] = Counter()
        for f in findings:
            kind = f.what.partition(":")[0]
            shown[kind] += 1
            if f.level == "note" and shown[kind] > _NOTES_A_KIND:
                continue
            place = f"{f.file}, row {f.row:,}: " if f.row else f"{f.file}: " if f.file else ""
            sys.stdout.write(f"{f.level}: {place}{f.what}\n    Fix: {f.fix}\n")
        for kind, count in shown.items():
            if count > _NOTES_A_KIND:
                sys.stdout.write(f"{kind}: {count:,} rows in all; --json lists them.\n")
        notes = len(findings) - faults
        sys.stdout.write(f"{faults:,} faults, {notes:,} notes.\n")
    raise typer.Exit(2 if faults else 0)


@app.command()
def show(
    run: RunNumber = None,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Only rows that were dropped.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="train, validation or test: print its rows instead.")
    ] = None,
    workspace: Where = HERE,
    json: Annotated[bool, typer.Option("--json", help="JSON lines are what it prints.")] = True,
) -> None:
    """What cleaning and splitting did to each row, one JSON object a line."""
    from sartor.core.errors import SettingError
    from sartor.core.workspace import Workspace

    here = Workspace.open(workspace).run(run)
    if split is not None:
        if split not in ("train", "validation", "test"):
            raise SettingError(
                f"There is no split {split!r}.", fix="use train, validation or test."
            )
        _show_split(here.read_json("need.json"), split, workspace)
        return
    path = here.folder / "changes.jsonl"
    if not path.is_file():
        here.read_json("changes.jsonl")  # says that the run did not get that far
    for line in path.read_text("utf-8").splitlines():
        if not dropped or loads(line)["action"] == "dropped":
            sys.stdout.write(line + "\n")


def _show_split(kept: dict[str, str], split: str, workspace: Path) -> None:
    from sartor.cli.drawing import write_json
    from sartor.core.store import Store
    from sartor.core.workspace import Workspace
    from sartor.need.file import parse_need
    from sartor.search.documents import with_documents
    from sartor.search.judging import divided, roles_of

    need = parse_need(kept["text"], kept["file"], roles_of)
    need = with_documents(need, kept["file"], Path(kept["root"]))
    with Store.open(Workspace.open(workspace).store) as store:
        rows = divided(need, Path(kept["root"]), store)
    examples = {"train": rows.train, "validation": rows.validation, "test": rows.test}[split]
    for name, inputs, label in zip(examples.ids, examples.rows(), examples.target, strict=True):
        write_json({"id": name, **inputs, "label": label})
