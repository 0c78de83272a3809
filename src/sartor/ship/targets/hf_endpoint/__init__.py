"""A repository that Hugging Face Inference Endpoints serve with a handler of its own.

The endpoint's image passes over files by their names, `*onnx*` among them, so the bundle travels
as one zip. What the image brings (numpy, pydantic, tokenizers) is left as it is where it will do,
since the server around the handler needs it too; only the runtime that computes is pinned.
https://huggingface.co/docs/inference-endpoints/engines/toolkit
"""

import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from sartor.core.errors import SettingError
from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import new_key, of_llm
from sartor.ship.lean import more_of
from sartor.ship.parcel import KEY
from sartor.ship.pins import bounds
from sartor.ship.readme import readme

SHARED = ("numpy", "pydantic", "tokenizers")
"""What a loaded bundle imports that the endpoint's own server may import too."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HEAD = """\
---
library_name: sartor
pipeline_tag: text-classification
tags:
  - endpoints-template
---

"""
_LARGE = "*.zip filter=lfs diff=lfs merge=lfs -text\n*.whl filter=lfs diff=lfs merge=lfs -text\n"


@TARGETS.add
@dataclass(frozen=True, slots=True)
class HfEndpoint:
    """A machine of Hugging Face's, by the hour."""

    summary: ClassVar[str] = "a repository for Hugging Face Inference Endpoints"

    owner: str = ""
    """Whose repository it is: a user or an organisation; asked for in the steps when empty."""
    vendor: str = "aws"
    """Whose cloud the endpoint runs in."""
    region: str = "us-east-1"
    """Where in it."""
    instance_type: str = "intel-icl"
    """Kind of machine, as `hf endpoints deploy` names it."""
    instance_size: str = "x1"
    """How much of it."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        self._check()
        parcel.put_bundle_archive(folder / "bundle.zip")
        parcel.put_wheel(folder)
        handler = (files(__name__) / "handler.py").read_bytes()
        (folder / "handler.py").write_bytes(handler)
        needed = [*bounds(*SHARED, *more_of(parcel)), f"onnxruntime=={version('onnxruntime')}"]
        needed += parcel.signing
        (folder / "requirements.txt").write_text("".join(f"{n}\n" for n in needed), "utf-8")
        (folder / ".gitattributes").write_text(_LARGE, "utf-8")
        handed = Handed(self._steps(parcel), self._notes(parcel))
        page = _HEAD + readme("hf_endpoint", parcel, handed)
        (folder / "README.md").write_text(page, "utf-8")
        return handed

    def _check(self) -> None:
        for name in ("owner", "vendor", "region", "instance_type", "instance_size"):
            value: str = getattr(self, name)
            if not _WORD.fullmatch(value) and (value or name != "owner"):
                raise SettingError(
                    f"{name}={value!r:.100} is no such name.",
                    fix="take letters, digits, points and dashes.",
                )

    def _steps(self, parcel: Parcel) -> tuple[Step, ...]:
        name = parcel.name
        others = tuple(secret for secret in parcel.secrets if secret != KEY)
        ask = Step(
            "printf 'owner: ' && read -r HF_OWNER && export HF_OWNER",
            "type your user or organisation on the hub",
        )
        repository = f"{self.owner}/{name}" if self.owner else f'"$HF_OWNER/{name}"'
        where = f"--vendor {self.vendor} --region {self.region} --accelerator cpu"
        kind = f"--instance-type {self.instance_type} --instance-size {self.instance_size}"
        given = [f"--env {key}={value}" for key, value in parcel.variables.items()]
        given += [f"--secrets {secret}" for secret in others]
        return (
            Step("hf auth login", "say who you are"),
            *([] if self.owner else [ask]),
            *new_key(others),
            Step(f"hf upload {repository} . . --private", "upload this folder"),
            Step(
                f"hf endpoints deploy {name} --repo {repository} --framework custom"
                f" --task custom {' '.join([where, kind, *given])}",
                "start a machine, which costs money until `hf endpoints delete`",
            ),
            Step(f"hf endpoints describe {name}", "see its state and its URL"),
        )

    def _notes(self, parcel: Parcel) -> tuple[str, ...]:
        return (
            'Send `{"inputs": "a text"}`, or a list of texts, with a token of the hub as Bearer:'
            " the endpoint is protected unless you make it public.",
            "The endpoint's image brings numpy, pydantic and tokenizers of its own, which stay"
            " where they will do: those versions are not the ones that were judged. Where that"
            " matters, give the endpoint the image of `--to docker` as its custom container.",
            "Predictions and feedback are not kept there.",
            *of_llm(parcel),
        )
