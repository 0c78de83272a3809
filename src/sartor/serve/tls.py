"""TLS of the server's own: a certificate and its key, checked before anything is loaded.

The server takes TLS 1.2 and newer, Python's own choice of ciphers, and asks clients for no
certificate.
"""

import ssl
from pathlib import Path

from sartor.core.errors import SettingError


def check_tls(certificate: str, key: str | None) -> None:
    """Refuse what a server could not use.

    Args:
        certificate: PEM file with the certificate, and those that vouch for it after it.
        key: PEM file with its private key; in the certificate's file when None.

    Raises:
        SettingError: If a file cannot be read, is not PEM, is encrypted, or the two do not match.
    """
    for path in filter(None, (certificate, key)):
        _check_readable(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, lambda: _refuse_password(key or certificate))
    except ssl.SSLError as error:
        raise _explain(error, certificate, key) from None


def _check_readable(path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise SettingError(
            f"{path} cannot be read: {error.strerror or error}.",
            fix="check the path and its permissions.",
        ) from None


def _refuse_password(path: str) -> str:
    # Without this OpenSSL would ask on the terminal, or hang where there is none.
    raise SettingError(
        f"The private key in {path} is encrypted.",
        fix=f"write it without a password: `openssl pkey -in {path} -out plain.pem`.",
    )


def _explain(error: ssl.SSLError, certificate: str, key: str | None) -> SettingError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return SettingError(
            f"The key in {key or certificate} is not that of the certificate in {certificate}.",
            fix="give the key that the certificate was made with.",
        )
    where = certificate if key is None else f"{certificate} or {key}"
    missing = " (without --tls-key the key must be in the same file)" if key is None else ""
    return SettingError(
        f"{where} holds no PEM certificate or no PEM key{missing}: {error.reason or error}.",
        fix="give files with -----BEGIN CERTIFICATE----- and -----BEGIN PRIVATE KEY-----.",
    )
