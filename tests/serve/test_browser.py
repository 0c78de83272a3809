"""The page in a real browser, under its own policy: ask, correct, and use a key."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sartor.core.store import Store
from sartor.core.tables import feedback
from tests.serve.conftest import Serving

KEY = "0123456789abcdef0123456789abcdef"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")


class Browser:
    """A tab, driven over DevTools: messages are JSON, each ended by a NUL."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, os.fdopen(receive, "rb")
        self._number, self._session = 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            found = json.loads(self._message())
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]

    def _message(self) -> bytes:
        content = bytearray()
        while (byte := self._receive.read(1)) != b"\0":
            assert byte, "the browser ended"
            content += byte
        return bytes(content)

    def run(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        deadline = time.monotonic() + 30
        while not self.run(script):
            assert time.monotonic() < deadline, self.run("document.body.innerText")
            time.sleep(0.02)

    def close(self) -> None:
        self._receive.close()
        os.close(self._send)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    ours_in, its_out = os.pipe()
    its_in, ours_out = os.pipe()
    command = f'exec "$0" "$@" 3<&{its_in} 4>&{its_out}'
    flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    with subprocess.Popen(
        ["bash", "-c", command, str(BROWSER), *flags],
        pass_fds=(its_in, its_out),
        stderr=subprocess.DEVNULL,
    ) as started:
        os.close(its_in)
        os.close(its_out)
        opened = Browser(ours_out, ours_in)
        yield opened
        opened.close()
        started.terminate()


def shown(name: str) -> str:
    return f"!document.getElementById('{name}').hidden && document.getElementById('{name}')"


def test_a_person_asks_and_corrects(browser: Browser, serving: Serving):
    attack = "money <img src=x onerror='document.title=1'>"
    with serving() as running:
        browser.call("Page.navigate", url=f"{running.url}/?lang=zh")
        browser.until("document.readyState == 'complete' && document.title == 'tickets'")
        browser.run(f"document.getElementById('text').value = {json.dumps(attack)}")
        browser.run("document.getElementById('send').click()")
        browser.until(f"({shown('answer')} || {{}}).innerText?.includes('refund')")
        browser.run("document.getElementById('wrong').click()")
        browser.run("document.getElementById('correct').value = 'invoice'")
        browser.run("document.getElementById('comment').value = '不对'")
        browser.run("document.getElementById('keep').click()")
        browser.run("document.getElementById('submit').click()")
        browser.until(shown("thanks") + " && true")
        assert browser.run("document.getElementById('thanks').textContent").startswith("谢谢")
        assert browser.run("document.title") == "tickets"
        assert browser.run("document.images.length") == 0
    with Store.open(running.store) as store, store.read() as connection:
        (kept,) = connection.execute(sa.select(feedback)).mappings().all()
    assert (kept["label"], kept["comment"], kept["text"]) == ("invoice", "不对", attack)


def test_a_key_is_asked_for_and_kept_in_the_tab(browser: Browser, serving: Serving):
    with serving(key=KEY) as running:
        browser.call("Page.navigate", url=running.url)
        browser.until(f"document.readyState == 'complete' && {shown('key-form')} && true")
        assert "refund" not in browser.run("document.documentElement.outerHTML")
        browser.run(f"document.getElementById('key').value = '{KEY}'")
        browser.run("document.querySelector('#key-form button').click()")
        browser.until("document.title == 'tickets'")
        assert browser.run("document.getElementById('key-form').hidden")
        assert browser.run("localStorage.length + document.cookie.length") == 0
        browser.run("document.getElementById('text').value = 'money'")
        browser.run("document.getElementById('send').click()")
        browser.until(f"({shown('answer')} || {{}}).innerText?.includes('refund')")
        browser.run("document.getElementById('right').click()")
        browser.until(shown("thanks") + " && true")
