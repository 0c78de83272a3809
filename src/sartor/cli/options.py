"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Where = Annotated[Path, typer.Option("--workspace", help="Folder that holds .sartor/.")]
NeedFile = Annotated[Path, typer.Argument(help="The need file.", metavar="NEED")]
BundleFolder = Annotated[Path, typer.Argument(help="The bundle's folder.", metavar="BUNDLE")]
RunNumber = Annotated[int | None, typer.Argument(help="Number of the run; default the newest.")]
Language = Annotated[str, typer.Option("--lang", help="en or zh.")]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="Where fits are made: local, ray (several at once on this machine), or ray:HOST:PORT."
        " Default: local; on resume, where the run began.",
    ),
]
Unreleased = Annotated[
    bool, typer.Option("--unreleased", help="Use a bundle whose need was not shown to be met.")
]
AllowLlm = Annotated[
    list[str] | None,
    typer.Option(
        help="URL of a language model that the bundle may send texts to, URL=KEY_VARIABLE"
        " where it needs a key; may be repeated."
    ),
]
VerifyKey = Annotated[
    str | None,
    typer.Option(
        help="PEM file of the public key that must have signed the bundle;"
        " default SARTOR_VERIFY_KEY."
    ),
]
Tenant = Annotated[str | None, typer.Option(help="Only what belongs to this tenant; default all.")]
HERE = Path()
EXTRAS = {
    "server": (
        *("fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "alembic", "jinja2"),
        "prometheus_client",
    ),
    "data": ("polars", "datasets", "sklearn", "scipy", "fastexcel", "babel", "charset_normalizer"),
    "train": (
        *("torch", "transformers", "peft", "accelerate", "onnx", "onnxscript", "safetensors"),
        *("psutil", "optuna"),
    ),
    "postgres": ("psycopg",),
    "ray": ("ray",),
    "sign": ("cryptography",),
    "s3": ("boto3", "botocore"),
    "oci": ("httpx",),
}
"""Install tier to the modules it brings."""
