"""Run the application on a socket until told to stop."""

import os
import signal
import socket
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from sartor.core.errors import SettingError
from sartor.core.events import Emit, Note, silent
from sartor.llm.asker import Asker
from sartor.serve.following import open_live
from sartor.serve.giving_back import few_arenas
from sartor.serve.settings import KEY_VARIABLE, ServeSettings
from sartor.serve.tls import check_tls
from sartor.serve.traces import wanted

if TYPE_CHECKING:
    import uvicorn

    from sartor.serve.guard import Desk

_BACKLOG = 2_048


def serve(settings: ServeSettings, emit: Emit = silent) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted, at most `stop_s` seconds.

    A key in the environment variable SARTOR_API_KEY is used where the settings have none.

    Raises:
        SettingError: If others could reach the server and no key exists, the port is taken, or
            the certificate cannot be used.
        BundleError: If the bundle is damaged, or unreleased and not allowed.
        WorkspaceError: If the store cannot be used.
    """
    few_arenas()
    server, listener = prepare(settings, emit)
    with listener, _quiet_signals():
        server.run(sockets=[listener])


def prepare(settings: ServeSettings, emit: Emit = silent) -> "tuple[uvicorn.Server, socket.socket]":
    """A server that is loaded but does not run yet, and the socket it will answer on.

    Requests that arrive on the socket before the server runs wait there.
    """
    if settings.key is None and os.environ.get(KEY_VARIABLE):
        settings = replace(settings, key=os.environ[KEY_VARIABLE])
    if settings.tls_cert:
        check_tls(settings.tls_cert, settings.tls_key)
    listener = _listen(settings)
    settings = replace(settings, port=listener.getsockname()[1])
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="load") as loader:
            # Hashing and loading the model leave the interpreter free for the imports below.
            runtime = loader.submit(open_live, settings)
            import uvicorn

            from sartor.serve.app import create_app
            from sartor.serve.heads import IDLE_S, BoundedHead

            app = create_app(settings, runtime.result(), emit)
    except BaseException:
        listener.close()
        raise
    if isinstance(model := runtime.result().model, Asker):
        emit(
            Note(
                f"Every text is sent on to {model.chat.place}, where {model.chat.model} labels it."
            )
        )
    for note in _notes(settings, app.desk):
        emit(note)
    config = uvicorn.Config(
        app,
        # As uvicorn[standard] has them: half of a request's time in plain asyncio and h11.
        loop="uvloop",
        http=BoundedHead,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        # Addresses are not logged, so nobody needs to be believed about them.
        proxy_headers=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=round(settings.stop_s),
    )
    return uvicorn.Server(config), listener


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where it is told that this is TCP;
    # otherwise each answer on a kept connection waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}.",
            fix="choose another port (0 takes any free one) or stop what holds it.",
        ) from error
    listener.listen(_BACKLOG)
    return listener


def _notes(settings: ServeSettings, desk: "Desk") -> Iterator[Note]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls_cert else "http"
    yield Note(
        f"Serving {settings.deployment or settings.bundle} at {scheme}://{host}:{settings.port}/"
    )
    if not settings.loopback and not settings.tls_cert:
        yield Note(
            "Plain HTTP: texts and keys can be read on the way. Put a proxy with TLS in front, "
            "or give --tls-cert."
        )
    if not desk.gate.wants_key:
        yield Note(
            f"No API key: every program on this machine may ask. Set {KEY_VARIABLE} to want one."
        )
    if (name := wanted()) and desk.traces is None:
        yield Note(
            f"{name} is set, and OpenTelemetry is not installed, so there are no traces: "
            "pip install 'sartor[otel]'.",
            "warning",
        )
    if settings.unreleased:
        yield Note("An unreleased bundle may be served: its answers may be wrong.", "warning")
    if settings.store_texts:
        yield Note(f"Texts are kept for {settings.retention_days} days.")


@contextmanager
def _quiet_signals() -> Generator[None]:
    """After a graceful stop uvicorn sends itself the signal again; the stop is enough for us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _nothing) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(number: int, frame: FrameType | None) -> None: ...
