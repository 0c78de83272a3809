"""The page: in two languages, with a strict policy, and nothing of a model or a person in it."""

import re
from importlib.resources import files

import pytest

from sartor.core.i18n import catalogue, languages, negotiate
from tests.serve.conftest import Running, Serving

PACKAGE = "sartor.serve"


def static(name: str) -> str:
    return (files(PACKAGE) / name).read_text("utf-8")


@pytest.mark.parametrize(
    ("query", "accepted", "language", "word"),
    [
        ("", "", "en", "Your text"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh", "您的文本"),
        ("", "fr-FR,en;q=0.5,zh;q=0.1", "en", "Your text"),
        ("?lang=zh", "en", "zh", "您的文本"),
        ("?lang=zh-CN", "en", "zh", "您的文本"),
        ("?lang=en", "zh", "en", "Your text"),
        ("?lang=%3Cscript%3E", "zh", "zh", "您的文本"),
        ("?lang=../../etc/passwd", "", "en", "Your text"),
    ],
)
def test_the_page_speaks_the_readers_language(running, query, accepted, language, word):
    reply = running.client.get(f"/{query}", headers={"accept-language": accepted})
    assert reply.status_code == 200
    assert reply.headers["content-language"] == language
    assert f'lang="{language}"' in reply.text
    assert word in reply.text
    assert "passwd" not in reply.text
    assert "<script>" not in reply.text


def test_every_message_is_translated():
    messages = set(re.findall(r"_\('([^']+)'\)", static("templates/page.html")))
    assert len(messages) > 10
    translate = catalogue(PACKAGE, "zh")
    missing = {message for message in messages if translate(message) == message}
    assert not missing
    assert languages(PACKAGE) == ("en", "zh")
    assert catalogue(PACKAGE, "en")("Your text") == "Your text"


@pytest.mark.parametrize("header", ["", ",", ";q=", "zh;q=x", "*", "zh;q=0", "a" * 5_000])
def test_an_odd_language_header_means_english_unless_it_names_one(header: str):
    assert negotiate(header, ("en", "zh")) == ("zh" if header == "zh;q=x" else "en")


def test_the_policy_allows_only_our_own_files(running: Running):
    reply = running.client.get("/")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    # Nothing inline, nothing from elsewhere: the policy would block it.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=|https?://", reply.text)
    for name in re.findall(r'(?:src|href)="(/[^"?]+)"', reply.text):
        assert running.client.get(name).status_code == 200


def scripts() -> str:
    return "".join(static(f"static/{n}.js") for n in ("conversation", "learner", "page"))


def test_the_script_sets_text_and_never_markup():
    script = scripts()
    assert "textContent" in script
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http:"):
        assert way not in script


def test_elements_that_the_script_uses_are_in_the_page():
    script, page = scripts(), static("templates/page.html")
    used = set(re.findall(r'(?:\$|show)\("([\w-]+)"', script))
    assert len(used) > 10
    assert used <= set(re.findall(r'id="([\w-]+)"', page))
    used = set(re.findall(r"said\.(\w+)", script))
    assert used <= set(re.findall(r"data-(\w+)=", page))


def test_markup_in_a_text_or_a_label_comes_back_as_data(serving: Serving):
    attack = "<img src=x onerror=alert(1)>"
    with serving() as running:
        asked = running.predict(attack)
        said = {"request_id": asked["request_id"], "label": attack, "new_label": True}
        reply = running.client.post("/v1/feedback", json=said)
        assert reply.headers["content-type"] == "application/json"
        unknown = running.client.post("/v1/feedback", json=said | {"new_label": False})
        assert unknown.headers["content-type"] == "application/json"
        assert unknown.headers["x-content-type-options"] == "nosniff"
        assert attack not in running.client.get("/", params={"lang": attack}).text
