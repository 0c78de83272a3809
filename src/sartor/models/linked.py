"""A folder that is made of a model's: other words about the same weights, which are linked."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from sartor.core.types import Backbone
from sartor.models.folder import Label, describe, weight_files


def link_model(folder: Path, to: Path) -> None:
    """Put weights and model card of a folder into an empty one."""
    for file in (*weight_files(folder), folder / "model.safetensors.index.json"):
        if file.is_file():
            _link(file, to / file.name)
    if (card := folder / "README.md").is_file():
        shutil.copyfile(card, to / card.name)


def describe_linked(backbone: Backbone, folder: Path) -> Backbone:
    """The backbone of a folder that was made of another's, under its name."""
    told = Label(
        backbone.name,
        "folder",
        backbone.licence,
        backbone.languages,
        backbone.prefix,
        backbone.passage,
    )
    return replace(describe(folder, told), source=backbone.source)


def _link(file: Path, to: Path) -> None:
    """The same file under another name; a pointer to it where the two lie on different disks."""
    whole = file.resolve()
    try:
        os.link(whole, to)
    except OSError:
        to.symlink_to(whole)
