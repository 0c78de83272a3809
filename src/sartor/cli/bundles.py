"""A bundle between people: sign it, verify who signed it."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sartor.cli.options import BundleFolder, Json

app = typer.Typer(help="Bundles between people: sign, verify.", no_args_is_help=True)
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
