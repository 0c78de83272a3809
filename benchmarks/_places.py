"""The places that a bundle can answer in on this machine, each asked for the same texts.

A place is a context that starts it and gives a function from texts to outputs. Where something is
needed that sartor does not bring, `missing` says what.
"""

import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks._server import command, free_port

from sartor.ship.writing import ship

Ask = Callable[[Sequence[str]], list[dict[str, Any]]]
RIE, RIC, FRAMEWORK = "AWS_LAMBDA_RIE", "AWS_LAMBDA_RIC", "FUNCTIONS_FRAMEWORK"
"""Environment variables that name the emulator's file, the folder that awslambdaric is installed
in, and the script functions-framework of an environment where requirements.txt is."""
_PATIENCE_S = 180.0
_EMULATED = "/2015-03-31/functions/function/invocations"


def emulator() -> str | None:
    """AWS Lambda's Runtime Interface Emulator, if it is here."""
    return os.environ.get(RIE) or shutil.which("aws-lambda-rie")


def missing(place: str) -> str:
    """What keeps a place from being started here; "" if nothing does."""
    if place == "lambda":
        if emulator() is None:
            return f"no aws-lambda-rie: put it into the PATH, or its place into {RIE}"
        if RIC not in os.environ and importlib.util.find_spec("awslambdaric") is None:
            return f"no awslambdaric: install it, or name the folder that holds it in {RIC}"
    if place == "cloud_functions" and _framework() is None:
        return f"no functions-framework: put it into the PATH, or its place into {FRAMEWORK}"
    if place == "ray_serve":
        for module in ("ray", "grpc", "grpc_reflection", "aiohttp", "watchfiles"):
            if importlib.util.find_spec(module) is None:
                return f"no {module}: pip install 'ray[serve]'"
    return ""


@contextmanager
def in_process(bundle: Path) -> Iterator[Ask]:
    import sartor

    runtime = sartor.load(bundle, unreleased="allow")
    yield runtime.predict


@contextmanager
def over_http(bundle: Path) -> Iterator[Ask]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        served = command(str(bundle), Path(folder) / "store.db", port)
        with running(served, Path(folder)) as process:
            yield _asking(port, process)


@contextmanager
def on_lambda(package: Path) -> Iterator[Ask]:
    """A package for Lambda under the emulator, asked by events of a function URL."""
    with emulated(package) as invoke:

        def ask(texts: Sequence[str]) -> list[dict[str, Any]]:
            reply = invoke(url_event(_body(texts)))
            if reply.get("statusCode") != 200:
                raise SystemExit(f"not an answer: {reply}")
            return json.loads(reply["body"])["outputs"]

        yield ask


