"""A bundle between people: sign, verify, export, push and pull."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sartor.cli.options import HERE, BundleFolder, Json, Quiet, VerifyKey, Where

app = typer.Typer(
    help="Bundles between people: sign, verify, export, push, pull.", no_args_is_help=True
)
PASSWORD_VARIABLE = "SARTOR_KEY_PASSWORD"


@app.command()
def keygen(
    name: Annotated[Path, typer.Argument(help="Writes NAME.pem and NAME.pub.pem.")],
    json: Json = False,
) -> None:
    """Make a pair of keys: the private one signs, the public one is given to whoever verifies.

    With SARTOR_KEY_PASSWORD set, the private key is encrypted with it.
    """
    from sartor.bundle import keys
    from sartor.cli.drawing import write_json

    private = name if name.suffix == ".pem" else name.with_name(f"{name.name}.pem")
    password = os.environ.get(PASSWORD_VARIABLE, "").encode()
    public = keys.make_keys(private, password or None)
    if json:
        write_json({"private": str(private), "public": str(public), "encrypted": bool(password)})
        return
    how = "encrypted" if password else f"not encrypted: {PASSWORD_VARIABLE} is not set"
    sys.stdout.write(f"{private}: signs; keep it to yourself ({how}).\n")
    sys.stdout.write(f"{public}: verifies; give it to whoever uses your bundles.\n")


@app.command()
def sign(
    bundle: BundleFolder,
    key: Annotated[Path, typer.Option(help="PEM file of the private key.")],
    json: Json = False,
) -> None:
    """Sign every file of a bundle, manifest and verdicts included, into model.sig.

    The password of an encrypted key comes from SARTOR_KEY_PASSWORD, or is asked for.
    """
    from sartor.bundle import keys, sign_bundle
    from sartor.bundle.folder import read_manifest
    from sartor.cli.drawing import write_json

    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and sys.stdin.isatty() and keys.is_encrypted(key):
        password = typer.prompt(f"Password of {key}", hide_input=True, err=True)
    by = sign_bundle(bundle, key, (password or "").encode() or None)
    manifest = read_manifest(bundle)
    if json:
        write_json({"bundle": str(bundle), "id": manifest.id, "key": by})
        return
    state = "released" if manifest.released else "not released"
    sys.stdout.write(f"Signed {bundle} ({manifest.id[:12]}, {state}) with the key {by}.\n")


@app.command()
def verify(
    bundle: BundleFolder,
    key: Annotated[
        Path | None,
        typer.Option(help="PEM file of the public key; default SARTOR_VERIFY_KEY."),
    ] = None,
    json: Json = False,
) -> None:
    """Verify every file of a bundle and, with a key, who signed it."""
    from sartor.bundle import key_asked, open_bundle
    from sartor.bundle.folder import is_signed
    from sartor.cli.drawing import write_json

    asked = key_asked(None if key is None else str(key))
    manifest = open_bundle(bundle, verify_key=asked).manifest
    signed = is_signed(bundle)
    if json:
        found = {"bundle": str(bundle), "id": manifest.id, "released": manifest.released}
        write_json({**found, "signed": signed, "verified_with": asked or None})
        return
    whole = f"{bundle} is whole: {len(manifest.files) + 1} files, {manifest.id[:12]}"
    if asked:
        sys.stdout.write(f"{whole}, signed by the key {asked}.\n")
    elif signed:
        sys.stdout.write(f"{whole}. It has a signature, which only --key can check.\n")
    else:
        sys.stdout.write(f"{whole}. It is not signed.\n")


@app.command()
def reindex(
    bundle: BundleFolder,
    documents: Annotated[Path, typer.Argument(help="Their file, with the columns id and text.")],
    to: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Rows that name the new documents: judges it, and releases it if met."),
    ] = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Write a bundle with the same model and other documents; nothing is trained.

    Without --labels it is not released: its verdicts were of the old documents.
    """
    from rich.console import Console

    from sartor.cli.drawing import write_json
    from sartor.report import terminal
    from sartor.search.reindexing import reindex as replace

    found = replace(bundle, documents, to, labels=labels, workspace=workspace)
    manifest, judged = found.bundle.manifest, found.judged
    if json:
        counts = {"kept": found.kept, "new": found.new, "gone": found.gone}
        said = None if judged is None else judged.as_json()
        write_json({"bundle": str(to), "id": manifest.id, **counts, "judged": said})
        return
    sys.stdout.write(f"Wrote {to} ({manifest.id[:12]}): {found.sentence()}.\n")
    if judged is not None:
        console = Console(highlight=False)
        console.print(terminal.verdict_table(judged.verdicts, judged.language))
    state = "Released" if manifest.released else "Not released"
    sys.stdout.write(
        f"{state}. Serve it with sartor serve {to}{'' if manifest.released else ' --unreleased'}\n"
    )


@app.command()
def export(
    bundle: BundleFolder,
    transformers: Annotated[
        Path, typer.Option(help="New folder for weights and tokenizer, as transformers loads them.")
    ],
    workspace: Where = HERE,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write the model that a bundle was made of as a folder that transformers loads.

    Its weights lie in the workspace that made it. Its README.md says which class loads it, and what
    the bundle does besides.
    """
    from sartor.cli.drawing import drawing, write_json
    from sartor.core.workspace import Workspace
    from sartor.search.exporting import export_pretrained

    with drawing(quiet=quiet or json) as emit:
        found = export_pretrained(bundle, transformers, Workspace.open(workspace), emit)
    if json:
        write_json(
            {
                "folder": str(found.folder),
                "sentence_transformers": found.sentence_transformers,
                "difference": found.difference,
            }
        )
        return
    also = " and sentence-transformers" if found.sentence_transformers else ""
    sys.stdout.write(f"{found.folder}: transformers{also} can load it; README.md says how.\n")
    sys.stdout.write(
        f"Probabilities on made-up texts lie within {found.difference:.2g} of the bundle's.\n"
    )


@app.command()
def push(
    bundle: BundleFolder,
    address: Annotated[
        str, typer.Argument(help="s3://bucket/prefix, oci://host/name:tag, or a shared folder.")
    ],
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Send a bundle, its signature too, to where others can pull it; only what is missing there.

    Who asks comes from the environment: AWS_ACCESS_KEY_ID and its like, or SARTOR_OCI_USER and
    SARTOR_OCI_PASSWORD.
    """
    from dataclasses import asdict

    from sartor.cli.drawing import drawing, write_json
    from sartor.ship.transfer import push as send

    with drawing(quiet=quiet or json) as emit:
        done = send(bundle, address, emit)
    if json:
        write_json(asdict(done))
        return
    sys.stdout.write(f"{done.address}\n")


@app.command()
def pull(
    address: Annotated[
        str, typer.Argument(help="Where it was pushed; oci://host/name@sha256:… takes that one.")
    ],
    folder: Annotated[Path, typer.Argument(help="New folder for the bundle.")],
    verify_key: VerifyKey = None,
    most_gb: Annotated[float, typer.Option(help="Refuse a bundle that is larger.")] = 20.0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Get a bundle and verify every file of it before it is put in place."""
    from sartor.cli.drawing import drawing, write_json
    from sartor.ship.transfer import pull as get

    with drawing(quiet=quiet or json) as emit:
        found = get(address, folder, verify_key=verify_key, most_gb=most_gb, emit=emit)
    if json:
        said = {"bundle": str(folder), "id": found.manifest.id}
        write_json({**said, "released": found.manifest.released})
        return
    sys.stdout.write(f"{folder}\n")
