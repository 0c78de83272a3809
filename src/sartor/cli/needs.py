"""From a need to its verdict: init, plan, run, resume, judge, report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.cli.options import (
    HERE,
    AllowLlm,
    BundleFolder,
    Json,
    Language,
    NeedFile,
    On,
    Quiet,
    RunNumber,
    VerifyKey,
    Where,
)

if TYPE_CHECKING:
    from sartor.core.events import Emit
    from sartor.search.outcome import Outcome


def init(
    data: Annotated[str, typer.Argument(help="A data file, a folder, or hub:NAME.")],
    to: Annotated[Path, typer.Option(help="Need file to write.")] = Path("need.yaml"),
    task: Annotated[
        str,
        typer.Option(
            help="What is predicted: multi_label, text_pair for two texts a row, text_regression"
            " for a number, ordinal for levels in an order, token_classification for labelled"
            " parts of a text, question_answering for answers from a text, retrieval for documents"
            " of a base, recommendation for what somebody may choose next, mastery for what a"
            " learner knows, tabular_text for columns, text_generation for replies, translation,"
            " summarization, product for several bundles that answer together."
        ),
    ] = "text_classification",
    documents: Annotated[
        str | None,
        typer.Option(
            help="For retrieval, recommendation and mastery: the file of documents or items, with"
            " columns id and text."
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace a need file that is there.")] = False,
    json: Json = False,
) -> None:
    """Look at data and write a need file to start from."""
    from sartor.cli.drawing import write_json
    from sartor.search.beginning import begin

    found = begin(data, to, task=task, documents=documents, force=force)
    if json:
        write_json({"need": str(to), "said": found})
        return
    for line in found:
        sys.stdout.write(f"{line}\n")


def plan(need: NeedFile, workspace: Where = HERE, json: Json = False, quiet: Quiet = False) -> None:
    """Show the ladder with predicted time, memory and size; nothing is trained."""
    _look_at(need)
    from sartor.cli.drawing import drawing, write_json
    from sartor.core.workspace import Workspace
    from sartor.search.foresight import of_earlier
    from sartor.search.outcome import left_out, planned

    with drawing(quiet=quiet) as emit:
        _begin(emit)
        from sartor import pipeline

        ready = pipeline.plan(need, workspace=workspace, emit=emit)
    ladder, dropped = planned(ready.setting), left_out(ready.setting)
    labels = of_earlier(Workspace.open(workspace), ready.setting.need.name)
    if json:
        why = ready.setting.choice
        write_json({"plan": ladder, "left_out": dropped, "why": why, "labels": labels})
        return
    if ladder:
        _print(_tables().ladder_table(ladder))
    for each in dropped:
        _say(f"Left out: {each['rung']}, {each['label']}. {each['why']}.")
    if ladder:
        _say("Stops at the first rung that can be shown to meet the need.")
    else:  # a product, of which nothing is climbed
        _say(ready.setting.choice)
    for each in labels:
        price = f" ({each['cost']})" if each["cost"] else ""
        _say(f"More labels, as run {each['run']} foresaw: {each['words']}{price}.")


def run(
    need: NeedFile,
    method: Annotated[
        list[str] | None, typer.Option(help="Climb only this method; may be repeated.")
    ] = None,
    on: On = None,
    workspace: Where = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take a need to its verdict and a bundle. Exit status 0 only if every criterion is met."""
    _look_at(need)
    from sartor.cli.drawing import drawing

    with drawing(quiet=quiet) as emit:
        _begin(emit)
        from sartor import pipeline

        outcome = pipeline.run(
            need, methods=method, workspace=workspace, emit=emit, on=on or "local"
        )
    _finish(outcome, workspace, json)


