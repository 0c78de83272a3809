"""HTTPS of the server's own, with a certificate made here; and what is wrong with others."""

import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from sartor.core.errors import SettingError
from sartor.core.events import Note
from sartor.serve.run import prepare
from sartor.serve.settings import ServeSettings
from sartor.serve.tls import check_tls

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="no openssl program on this machine")


def make(folder: Path, name: str, *more: str) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = [str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", *(more or ["-nodes"])]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return str(certificate), str(key)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make(tmp_path_factory.mktemp("tls"), "own")


def test_a_client_that_trusts_the_certificate_is_answered(pair, bundle):
    notes: list[str] = []
    settings = ServeSettings(
        bundle=str(bundle.folder), port=0, tls_cert=pair[0], tls_key=pair[1], max_body_bytes=99
    )
    server, listener = prepare(
        settings, lambda event: notes.append(event.text) if isinstance(event, Note) else None
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        trusting = ssl.create_default_context(cafile=pair[0])
        with httpx.Client(base_url=f"https://{address}", verify=trusting) as client:
            body = {"inputs": [{"text": "money"}]}
            # A browser's own page is one under https.
            headers = {"origin": f"https://{address}"}
            reply = client.post("/v1/predict", json=body, headers=headers)
            assert reply.json()["outputs"][0]["label"] == "refund"
        with httpx.Client() as stranger, pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
            stranger.get(f"https://{address}/healthz")
        with httpx.Client() as plain, pytest.raises(httpx.RemoteProtocolError):
            plain.get(f"http://{address}/healthz")
        old = ssl.create_default_context(cafile=pair[0])
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with httpx.Client(verify=old) as outdated, pytest.raises(httpx.ConnectError):
            outdated.get(f"https://{address}/healthz")
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert any(f"at https://{address}/" in note for note in notes)


def test_certificate_and_key_may_share_a_file(pair, tmp_path: Path):
    both = tmp_path / "both.pem"
    both.write_text(Path(pair[1]).read_text() + Path(pair[0]).read_text())
    check_tls(str(both), None)
    both.write_text(Path(pair[0]).read_text())
    with pytest.raises(SettingError, match="the key must be in the same file"):
        check_tls(str(both), None)


def test_what_cannot_be_used_says_which_file_and_why(pair, tmp_path: Path):
    certificate, key = pair
    other = make(tmp_path, "other")
    encrypted = make(tmp_path, "locked", "-passout", "pass:secret-word")
    text = tmp_path / "notes.txt"
    text.write_text("not a certificate")
    empty = tmp_path / "empty.pem"
    empty.touch()
    for given, what, fix in (
        ((str(tmp_path / "gone.crt"), key), "gone.crt cannot be read: No such file", "path"),
        ((certificate, str(tmp_path)), "cannot be read: Is a directory", "path"),
        ((certificate, other[1]), f"key in {other[1]} is not that of", "made with"),
        (encrypted, f"key in {encrypted[1]} is encrypted", "openssl pkey"),
        ((str(text), key), "holds no PEM certificate", "BEGIN CERTIFICATE"),
        ((str(empty), key), "holds no PEM certificate", "BEGIN CERTIFICATE"),
        ((certificate, None), "without --tls-key the key must be in the same file", "BEGIN"),
        ((key, certificate), "holds no PEM certificate", "BEGIN CERTIFICATE"),
    ):
        with pytest.raises(SettingError) as caught:
            check_tls(*given)
        assert what in caught.value.what, given
        assert fix in caught.value.fix, given
        assert "secret-word" not in str(caught.value)


def test_a_certificate_that_cannot_be_used_stops_the_start_before_the_port_is_taken(bundle):
    settings = ServeSettings(bundle=str(bundle.folder), port=0, tls_cert="gone.crt")
    with pytest.raises(SettingError, match=r"gone\.crt cannot be read"):
        prepare(settings)


def test_a_key_alone_is_refused():
    with pytest.raises(SettingError, match="there is no tls_cert"):
        ServeSettings(bundle="x", tls_key="a.key")


def test_plain_http_for_others_is_said_aloud(bundle):
    notes: list[str] = []
    settings = ServeSettings(bundle=str(bundle.folder), port=0, host="0.0.0.0", key="k" * 32)
    _, listener = prepare(
        settings, lambda event: notes.append(event.text) if isinstance(event, Note) else None
    )
    listener.close()
    assert any("Plain HTTP" in note and "--tls-cert" in note for note in notes)
