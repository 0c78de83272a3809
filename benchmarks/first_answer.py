"""From exec to the first correct answer, in process and over HTTP.

    python benchmarks/first_answer.py BUNDLE [--rounds 9]

Every round starts a new process. Prints the median, the fastest and the slowest, and the CPU
seconds of the serving process at its first answer, which a busy machine disturbs less.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IN_PROCESS = (
    "import sys, sartor; print(sartor.load(sys.argv[1], unreleased='allow').predict(['x']))"
)
OVER_HTTP = """
import sys
from sartor.serve.run import serve
from sartor.serve.settings import ServeSettings
serve(ServeSettings(bundle=sys.argv[1], store=sys.argv[2], port=int(sys.argv[3]), unreleased=True))
"""
PORT = 8731
BODY = json.dumps({"inputs": [{"text": "It broke after two days."}]})


def in_process(bundle: str) -> tuple[float, float]:
    """(wall, CPU) seconds until a process has printed its answer and ended."""
    before = os.times()
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, bundle], check=True, capture_output=True
    )
    wall = time.perf_counter() - start
    assert b"probabilities" in ran.stdout
    after = os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def over_http(bundle: str, store: str) -> tuple[float, float]:
    """(wall, CPU) seconds until a client has read the first answer."""
    start = time.perf_counter()
    command = [sys.executable, "-c", OVER_HTTP, bundle, store, str(PORT)]
    with subprocess.Popen(command) as server:
        try:
            answer = first_answer()
            wall = time.perf_counter() - start
            fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            assert b"probabilities" in answer
        finally:
            server.terminate()
    return wall, used


def first_answer() -> bytes:
    for _ in range(2_000):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        try:
            connection.request("POST", "/v1/predict", BODY)
            return connection.getresponse().read()
        except ConnectionRefusedError:
            time.sleep(0.005)
        finally:
            connection.close()
    raise SystemExit("the server did not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    print(
        json.dumps(
            {"machine": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()}
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store.db")
        kinds = {
            "in process": lambda: in_process(given.bundle),
            "over HTTP": lambda: over_http(given.bundle, store),
        }
        taken = {name: [measure() for _ in range(given.rounds)] for name, measure in kinds.items()}
    for name, found in taken.items():
        walls, used = zip(*found, strict=True)
        row = {
            "what": name,
            "median_s": round(statistics.median(walls), 3),
            "fastest_s": round(min(walls), 3),
            "slowest_s": round(max(walls), 3),
            "median_cpu_s": round(statistics.median(used), 3),
            "rounds": given.rounds,
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
