"""What a correction says, checked against what the served model answers."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sartor.core.errors import RequestError
from sartor.core.texts import CONTEXT
from sartor.core.types import ANSWER_KEYS, VALUE
from sartor.serve.bodies import EntityBody, FeedbackBody, PassageBody
from sartor.serve.kinds import corrected_under
from sartor.serve.runtime import Runtime
from sartor.tasks import Unreadable
from sartor.tasks._target.cells import nearest
from sartor.tasks._target.passages import Passages
from sartor.tasks._target.spans import Spans

_SEVERAL = '["…", "…"]'
_FORMS = {
    "label": '"…"',
    "labels": _SEVERAL,
    VALUE: "3.5",
    "entities": '[{"start": 0, "end": 5, "label": "…"}]',
    "documents": _SEVERAL,
    "outcome": '"…"',
    "answer": '{"text": "…", "start": 31}',
}


def text_of(body: FeedbackBody, runtime: Runtime, known: Collection[str]) -> str:
    """The right answer as a text (see `tasks.Target`).

    Args:
        body: With one of `ANSWER_KEYS`: whichever the model answers with.
        runtime: The live model.
        known: Labels of all models that are served; asked whether it holds one, for each.

    Raises:
        RequestError: 422 where it is another one, holds a label that no model knows and that is not
            said to be new, or parts that the text has not.
    """
    given: dict[str, Any] = {key: getattr(body, key) for key in ANSWER_KEYS}
    key = corrected_under(runtime.target)
    wanted = given.pop(key)
    other = next((name for name, value in given.items() if value is not None), None)
    if wanted is None or other is not None:
        raise RequestError(
            f"This model is corrected with {key!r}, and the body has "
            + (f"{other!r}." if other is not None else "none."),
            fix=f'send {{"request_id": "…", "{key}": {_FORMS[key]}}}.',
            status=422,
        )
    if runtime.writes:  # any text may be the right one
        return str(wanted)
    if isinstance(wanted, float):
        return runtime.written(wanted)
    if key == "entities":
        return _parts(body, wanted, known)
    if key == "answer":
        return _passage(body, wanted)
    labels = [wanted] if isinstance(wanted, str) else wanted
    _refuse_unknown(labels, body, known)
    return runtime.written(wanted if isinstance(wanted, str) else tuple(wanted))


def _parts(body: FeedbackBody, wanted: Sequence[EntityBody], known: Collection[str]) -> str:
    """Labelled parts, as `Spans` writes them; held against the text where that is sent along."""
    _refuse_unknown([each.label for each in wanted], body, known)
    form = Spans()
    cell = form.text([(each.start, each.end, each.label) for each in wanted])
    try:
        return form.read(cell) if body.text is None else form.read_in(cell, (), body.text, str)
    except Unreadable as error:
        raise RequestError(f"entities: {error.what}.", fix=f"{error.fix}.", status=422) from None


def _passage(body: FeedbackBody, wanted: PassageBody) -> str:
    """A part of a context, as `Passages` writes it; held against the context where that is sent."""
    form, said = Passages(), wanted.model_dump(exclude_none=True)
    cell = json.dumps(said if wanted.text.strip() else [], ensure_ascii=False)
    sent = (body.inputs or {}).get(CONTEXT)
    try:
        return form.read(cell) if sent is None else form.read_in(cell, (), str(sent), str)
    except Unreadable as error:
        raise RequestError(f"answer: {error.what}.", fix=f"{error.fix}.", status=422) from None


def _refuse_unknown(labels: Sequence[str], body: FeedbackBody, known: Collection[str]) -> None:
    kind = "label" if body.documents is None else "document"
    for label in labels:
        if label not in known and not body.new_label:
            raise RequestError(
                f"The model has no {kind} {label!r:.200}.",
                fix=f'{nearest(label, known)} To propose a new one, add "new_label": true.',
                status=422,
            )
