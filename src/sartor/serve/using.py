"""Processor time and memory of a served bundle, in fresh processes.

Each process is a server as `sartor serve` runs it, with a store of its own, that one client asks
over HTTP, one text a request, one request after another, and then eight at once, which are answered
in batches: so reading the request, recording the answer and writing the reply are in what is
measured. One thread runs a pass, as where a process is started for each vCPU. The time is that of
the whole process, user and system, between the first and the last request after a warm-up; the
memory is the most that was resident at once, loading included. Run as
`python -m sartor.serve.using BUNDLE --store FILE`, this serves until its input ends; `measure` runs
six of them, one after the other, and is the client.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sartor.bundle import open_bundle
from sartor.core.errors import BundleError, SettingError
from sartor.core.texts import Text, each_part, named
from sartor.core.types import Use
from sartor.serve.settings import ServeSettings
from sartor.serve.timing import Load

if TYPE_CHECKING:
    import uvicorn

CLIENTS = 8
"""That ask at once where a server is busy."""
_USED = "/used"
_PATIENCE_S = 120.0
_Found = tuple[float, float, float, float]
"""Processor seconds of a request and MiB, of requests alone and of `CLIENTS` at once."""
_Scope = dict[str, Any]
_Message = Callable[..., Awaitable[Any]]


def measure(bundle: str | Path, texts: Sequence[Text], load: Load | None = None) -> Use:
    """What one request takes of the processor, and a serving process of the memory.

    Args:
        bundle: The bundle's folder; one that holds a graph.
        texts: What is asked, in turn; their lengths decide the result.
        load: How much is asked, how often; one thread where it does not say.

    Raises:
        SettingError: If there is no text, or `load` asks for nothing.
        BundleError: If the bundle is damaged, or a process cannot serve it.
    """
    load = load or Load()
    load = replace(load, threads=load.threads or 1)
    if not texts or load.requests < 1 or load.processes < 1:
        raise SettingError(
            f"Nothing to measure: {len(texts)} texts, {load.requests} requests, "
            f"{load.processes} processes.",
            fix="give at least one of each.",
        )
    keys = tuple(open_bundle(bundle).manifest.inputs)
    longest = ServeSettings(str(bundle)).max_text_chars
    rows = (named(each_part(text, lambda part: part[:longest]), keys) for text in texts)
    bodies = [json.dumps({"inputs": [row]}).encode("ascii") for row in rows]
    found = [_one_process(bundle, bodies, load) for _ in range(load.processes)]
    alone, memory, busy, crowd = zip(*found, strict=True)
    return Use(alone, max(memory), load.threads or 1, busy, max(crowd))


def _one_process(bundle: str | Path, bodies: Sequence[bytes], load: Load) -> _Found:
    with tempfile.TemporaryDirectory(prefix="sartor-using-") as folder:
        store = str(Path(folder) / "store.db")
        command = [sys.executable, "-m", "sartor.serve.using", str(bundle), "--store", store]
        if load.threads is not None:
            command += ["--threads", str(load.threads)]
        # A key of the user's own server is not asked for here.
        plain = {name: value for name, value in os.environ.items() if name != "SARTOR_API_KEY"}
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=plain,
            ) as process,
        ):
            try:
                assert process.stdout is not None, "it was asked for"
                late = threading.Timer(_PATIENCE_S, process.kill)
                late.start()
                line = process.stdout.readline()
                late.cancel()
                if not line:
                    process.wait()
                    errors.seek(0)
                    raise _unserved(bundle, errors.read())
                return _ask(bundle, int(line), bodies, load)
            finally:
                assert process.stdin is not None, "it was asked for"
                with suppress(BrokenPipeError):
                    process.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE_S)
                process.kill()


def _ask(bundle: str | Path, port: int, bodies: Sequence[bytes], load: Load) -> _Found:
    try:
        alone = _by(1, bundle, port, bodies, load)
        busy = _by(CLIENTS, bundle, port, bodies, load)
    except (OSError, http.client.HTTPException) as error:
        raise _unserved(bundle, str(error)) from error
    return *alone, *busy


def _by(
    clients: int, bundle: str | Path, port: int, bodies: Sequence[bytes], load: Load
) -> tuple[float, float]:
    """(processor seconds of a request, MiB), asked by so many clients in a closed loop."""

    def ask(first: int, requests: int) -> None:
        with closing(_connected(port)) as connection:
            for index in range(first, requests, clients):
                _predict(connection, bundle, bodies[index % len(bodies)])

    def all_ask(requests: int) -> None:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(ask, range(clients), [requests] * clients))

    all_ask(load.warm_up)
    before, _ = _used(port)
    all_ask(load.requests)
    after, memory = _used(port)
    return (after - before) / load.requests, memory


def _connected(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)


def _predict(connection: http.client.HTTPConnection, bundle: str | Path, body: bytes) -> None:
    connection.request("POST", "/v1/predict", body, {"content-type": "application/json"})
    reply = connection.getresponse()
    said = reply.read()
    if reply.status != 200:
        raise _unserved(bundle, said.decode("utf-8", "replace")[:500])


def _used(port: int) -> tuple[float, float]:
    # A connection of its own: one that stands idle for seconds is closed by the server.
    with closing(_connected(port)) as connection:
        connection.request("GET", _USED)
        seconds, mib = json.loads(connection.getresponse().read())
    return float(seconds), float(mib)


def _unserved(bundle: str | Path, said: str) -> BundleError:
    last = (said.strip().splitlines() or ["it ended without a word"])[-1]
    return BundleError(
        f"{bundle} could not be measured in a fresh serving process: {last}.",
        fix=f"run `sartor serve --unreleased {bundle}` to see more.",
    )


def peak_memory_mib() -> float:
    """Most memory that this process has had resident at once, in MiB.

    Linux's `ru_maxrss` begins with what the parent had, so its own mark is read where there is one.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
        (line,) = (row for row in status.splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1024**2 if sys.platform == "darwin" else 1024)


def _metered(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The application, and one more route that tells what this process has used."""

    async def answer(scope: _Scope, receive: _Message, send: _Message) -> None:
        if scope["type"] != "http" or scope["path"] != _USED:
            await app(scope, receive, send)
            return
        body = json.dumps([time.process_time(), peak_memory_mib()]).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def _until_told(server: "uvicorn.Server") -> None:
    sys.stdin.read()
    server.should_exit = True


def _main() -> None:
    parser = argparse.ArgumentParser(description="Serve a bundle and tell what it uses.")
    parser.add_argument("bundle")
    parser.add_argument("--store", required=True, help="path of a database that may be written")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    # Imported here: the measuring parent needs no server of its own.
    from sartor.serve.run import prepare

    server, listener = prepare(
        ServeSettings(
            bundle=given.bundle,
            port=0,
            store=given.store,
            unreleased=True,
            # Whoever measures a bundle has opened it; most are being made, and not signed yet.
            verify_key="",
            threads=given.threads,
            # A slow model keeps eight clients waiting: none of them is turned away.
            max_wait_s=_PATIENCE_S,
        )
    )
    config: Any = server.config
    config.app = _metered(config.app)
    threading.Thread(target=_until_told, args=(server,), daemon=True).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    with listener:
        server.run(sockets=[listener])


if __name__ == "__main__":
    _main()
