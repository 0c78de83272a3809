"""Who vouches for a bundle: one signature over the SHA-256 of every file, by a key.

The format is that of OpenSSF Model Signing, so that others can check it without Sartor: a Sigstore
bundle (JSON) with a DSSE envelope, in it an in-toto statement that lists the files. What is signed
is not the statement alone but

    "DSSEv1" SP length(type) SP type SP length(statement) SP statement

so that a signature made for one kind of document says nothing of another kind.

https://github.com/ossf/model-signing-spec
https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.bundle import keys
from sartor.bundle.manifest import SIGNATURE
from sartor.core.errors import BundleError
from sartor.core.forms import first_fault

_MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_AGAIN = "get the folder again from who signed it; if you trust it as it is, sign it anew."


class _Part(BaseModel):
    # Further fields are another version's or another tool's; what is not read here decides nothing.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Signed(_Part):
    sig: str = Field(max_length=1_000)


class _Envelope(_Part):
    payload: str
    type: str = Field(alias="payloadType")
    signatures: list[_Signed] = Field(min_length=1, max_length=1)


class _Key(_Part):
    hint: str | None = None


class _Material(_Part):
    key: _Key | None = Field(default=None, alias="publicKey")


class _File(_Part):
    media: str = Field(alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: _Envelope = Field(alias="dsseEnvelope")


class _Resource(_Part):
    name: str
    algorithm: str
    digest: str


class _Serialization(_Part):
    method: str
    hash: str = Field(alias="hash_type")


class _Predicate(_Part):
    serialization: _Serialization
    resources: list[_Resource] = Field(max_length=20_000)


class _Subject(_Part):
    digest: dict[str, str]


class _Statement(_Part):
    type: str = Field(alias="_type")
    subject: list[_Subject] = Field(min_length=1, max_length=1)
    kind: str = Field(alias="predicateType")
    predicate: _Predicate


def sign(
    files: Mapping[str, str], name: str, private: Path, password: bytes | None
) -> tuple[bytes, str]:
    """(the content of `model.sig`, SHA-256 of the public key in 64 hex digits).

    Args:
        files: Name to SHA-256, 64 hex digits, of every file but the signature.
        name: Of the folder; it is only told, not verified.
        private: PEM file of the key.
        password: Of an encrypted key.

    Raises:
        SettingError: If the key cannot be used.
    """
    key = keys.read_private(private, password)
    statement = json.dumps(_statement(files, name), indent=1).encode()
    found = key.sign(_pre_authentication(statement), ec.ECDSA(keys.CURVES[key.curve.name]))
    by = keys.hint(key.public_key())
    bundle: dict[str, Any] = {
        "mediaType": _MEDIA,
        "verificationMaterial": {
            "publicKey": {"hint": by},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(statement).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(found).decode(), "keyid": ""}],
        },
    }
    return (json.dumps(bundle, indent=1) + "\n").encode(), by


def check(signature: bytes, files: Mapping[str, str], place: Path, public: Path) -> str:
    """Refuse files that the key's owner has not signed as they are.

    Args:
        signature: The content of `model.sig`, which nobody vouches for.
        files: Name to SHA-256 of every file that is there but the signature, hashed just now.
        place: The bundle's folder, for messages.
        public: PEM file of the key that must have signed.

    Returns:
        SHA-256 of the public key, 64 hex digits.

    Raises:
        BundleError: If the signature is not of its form, by another key, forged, or of other files.
        SettingError: If the key cannot be used.
    """
    key = keys.read_public(public)
    found = _parsed(signature, place)
    hint, told = keys.hint(key), found.material.key
    if told is None:
        raise BundleError(
            f"{place / SIGNATURE} was made with a certificate or an account, not with a key.",
            fix="verify it with `model_signing verify`, or sign it with `sartor bundle sign`.",
        )
    if told.hint and told.hint != hint:
        raise BundleError(
            f"{place} was signed with the key {told.hint[:12]}, not with {public} ({hint[:12]}).",
            fix="ask who signed it for the public key, or do not use the bundle.",
        )
    statement = _verified(found.envelope, key, place, public)
    _compare(_listed(statement, place), files, place)
    return hint


def _statement(files: Mapping[str, str], name: str) -> dict[str, Any]:
    ordered = sorted(files.items())
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
            "resources": [
                {"name": file, "algorithm": "sha256", "digest": digest} for file, digest in ordered
            ],
        },
    }


def _parsed(signature: bytes, place: Path) -> _File:
    try:
        found = _File.model_validate_json(signature)
    except ValidationError as error:
        raise _odd(place, error) from None
    if found.media != _MEDIA or found.envelope.type != _PAYLOAD:
        raise BundleError(
            f"{place / SIGNATURE} is a {found.media!r} of {found.envelope.type!r}, which is not"
            " read here.",
            fix="sign the bundle with `sartor bundle sign` or `model_signing sign key`.",
        )
    return found


def _verified(
    envelope: _Envelope, key: ec.EllipticCurvePublicKey, place: Path, public: Path
) -> _Statement:
    """What was signed; not looked into before the signature is found to be right."""
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
        signature = base64.b64decode(envelope.signatures[0].sig, validate=True)
    except ValueError as error:
        raise _odd(place, error) from None
    try:
        key.verify(signature, _pre_authentication(payload), ec.ECDSA(keys.CURVES[key.curve.name]))
    except InvalidSignature:
        raise BundleError(
            f"The signature of {place} is not by the key {public}: it was forged or damaged.",
            fix="do not use the bundle; get it again from who signed it.",
        ) from None
    try:
        return _Statement.model_validate_json(payload)
    except ValidationError as error:
        raise _odd(place, error) from None


def _listed(statement: _Statement, place: Path) -> dict[str, str]:
    """Name to SHA-256 of what was signed."""
    by, resources = statement.predicate.serialization, statement.predicate.resources
    if (statement.type, statement.kind) != (_STATEMENT, _PREDICATE):
        raise BundleError(
            f"{place / SIGNATURE} signs a {statement.kind!r}, not a model.",
            fix="sign the bundle with `sartor bundle sign`.",
        )
    plain = by.method == "files" and all(each.algorithm == "sha256" for each in resources)
    if not plain:
        raise BundleError(
            f"{place / SIGNATURE} lists {by.method} by {by.hash}; files by sha256 are read here.",
            fix="sign the bundle with `sartor bundle sign`.",
        )
    listed = {each.name: each.digest for each in resources}
    try:
        whole = hashlib.sha256(b"".join(bytes.fromhex(each.digest) for each in resources))
    except ValueError as error:
        raise _odd(place, error) from None
    if len(listed) != len(resources) or statement.subject[0].digest.get("sha256") != (
        whole.hexdigest()
    ):
        raise BundleError(
            f"{place / SIGNATURE} contradicts itself: its list of files does not fit its digest.",
            fix="sign the bundle again with `sartor bundle sign`.",
        )
    return listed


def _compare(signed: Mapping[str, str], there: Mapping[str, str], place: Path) -> None:
    if added := sorted({*there} - {*signed}):
        raise BundleError(f"{place / added[0]} is not covered by the signature.", fix=_AGAIN)
    if gone := sorted({*signed} - {*there}):
        raise BundleError(f"{place} lacks {gone[0]!r}, which was signed.", fix=_AGAIN)
    if changed := sorted(name for name, digest in there.items() if signed[name] != digest):
        raise BundleError(
            f"{place / changed[0]} differs from what was signed: it was changed since, or the"
            " signature is another bundle's.",
            fix=_AGAIN,
        )


def _pre_authentication(payload: bytes) -> bytes:
    head = f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} "
    return head.encode() + payload


def _odd(place: Path, error: Exception) -> BundleError:
    return BundleError(
        f"{place / SIGNATURE} is not a signature of its form: {first_fault(error, '')}.",
        fix="sign the bundle again with `sartor bundle sign`.",
    )
