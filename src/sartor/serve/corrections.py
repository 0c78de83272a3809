"""What a correction says, checked against what the served model answers."""

from collections.abc import Sequence

from sartor.core.errors import RequestError
from sartor.core.near import near_miss
from sartor.serve.bodies import FeedbackBody
from sartor.serve.runtime import Runtime


def text_of(body: FeedbackBody, runtime: Runtime, known: Sequence[str]) -> str:
    """The right answer as a text (see `tasks.Target`).

    Args:
        body: With `label`, or `labels` where a row has several: whichever the model answers with.
        runtime: The live model.
        known: Labels of all models that are served.

    Raises:
        RequestError: 422 where it is the other one, or holds a label that no model knows and that
            is not said to be new.
    """
    given = {"label": body.label, "labels": body.labels}
    key = "labels" if runtime.target == "labels" else "label"
    wanted = given.pop(key)
    (other,) = given
    if wanted is None or given[other] is not None:
        form = '["…", "…"]' if key == "labels" else '"…"'
        raise RequestError(
            f"This model is corrected with {key!r}, and the body has "
            + (f"{other!r}." if given[other] is not None else "none."),
            fix=f'send {{"request_id": "…", "{key}": {form}}}.',
            status=422,
        )
    if runtime.replies is not None:  # any text may be the right one
        return str(wanted)
    labels = [wanted] if isinstance(wanted, str) else wanted
    for label in labels:
        if label not in known and not body.new_label:
            raise RequestError(
                f"The model has no label {label!r:.200}.",
                fix=f'{near_miss(label, known)} To propose a new one, add "new_label": true.',
                status=422,
            )
    return runtime.written(wanted if isinstance(wanted, str) else tuple(wanted))
