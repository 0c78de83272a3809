"""A server of chat completions on loopback, which answers by a rule and counts what it is asked."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[dict[str, Any], str, int], Reply | None]
"""(request, its text, how often that text was asked) to a reply; None for the rule's."""


def completion(content: object) -> Reply:
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return 200, {}, json.dumps(body).encode()


def by_words(text: str) -> str:
    """What a sensible model would say of a review of the tests' shop."""
    return "good" if any(w in text for w in ("good", "great", "love", "fine", "thanks")) else "bad"


@dataclass
class Llm:
    """What the server does, and what it saw."""

    behave: Behaviour = lambda request, text, times: None
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter[str])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, request: dict[str, Any], key: str) -> Reply:
        said = [m["content"] for m in request["messages"] if m["role"] == "user"]
        text = json.loads([content for content in said if content.startswith("{")][-1])["text"]
        with self.lock:
            self.asked[text] += 1
            self.requests.append(request)
            self.keys.append(key)
            times = self.asked[text]
        found = self.behave(request, text, times)
        return found or completion(json.dumps({"label": by_words(text)}))


@contextmanager
def running(llm: Llm) -> Iterator[Llm]:
    """The server while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/v1/chat/completions"
            status, headers, data = llm.reply(body, self.headers.get("authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):  # the client has heard enough
                time.sleep(0)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    llm.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield llm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