@contextmanager
def emulated(
    package: Path, handler: str = "handler.handler", more: Sequence[Path] = ()
) -> Iterator[Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """Start the emulator; it starts the function when it is invoked for the first time.

    Args:
        package: What Lambda would have in /var/task.
        handler: Module and function.
        more: Further folders that modules are looked for in.
    """
    port, found, client = free_port(), emulator(), os.environ.get(RIC)
    assert found is not None, "`missing` was asked"
    words = [found, "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    words += ["--runtime-api-address", f"127.0.0.1:{free_port()}", sys.executable]
    # Where the client lies by itself, nothing that is installed for this Python is seen.
    words += [*(["-S"] if client else []), "-m", "awslambdaric", handler]
    paths = [str(package), *([client] if client else []), *map(str, more)]
    own = {"PYTHONPATH": os.pathsep.join(paths), "LAMBDA_TASK_ROOT": str(package)}
    with running(words, package, own) as process:
        _wait(port, process)

        def invoke(event: Mapping[str, Any]) -> dict[str, Any]:
            status, said = _post(port, _EMULATED, json.dumps(event).encode())
            if status != 200:
                raise SystemExit(f"not an answer: {said!r}")
            return json.loads(said)

        yield invoke


@contextmanager
def on_cloud_functions(folder: Path) -> Iterator[Ask]:
    """A folder for Cloud Functions, under functions-framework."""
    found = _framework()
    assert found is not None, "`missing` was asked"
    port = free_port()
    words = [found, "--target=answer", "--host=127.0.0.1", f"--port={port}"]
    with running(words, folder) as process:
        yield _asking(port, process)


@contextmanager
def on_ray_serve(folder: Path, port: int) -> Iterator[Ask]:
    """A folder for Ray Serve that names the port, on a Ray of its own."""
    code = "import sys; from ray.serve.scripts import cli; cli(sys.argv[1:])"
    own = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    with running([sys.executable, "-c", code, "run", "config.yaml"], folder, own) as process:
        yield _asking(port, process)


PLACES = ("in process", "http", "lambda", "cloud_functions", "ray_serve")


@contextmanager
def place(name: str, bundle: Path, package: Callable[[Path], Path]) -> Iterator[Ask]:
    """Any of PLACES, from the folder that `sartor ship` writes for it.

    Args:
        name: One for which nothing is `missing`.
        bundle: What answers.
        package: Makes what Lambda runs of the folder that was written for Lambda.
    """
    with ExitStack() as stack:
        if name in ("in process", "http"):
            start = in_process if name == "in process" else over_http
            yield stack.enter_context(start(bundle))
            return
        port = free_port()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "shipped"
        settings = {"port": str(port)} if name == "ray_serve" else {}
        ship(bundle, name, folder, settings, unreleased=True)
        if name == "lambda":
            yield stack.enter_context(on_lambda(package(folder)))
        elif name == "cloud_functions":
            yield stack.enter_context(on_cloud_functions(folder))
        else:
            yield stack.enter_context(on_ray_serve(folder, port))


def built(folder: Path) -> Path:
    """What build.sh makes of a folder for Lambda, for this Python; pip fetches the libraries."""
    target = folder.parent / "package"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = {"PYTHON": sys.executable, "PYTHON_VERSION": version}
    ran = subprocess.run(
        ["sh", str(folder / "build.sh"), str(target)],
        env={**os.environ, **own},
        check=False,
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise SystemExit(f"build.sh failed:\n{ran.stderr[-4000:]}")
    return target


def url_event(body: bytes) -> dict[str, Any]:
    """As a function URL hands on POST /v1/predict."""
    http = {"method": "POST", "path": "/v1/predict", "protocol": "HTTP/1.1"}
    http["sourceIp"] = "203.0.113.9"
    return {
        "version": "2.0",
        "rawPath": "/v1/predict",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "localhost"},
        "requestContext": {"http": http, "stage": "$default"},
        "body": body.decode(),
        "isBase64Encoded": False,
    }


@contextmanager
def running(
    words: Sequence[str], folder: Path, own: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process, ended with all that it started."""
    environment = {k: v for k, v in os.environ.items() if k != "SARTOR_API_KEY"} | dict(own or {})
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        except BaseException:
            said.seek(0)
            sys.stderr.write(said.read().decode("utf-8", "replace")[-4000:])
            raise
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
            return


def _framework() -> str | None:
    return os.environ.get(FRAMEWORK) or shutil.which("functions-framework")


def _body(texts: Sequence[str]) -> bytes:
    return json.dumps({"inputs": [{"text": text} for text in texts]}).encode()


def _asking(port: int, process: "subprocess.Popen[bytes]") -> Ask:
    def ask(texts: Sequence[str]) -> list[dict[str, Any]]:
        _wait(port, process, "/readyz")
        status, said = _post(port, "/v1/predict", _body(texts))
        if status != 200:
            raise SystemExit(f"not an answer: {said!r}")
        return json.loads(said)["outputs"]

    return ask


def _wait(port: int, process: "subprocess.Popen[bytes]", path: str = "") -> None:
    """Until something listens, and answers GET `path` with 200 where one is given."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"ended with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.connect()
            if not path:
                return
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise SystemExit(f"nothing answers on {port}")


def _post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()
