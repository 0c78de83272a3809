"""A bundle is used with a key only as it was signed, by that key; and others can check it too."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sartor.bundle import Bundle, open_bundle, record_verdicts, write_bundle
from sartor.bundle.folder import CARD, MODEL, TOKENIZER, sign_bundle
from sartor.bundle.manifest import MANIFEST, SIGNATURE
from sartor.cli.app import app
from sartor.core.errors import BundleError, MissingExtra, SettingError
from sartor.need.verdict import Verdict
from tests.bundle.test_folder import draft

pytest.importorskip("cryptography", reason="needs sartor[sign]")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sartor.bundle import keys, signing

HERE = Path(__file__).parent
MET = Verdict("accuracy >= 0.8", 0.85, 0.81, 0.89, 200, "met")
ALL = (MODEL, TOKENIZER, CARD, "need.yaml", MANIFEST)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make(tmp_path, "reviews", bytes(range(256)))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "team.pem", keys.make_keys(tmp_path / "team.pem")


def make(tmp_path: Path, name: str, graph: bytes) -> Bundle:
    sources = tmp_path / f"{name} sources"
    sources.mkdir()
    (sources / "graph").write_bytes(graph)
    (sources / "pieces").write_text("{}")
    content = {MODEL: sources / "graph", TOKENIZER: sources / "pieces"}
    made = write_bundle(tmp_path / name, draft(), content, "name: reviews\n")
    return record_verdicts(made, [MET], released=True)


def test_a_signed_bundle_opens_with_the_key_and_without(bundle, pair):
    private, public = pair
    by = sign_bundle(bundle.folder, private)
    assert open_bundle(bundle.folder, verify_key=public).manifest == bundle.manifest
    assert open_bundle(bundle.folder).manifest == bundle.manifest
    assert by == hashlib.sha256(public.read_bytes()).hexdigest()


def test_a_bundle_names_every_file_of_its_folder(bundle, pair):
    assert sorted(bundle.names) == sorted(ALL)
    sign_bundle(bundle.folder, pair[0])
    assert {*bundle.names} == {path.name for path in bundle.folder.iterdir()} == {*ALL, SIGNATURE}


def test_a_copy_of_the_folder_under_another_name_is_signed_too(bundle, pair, tmp_path):
    sign_bundle(bundle.folder, pair[0])
    copy = shutil.copytree(bundle.folder, tmp_path / "elsewhere" / "other")
    open_bundle(copy, verify_key=pair[1])


def test_an_unsigned_bundle_is_refused_by_name(bundle, pair):
    with pytest.raises(BundleError, match="reviews is not signed") as caught:
        open_bundle(bundle.folder, verify_key=pair[1])
    assert "sartor bundle sign" in caught.value.fix


def test_another_key_is_refused_and_both_are_named(bundle, pair, tmp_path):
    by = sign_bundle(bundle.folder, pair[0])
    other = keys.make_keys(tmp_path / "other.pem")
    with pytest.raises(BundleError, match=rf"signed with the key {by[:12]}, not with .*other\.pub"):
        open_bundle(bundle.folder, verify_key=other)


def test_a_signature_whose_key_is_relabelled_is_refused(bundle, pair, tmp_path):
    sign_bundle(bundle.folder, pair[0])
    other = keys.make_keys(tmp_path / "other.pem")
    hint = hashlib.sha256(other.read_bytes()).hexdigest()
    edit(bundle.folder, lambda raw: raw["verificationMaterial"]["publicKey"].update(hint=hint))
    with pytest.raises(BundleError, match="not by the key"):
        open_bundle(bundle.folder, verify_key=other)


def test_verdicts_that_are_recorded_after_signing_are_not_covered(bundle, pair):
    sign_bundle(bundle.folder, pair[0])
    record_verdicts(bundle, [], released=False)
    open_bundle(bundle.folder)
    with pytest.raises(BundleError, match=r"manifest\.json differs|README\.md differs"):
        open_bundle(bundle.folder, verify_key=pair[1])
    sign_bundle(bundle.folder, pair[0])
    assert not open_bundle(bundle.folder, verify_key=pair[1]).manifest.released


def test_the_signature_of_another_bundle_is_refused(bundle, pair, tmp_path):
    other = make(tmp_path, "other", b"another graph")
    sign_bundle(other.folder, pair[0])
    shutil.copyfile(other.folder / SIGNATURE, bundle.folder / SIGNATURE)
    with pytest.raises(BundleError, match="signature is another bundle's"):
        open_bundle(bundle.folder, verify_key=pair[1])


def test_a_bundle_put_together_by_a_forger_who_knows_the_seal_is_refused(bundle, pair, tmp_path):
    # Everything fits but the signature: the manifest's own hashes do not stop this one.
    sign_bundle(bundle.folder, pair[0])
    forged = make(tmp_path, "forged", b"a graph that says what its maker wants")
    for name in ALL:
        shutil.copyfile(forged.folder / name, bundle.folder / name)
    open_bundle(bundle.folder)
    with pytest.raises(BundleError, match="differs from what was signed"):
        open_bundle(bundle.folder, verify_key=pair[1])


def test_a_statement_that_is_changed_is_not_by_the_key(bundle, pair):
    sign_bundle(bundle.folder, pair[0])

    def change(raw):
        payload = base64.b64decode(raw["dsseEnvelope"]["payload"]).replace(b"reviews", b"Reviews")
        raw["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()

    edit(bundle.folder, change)
    with pytest.raises(BundleError, match="forged or damaged"):
        open_bundle(bundle.folder, verify_key=pair[1])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda raw: raw.update(mediaType="text/plain"), "text/plain"),
        (lambda raw: raw["dsseEnvelope"].update(payloadType="text/plain"), "text/plain"),
        (lambda raw: raw["dsseEnvelope"].update(signatures=[]), "signatures"),
        (lambda raw: raw["dsseEnvelope"].update(payload="?"), "not a signature of its form"),
        (lambda raw: raw["dsseEnvelope"].pop("payload"), "payload"),
        (lambda raw: raw.pop("verificationMaterial"), "verificationMaterial"),
        (lambda raw: raw.update(verificationMaterial={"certificate": {}}), "with a certificate"),
        (lambda raw: raw["dsseEnvelope"]["signatures"][0].update(sig="A" * 2_000), "sig"),
    ],
)
def test_a_file_that_is_no_such_signature_is_refused_by_name(bundle, pair, change, what):
    sign_bundle(bundle.folder, pair[0])
    edit(bundle.folder, change)
    with pytest.raises(BundleError, match=what) as caught:
        open_bundle(bundle.folder, verify_key=pair[1])
    assert SIGNATURE in caught.value.what


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"0" * 8_000_001])
def test_garbage_in_the_place_of_a_signature_is_refused(bundle, pair, data):
    (bundle.folder / SIGNATURE).write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.sig"):
        open_bundle(bundle.folder, verify_key=pair[1])


@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_place_of_a_signature_is_refused_without_a_key_too(
    bundle, pair, tmp_path, there
):
    sign_bundle(bundle.folder, pair[0])
    (bundle.folder / SIGNATURE).rename(tmp_path / "moved.sig")
    (bundle.folder / SIGNATURE).symlink_to(tmp_path / ("moved.sig" if there else "gone.sig"))
    for key in ("", pair[1]):
        with pytest.raises(BundleError, match=r"model\.sig is not a plain file"):
            open_bundle(bundle.folder, verify_key=key)


def test_a_content_file_cannot_take_the_name_of_the_signature(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"")
    with pytest.raises(BundleError, match=r"'model\.sig' cannot be the name"):
        write_bundle(tmp_path / "b", draft(), {SIGNATURE: source}, "name: reviews\n")


def test_a_list_that_leaves_a_file_out_names_it(pair):
    data, _ = signing.sign({"a": "00" * 32}, "x", pair[0], None)
    with pytest.raises(BundleError, match="x/b is not covered"):
        signing.check(data, {"a": "00" * 32, "b": "11" * 32}, Path("x"), pair[1])
    with pytest.raises(BundleError, match="lacks 'a', which was signed"):
        signing.check(data, {}, Path("x"), pair[1])


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_each_curve_signs(bundle, tmp_path, curve):
    private, public = write_keys(tmp_path, ec.generate_private_key(curve))
    sign_bundle(bundle.folder, private)
    open_bundle(bundle.folder, verify_key=public)


@pytest.mark.parametrize(
    ("make_key", "kind"),
    [
        (lambda: rsa.generate_private_key(65_537, 2_048), "RSA"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
    ],
)
def test_a_key_of_another_kind_is_refused_by_name(bundle, pair, tmp_path, make_key, kind):
    private, public = write_keys(tmp_path, make_key())
    with pytest.raises(SettingError, match=kind):
        sign_bundle(bundle.folder, private)
    assert not (bundle.folder / SIGNATURE).exists()
    sign_bundle(bundle.folder, pair[0])
    with pytest.raises(SettingError, match=kind):
        open_bundle(bundle.folder, verify_key=public)


def test_an_encrypted_key_wants_its_password(bundle, tmp_path):
    private = tmp_path / "locked.pem"
    public = keys.make_keys(private, b"correct horse")
    with pytest.raises(SettingError, match="no password"):
        sign_bundle(bundle.folder, private)
    with pytest.raises(SettingError, match=r"locked\.pem cannot be read"):
        sign_bundle(bundle.folder, private, b"wrong")
    sign_bundle(bundle.folder, private, b"correct horse")
    open_bundle(bundle.folder, verify_key=public)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a public key in PEM form"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is a certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a private key"),
    ],
)
def test_a_file_that_is_no_public_key_is_refused_with_the_way_out(
    bundle, pair, tmp_path, content, what
):
    sign_bundle(bundle.folder, pair[0])
    place = tmp_path / "odd.pem"
    place.write_bytes(content)
    with pytest.raises(SettingError, match=what):
        open_bundle(bundle.folder, verify_key=place)
    with pytest.raises(SettingError, match=r"gone\.pem cannot be read"):
        open_bundle(bundle.folder, verify_key=tmp_path / "gone.pem")


def test_a_private_key_is_its_owners_alone_and_never_overwritten(pair):
    private, public = pair
    assert private.stat().st_mode & 0o077 == 0
    before = private.read_bytes()
    with pytest.raises(SettingError, match="exists"):
        keys.make_keys(private)
    public.unlink()
    with pytest.raises(SettingError, match="exists"):
        keys.make_keys(private)
    assert private.read_bytes() == before


def test_the_commands_make_keys_sign_and_verify(bundle, tmp_path, monkeypatch):
    name, folder = str(tmp_path / "shop"), str(bundle.folder)
    assert "not encrypted" in run("keygen", name)
    assert "It is not signed" in run("verify", folder)
    assert "released" in run("sign", folder, "--key", f"{name}.pem")
    assert "only --key can check" in run("verify", folder)
    assert "signed by the key" in run("verify", folder, "--key", f"{name}.pub.pem")
    monkeypatch.setenv("SARTOR_VERIFY_KEY", f"{name}.pub.pem")
    said = json.loads(run("verify", folder, "--json"))
    assert (said["signed"], said["verified_with"]) == (True, f"{name}.pub.pem")
    (bundle.folder / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="is not signed"):
        run("verify", folder)


def test_a_password_comes_from_the_environment(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SARTOR_KEY_PASSWORD", "correct horse")
    assert "(encrypted)" in run("keygen", str(tmp_path / "locked"))
    assert "correct horse" not in run("sign", str(bundle.folder), "--key", f"{tmp_path}/locked.pem")
    monkeypatch.delenv("SARTOR_KEY_PASSWORD")
    with pytest.raises(SettingError, match="SARTOR_KEY_PASSWORD"):
        run("sign", str(bundle.folder), "--key", f"{tmp_path}/locked.pem")


def test_without_a_key_nothing_of_it_is_imported_and_with_one_the_extra_is_named(
    bundle, pair, tmp_path
):
    sign_bundle(bundle.folder, pair[0])
    (tmp_path / "cryptography.py").write_text("raise ModuleNotFoundError(name='cryptography')")
    code = "import sys; from sartor.bundle import open_bundle; open_bundle(sys.argv[1])"
    command = [sys.executable, "-c", code, str(bundle.folder)]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run(command, env={"PYTHONPATH": path}, check=True)
    command[2] = code.replace("sys.argv[1]", "sys.argv[1], verify_key=sys.argv[2]")
    said = subprocess.run(
        [*command, str(pair[1])], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert MissingExtra.__name__ in said.stderr
    assert "sartor[sign]" in said.stderr


def test_what_the_reference_implementation_signed_is_accepted():
    """Made by `model_signing sign key` of model-signing 1.1.1 over a folder of two files."""
    place = HERE / "signed_elsewhere"
    data, public = (place / "model.sig").read_bytes(), place / "key.pub.pem"
    files = {"a.txt": b"one\n", "b.txt": b"two\n"}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    signing.check(data, digests, place, public)
    with pytest.raises(BundleError, match=r"b\.txt differs"):
        signing.check(data, {**digests, "b.txt": "00" * 32}, place, public)


def test_the_reference_implementation_accepts_what_is_signed_here(bundle, pair):
    pytest.importorskip("model_signing", reason="needs model-signing")
    sign_bundle(bundle.folder, pair[0])
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(bundle.folder)]
    command += ["--signature", str(bundle.folder / SIGNATURE), "--public_key", str(pair[1])]
    subprocess.run(command, check=True, capture_output=True)
    (bundle.folder / MODEL).write_bytes(b"another graph")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["bundle", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    raw = json.loads((folder / SIGNATURE).read_bytes())
    change(raw)
    (folder / SIGNATURE).write_text(json.dumps(raw))


def write_keys(folder: Path, key) -> tuple[Path, Path]:
    """PEM files of a private key of any kind and of its public half."""
    private, public = folder / "any.pem", folder / "any.pub.pem"
    none = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, pkcs8, none))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(pem, info))
    return private, public
