"""A served bundle in a process of its own, and the least of HTTP that a client needs."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

_SERVE = """
import sys
from sartor.serve.run import serve
from sartor.serve.settings import ServeSettings
threads = int(sys.argv[4]) or None
bundle, store, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
serve(ServeSettings(bundle=bundle, store=store, port=port, unreleased=True, threads=threads))
"""
_TRIES, _PAUSE_S = 6_000, 0.005


def command(bundle: str, store: Path, port: int, threads: int = 0) -> list[str]:
    """What to start: the server as `sartor serve --unreleased` runs it; 0 threads for all cores."""
    return [sys.executable, "-c", _SERVE, bundle, str(store), str(port), str(threads)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(process: int) -> float:
    """User and system time of a process and of all that it started and still run, from /proc."""
    found: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    total = sum(ticks for one, (_, ticks) in found.items() if _descends(one, process, found))
    return total / os.sysconf("SC_CLK_TCK")


def _descends(one: int, process: int, found: dict[int, tuple[int, int]]) -> bool:
    while one != process and one in found:
        one = found[one][0]
    return one == process


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Wait for the server to listen.

    Raises:
        SystemExit: If it does not within half a minute.
    """
    for _ in range(_TRIES):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(_PAUSE_S)
    raise SystemExit(f"nothing listens on {port}")


def post(path: str, content: object) -> bytes:
    """A whole request."""
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    """Status and body of the answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in head:
        return status, await _chunks(reader)
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return status, await reader.readexactly(length)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while length := int(await reader.readuntil(b"\r\n"), 16):
        found += (await reader.readexactly(length + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return found
