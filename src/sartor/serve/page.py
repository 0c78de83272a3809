"""The page for people: type a text, see the answer, say whether it is right.

The page is a shell that knows nothing of the model; its script asks the API, with a key where one
is needed. So it can be served to anyone. Everything it needs comes from this package.
"""

from functools import lru_cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from sartor.core.i18n import catalogue, languages
from sartor.serve.wording import PACKAGE, language_of

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"content-security-policy": _POLICY, "x-frame-options": "DENY"}


async def index(request: Request) -> Response:
    known = languages(PACKAGE)
    asked = request.query_params.get("lang", "").lower().partition("-")[0]
    accepted = request.headers.get("accept-language", "")
    language = asked if asked in known else language_of(accepted)
    headers = {**_HEADERS, "vary": "accept-language", "content-language": language}
    return Response(_page(language), media_type="text/html", headers=headers)


async def style(request: Request) -> Response:
    return Response(_static("page.css"), media_type="text/css", headers=_HEADERS)


async def conversation(request: Request) -> Response:
    return Response(_static("conversation.js"), media_type="text/javascript", headers=_HEADERS)


async def learner(request: Request) -> Response:
    return Response(_static("learner.js"), media_type="text/javascript", headers=_HEADERS)


async def script(request: Request) -> Response:
    return Response(_static("page.js"), media_type="text/javascript", headers=_HEADERS)


@lru_cache
def _page(language: str) -> str:
    # Only whoever opens the page pays for importing Jinja.
    from jinja2 import Environment, StrictUndefined

    source = (files(PACKAGE) / "templates" / "page.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(source).render(language=language, _=catalogue(PACKAGE, language))


@lru_cache
def _static(name: str) -> bytes:
    return (files(PACKAGE) / "static" / name).read_bytes()
