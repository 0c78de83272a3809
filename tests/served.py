"""A real server on loopback, in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from sartor.serve.run import prepare
from sartor.serve.settings import ServeSettings


@contextmanager
def serving(**settings: object) -> Iterator[httpx.Client]:
    """A client of a server with these `ServeSettings`; it is stopped when the block ends."""
    server, listener = prepare(ServeSettings(**{"port": 0, **settings}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()
