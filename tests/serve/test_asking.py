"""A bundle that asks a language model, beside others: what it refuses hurts nobody else."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.core.errors import RequestError
from sartor.llm import chat
from sartor.llm.asker import WORKERS
from sartor.llm.prompt import FILE, Prompt, instructions
from sartor.serve.runtime import load
from tests.llm.server import Llm, running
from tests.manifests import draft

OUTPUTS = ("bad", "good")
SAID = b"our filter found: 'odd thing', which is private"


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Llm]:
    monkeypatch.setattr(chat, "_FIRST_WAIT_S", 0.01)
    with running(Llm()) as found:
        yield found


def made(place: Path, llm: Llm) -> Bundle:
    """A bundle that asks it."""
    prompt = Prompt(url=llm.url, model="tiny", system=instructions(OUTPUTS, {}))
    place.mkdir()
    (place / FILE).write_text(json.dumps(prompt.model_dump(mode="json")))
    bundle = write_bundle(
        place / "bundle", draft(outputs=list(OUTPUTS)), {FILE: place / FILE}, "name: tickets\n"
    )
    return record_verdicts(bundle, [], released=True)


def test_a_text_that_the_model_refuses_fails_its_own_request_alone(tmp_path: Path, llm: Llm):
    held, go = threading.Semaphore(0), threading.Event()

    def behave(request: object, text: str, times: int) -> tuple[int, dict[str, str], bytes] | None:
        if text.startswith("hold"):
            held.release()
            assert go.wait(20)
        return (400, {}, SAID) if text == "odd thing" else None

    llm.behave = behave
    runtime = load(made(tmp_path / "asks", llm).folder, allow_llm=[llm.url])

    async def story() -> list[object]:
        def ask(text: str) -> asyncio.Task[list[dict[str, object]]]:
            return asyncio.create_task(runtime.predict_async([text]))

        first = [ask(f"hold a good {number}") for number in range(WORKERS)]
        for _ in first:
            assert await asyncio.to_thread(held.acquire, timeout=20)
        asked = [ask(text) for text in ("a good one", "odd thing", "a late one")]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*first)
        return await asyncio.gather(*asked, return_exceptions=True)

    good, odd, late = asyncio.run(story())
    assert [one[0]["label"] for one in (good, late)] == ["good", "bad"]
    assert isinstance(odd, RequestError)
    assert odd.status == 502
    assert "answered 400: our filter found" in odd.what, "whoever sent it is told"
    assert llm.asked["odd thing"] > 3, "it was in no batch with others; the test would be vacuous"
