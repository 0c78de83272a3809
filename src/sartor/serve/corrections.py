"""What a correction says, checked against what the served model answers."""

from collections.abc import Sequence

from sartor.core.errors import RequestError
from sartor.core.near import near_miss
from sartor.serve.bodies import FeedbackBody
from sartor.serve.runtime import Runtime

_ONE = {"label": "label", "labels": "label", "documents": "document"}


def text_of(body: FeedbackBody, runtime: Runtime, known: Sequence[str]) -> str:
    """The right answer as a text (see `tasks.Target`).

    Args:
        body: With `label`, `labels` where a row has several, or `documents`: whichever the model
            answers with.
        runtime: The live model.
        known: Labels of all models that are served.

    Raises:
        RequestError: 422 where it is another one, or holds a label that no model knows and that
            is not said to be new.
    """
    given = {"label": body.label, "labels": body.labels, "documents": body.documents}
    wanted = given.pop(runtime.target)
    other = next((name for name, value in given.items() if value is not None), None)
    if wanted is None or other is not None:
        form = '"…"' if runtime.target == "label" else '["…", "…"]'
        raise RequestError(
            f"This model is corrected with {runtime.target!r}, and the body has "
            + ("none." if other is None else f"{other!r}."),
            fix=f'send {{"request_id": "…", "{runtime.target}": {form}}}.',
            status=422,
        )
    labels = [wanted] if isinstance(wanted, str) else wanted
    for label in labels:
        if label not in known and not body.new_label:
            raise RequestError(
                f"The model has no {_ONE[runtime.target]} {label!r:.200}.",
                fix=f'{near_miss(label, known)} To propose a new one, add "new_label": true.',
                status=422,
            )
    return runtime.written(wanted if isinstance(wanted, str) else tuple(wanted))
