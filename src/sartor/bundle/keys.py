"""Keys that sign bundles: elliptic ones in PEM files, P-256, P-384 or P-521.

Each curve goes with the SHA of its size, as the Sigstore bundle format has it.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sartor.core.errors import SettingError

CURVES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_MAX_PEM_BYTES = 100_000
_PUBLIC = ".pub.pem"


def make_keys(private: Path, password: bytes | None = None) -> Path:
    """Write a new P-256 key, readable by its owner alone, and its public half beside it.

    Args:
        private: Where the private key goes, e.g. `team.pem`; the public one is `team.pub.pem`.
        password: Encrypts the private key; it lies there in the clear when None.

    Returns:
        The public key's file.

    Raises:
        SettingError: If one of the files exists: a key that is overwritten is lost.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    locked = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    public = private.with_name(private.name.removesuffix(".pem") + _PUBLIC)
    if public.exists():
        raise _exists(public)
    _create(private, pem, 0o600)
    _create(public, _pem_of(key.public_key()), 0o644)
    return public


def is_encrypted(private: Path) -> bool:
    """Whether a private key wants a password.

    Raises:
        SettingError: If the file cannot be read.
    """
    return b"ENCRYPTED" in _read(private)


def read_private(path: Path, password: bytes | None) -> ec.EllipticCurvePrivateKey:
    """
    Raises:
        SettingError: If it is another kind of file or key, or the password is missing or wrong.
    """
    data = _read(path)
    if b"PUBLIC KEY" in data or b"PRIVATE KEY" not in data:
        raise SettingError(
            f"{path} is not a private key in PEM form.",
            fix="give the private key; `sartor bundle keygen NAME` makes one.",
        )
    locked = b"ENCRYPTED" in data
    if locked and not password:
        raise SettingError(
            f"{path} is encrypted and there is no password.",
            fix="set SARTOR_KEY_PASSWORD, or sign on a terminal, where it is asked.",
        )
    try:
        key = serialization.load_pem_private_key(data, password if locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingError(
            f"{path} cannot be read: {_first(error)}.",
            fix="check the password, or make a key with `sartor bundle keygen NAME`."
            if locked
            else "make a key with `sartor bundle keygen NAME`.",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise _other_kind(path, key)
    return key


def read_public(path: Path) -> ec.EllipticCurvePublicKey:
    """
    Raises:
        SettingError: If it is another kind of file or key; a private key is refused too.
    """
    data = _read(path)
    if b"PRIVATE KEY" in data:
        raise SettingError(
            f"{path} is a private key: whoever only verifies must not have it.",
            fix="give the public one; `openssl pkey -in KEY -pubout` prints it.",
        )
    if b"BEGIN CERTIFICATE" in data:
        raise SettingError(
            f"{path} is a certificate, not a public key.",
            fix="take its key out: `openssl x509 -in CERTIFICATE -noout -pubkey`.",
        )
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingError(
            f"{path} is not a public key in PEM form: {_first(error)}.",
            fix="give the file NAME.pub.pem that `sartor bundle keygen NAME` wrote.",
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise _other_kind(path, key)
    return key


def _read(path: Path) -> bytes:
    try:
        # One that is larger is no key, and a device has no end.
        with path.open("rb") as file:
            return file.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise SettingError(
            f"The key {path} cannot be read: {error.strerror}.",
            fix="check the path and its permissions.",
        ) from None


def _create(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise _exists(path) from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _exists(path: Path) -> SettingError:
    return SettingError(
        f"{path} exists, and a key that is overwritten is lost.", fix="choose another name."
    )


def _other_kind(path: Path, key: object) -> SettingError:
    curve = getattr(getattr(key, "curve", None), "name", "")
    kind = f"of the curve {curve}" if curve else f"an {type(key).__name__}"
    return SettingError(
        f"{path} is {kind}; signatures are made with P-256, P-384 or P-521.",
        fix="make a key with `sartor bundle keygen NAME`.",
    )


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _pem_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def hint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key's PEM, 64 hex digits: how a signature names the key."""
    return hashlib.sha256(_pem_of(key)).hexdigest()
