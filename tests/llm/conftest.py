from collections.abc import Iterator

import pytest

from sartor.llm import chat
from tests.llm.server import Llm, running


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Llm]:
    """A well-behaved server; tests set `behave`. Waiting between tries is short."""
    monkeypatch.setattr(chat, "_FIRST_WAIT_S", 0.01)
    with running(Llm()) as found:
        yield found
