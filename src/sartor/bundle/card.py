"""The model card: what a person reads before they use the bundle (Mitchell et al. 2019,
https://arxiv.org/abs/1810.03993)."""

from typing import Any

from sartor.bundle.manifest import PARTS, Manifest

_WRITES = "text_generation"
"""Task of a part that says in words what others found."""


def card(manifest: Manifest) -> str:
    """Markdown with the task, the labels, the verdicts, the lineage and what was not tested."""
    state = "released: every criterion was met" if manifest.released else "not released"
    lines = [
        f"# {_plain(manifest.name)}",
        "",
        f"Task {manifest.task}; {state}.",
        "",
        _answers(manifest),
        "",
        "## Verdict",
        "",
    ]
    if manifest.verdicts:
        lines += [
            "| criterion | value | interval | n | verdict |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [_row(v) for v in manifest.verdicts]
    else:
        lines.append("Not judged yet.")
    if (url := manifest.lineage.get("asks")) is not None:
        lines += [
            "",
            "## Where texts go",
            "",
            f"Every text that it answers is sent to {_plain(url)},",
        ]
        lines += ["where a language model labels it, and with it the labelled training texts that"]
        lines += ["`prompt.json` holds. Who holds this folder can read those."]
    else:
        lines += ["", "## What it reads", "", _reading(manifest)]
    lines += ["", "## Where it comes from", ""]
    lines += [
        f"- {key}: {_plain(value)}"
        for key, value in sorted(manifest.lineage.items())
        if key != PARTS
    ]
    lines += [
        "",
        "## Limits",
        "",
        "The numbers hold for rows like the test rows they were measured on. Latency holds for the",
        "machine it was measured on. Nothing was tested beyond the criteria above.",
        "",
        "## Use",
        "",
        "```python",
        "import sartor",
        f'sartor.load("this folder").predict([{_example(manifest)}])',
        "```",
        "",
    ]
    return "\n".join(lines)


def _answers(manifest: Manifest) -> str:
    """What it may say."""
    how = manifest.lineage.get("replies")
    if PARTS in manifest.lineage:
        return _parts(manifest)
    if _of_context(manifest):
        return "Answers with a part of the context, as it stands there, or says that none answers."
    if how is None:
        said = "Each piece of a text is one of" if _by_piece(manifest) else "Answers one of"
        return f"{said}: {', '.join(_plain(o) for o in manifest.outputs[:50])}."
    if how == "from scratch":
        return (
            "Writes texts in words of its own. No pretrained model: it began from random weights"
            " and learnt from the training rows alone. What it learnt from may come back in what it"
            " writes, and nothing sees to it that that is true."
        )
    if how == "written":
        return (
            "Writes replies in words of its own. What it learnt from, or was shown, may come back"
            " in them, and nothing sees to it that they are true."
        )
    return (
        "Looks its replies up: `replies.json` holds the training texts and their replies. Who holds"
        " this folder can read those."
    )


def _parts(manifest: Manifest) -> str:
    """Which bundles answer for a product."""
    said = ["Other bundles answer, each in a folder below `parts/` with a card of its own:", ""]
    parts: dict[str, dict[str, Any]] = manifest.lineage[PARTS]
    for name, told in parts.items():
        state = "released" if told.get("released") else "not released"
        task, bundle = _plain(told.get("task")), _plain(told.get("name"))
        said.append(f"- {_plain(name)}: {bundle}, {task}, {_plain(told.get('id'))[:12]}, {state}")
    below = manifest.decision.get("hand_off_below", 0)
    said += ["", f"What they are less sure of than {below:.3g} is left to a person."]
    if written := [_plain(n) for n, told in parts.items() if told.get("task") == _WRITES]:
        said += [
            "",
            f"What is said may be in the words of {', '.join(written)}: nothing sees to it",
        ]
        said += ["that they are true."]
    return "\n".join(said)


def _example(manifest: Manifest) -> str:
    """A row to ask about."""
    if (code := manifest.preprocess.columns) is not None:
        texts = {name: "a text" for name, kind in manifest.inputs.items() if kind == "text"}
        return repr(texts | code.example())
    if len(manifest.inputs) == 1:
        return '"a text"'
    return "{" + ", ".join(f'"{name}": "a text"' for name in manifest.inputs) + "}"


def _by_piece(manifest: Manifest) -> bool:
    """Whether its outputs are tags, of which O stands first."""
    return (
        len(manifest.outputs) > 1
        and manifest.outputs[0] == "O"
        and manifest.outputs[1].startswith("B-")
    )


def _of_context(manifest: Manifest) -> bool:
    """Whether it answers with a part of its last input."""
    return len(manifest.inputs) > 1 and list(manifest.outputs) == ["start", "end"]


def _reading(manifest: Manifest) -> str:
    read = manifest.preprocess
    if PARTS in manifest.lineage:
        return "A text, or a conversation as a JSON list of messages. Cut as the parts' cards say."
    if (code := read.columns) is not None:
        said = "; ".join(f"{name} ({column.kind})" for name, column in code.columns.items())
        cut = f" A text beside them is cut after {read.max_length:,} tokens."
        return f"{said}.{cut if 'text' in manifest.inputs.values() else ''}"
    if len(manifest.inputs) > 1 and (windows := read.windows) is not None:
        question, context = manifest.inputs
        return (
            f"{question} and {context}, in windows of {read.max_length:,} tokens that overlap: each"
            f" holds the {question} and a part of the {context}, at most {windows.most} and then"
            " evenly spread."
        )
    if len(manifest.inputs) > 1:
        named = " and ".join(manifest.inputs)
        return f"{named}; what is longer than {read.max_length:,} tokens is cut, the longer first."
    if (windows := read.windows) is None:
        return f"Longer texts are cut after {read.max_length:,} tokens."
    return (
        f"A text of more than {read.max_length:,} tokens is read in windows of that length, one"
        f" every {windows.stride:,} tokens, at most {windows.most} and then evenly spread. "
        + (
            "A piece is answered from the window in which most stands around it."
            if windows.aggregate == "centre"
            else "Its logits are the mean of theirs."
        )
    )


def _row(verdict: dict[str, Any]) -> str:
    value, low, high = (f"{verdict[key]:.4g}" for key in ("value", "low", "high"))
    name = _plain(verdict["criterion"]).replace("|", "\\|")
    return f"| {name} | {value} | {low} – {high} | {verdict['n']} | {verdict['state']} |"


def _plain(value: object) -> str:
    return " ".join(str(value).split())