def resume(
    run: RunNumber = None,
    on: On = None,
    workspace: Where = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped."""
    from sartor.cli.drawing import drawing

    with drawing(quiet=quiet) as emit:
        _begin(emit)
        from sartor import pipeline

        outcome = pipeline.resume(run, workspace=workspace, emit=emit, on=on)
    _finish(outcome, workspace, json)


def shrink(
    bundle: BundleFolder,
    to: Annotated[
        list[str] | None, typer.Option(help='Criterion, e.g. "size_mb <= 10"; may be repeated.')
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Compressor to try, and no other, e.g. int8_static; may be repeated."),
    ] = None,
    need: Annotated[
        Path | None, typer.Option(help="Need file, where no run here made the bundle.")
    ] = None,
    workspace: Where = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a bundle smaller or faster, and judge what it became."""
    from sartor.cli.drawing import drawing

    with drawing(quiet=quiet) as emit:
        _begin(emit)
        from sartor import pipeline

        outcome = pipeline.shrink(
            bundle, to or (), by=by or (), need=need, workspace=workspace, emit=emit
        )
    _finish(outcome, workspace, json)


def judge(
    subject: Annotated[Path, typer.Argument(help="A bundle's folder, or a need file.")],
    labels: Annotated[
        Path | None, typer.Argument(help="Fresh labelled rows to judge a bundle on.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Answers of anything else, one JSON object a line.")
    ] = None,
    allow_llm: AllowLlm = None,
    verify_key: VerifyKey = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Judge a bundle on fresh rows, or recorded answers on the rows of a need."""
    from sartor.cli.drawing import write_json
    from sartor.core.errors import SettingError
    from sartor.search.judging import judge_bundle, judge_predictions

    if (labels is None) == (predictions is None):
        raise SettingError(
            "`sartor judge` needs either fresh rows or --predictions.",
            fix="write `sartor judge BUNDLE labels.csv` or"
            " `sartor judge need.yaml --predictions answers.jsonl`.",
        )
    if labels is not None:
        found = judge_bundle(
            subject,
            labels,
            workspace=workspace,
            allow_llm=allow_llm or (),
            verify_key=verify_key,
        )
    else:
        assert predictions is not None
        found = judge_predictions(subject, predictions, workspace=workspace)
    if json:
        write_json(found.as_json())
    else:
        _print(_tables().verdict_table(found.verdicts, found.language))
        for line in _tables().phrases(found.notes, found.language):
            _say(line)
    raise typer.Exit(0 if found.state == "met" else 1)


def report(
    run: RunNumber = None,
    to: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
    lang: Language = "en",
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    from sartor.cli.drawing import write_json
    from sartor.core.durable import write_durably
    from sartor.core.errors import SettingError
    from sartor.core.i18n import languages
    from sartor.core.workspace import Workspace
    from sartor.report.page import render

    if lang not in (known := languages("sartor.report")):
        raise SettingError(
            f"There is no report in {lang!r}.", fix=f"use --lang with one of {', '.join(known)}."
        )
    here = Workspace.open(workspace).run(run)
    result: dict[str, Any] = here.read_json("result.json")
    if json:
        write_json(result)
        return
    target = to or here.folder / "report.html"
    write_durably(target, render(result, language=lang).encode())
    sys.stdout.write(f"{target}\n")


COMMANDS = (init, plan, run, resume, shrink, judge, report)


def _look_at(need: Path) -> None:
    """Tell of a need's faults before what trains is loaded, which takes seconds."""
    from sartor.search.sources import read_need

    read_need(need)


def _begin(emit: "Emit") -> None:
    """What trains takes seconds to load: the first stage is shown meanwhile."""
    from sartor.core.events import StageStarted

    emit(StageStarted("read"))


def _finish(outcome: "Outcome", workspace: Path, json: bool) -> None:
    import shlex

    from sartor.cli.drawing import write_json
    from sartor.core.durable import write_durably
    from sartor.core.workspace import Workspace
    from sartor.report.page import render

    here = Workspace.open(workspace).run(outcome.run)
    result: dict[str, Any] = here.read_json("result.json")
    page = here.folder / "report.html"
    write_durably(page, render(result, language=result["language"]).encode())
    if json:
        write_json(outcome.as_json())
    else:
        language = result["language"]
        _print(_tables().verdict_table(outcome.verdicts, language))
        serve = ["sartor", "serve", str(outcome.bundle)]
        if workspace.resolve() != Path.cwd():
            serve += ["--workspace", str(workspace)]
        if outcome.state != "met":
            serve += ["--unreleased"]
        ending = _tables().ending(result, language)
        for line in [*ending, *_tables().places(shlex.join(serve), str(page), language)]:
            _say(line)
    raise typer.Exit(0 if outcome.state == "met" else 1)


def _tables() -> Any:
    from sartor.report import terminal

    return terminal


def _print(table: object) -> None:
    from rich.console import Console

    Console(highlight=False).print(table)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
