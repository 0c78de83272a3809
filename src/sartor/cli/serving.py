"""A bundle at work: predict, serve, listen."""

import json as jsons
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sartor.cli.options import (
    HERE,
    AllowLlm,
    BundleFolder,
    Json,
    Tenant,
    Unreleased,
    VerifyKey,
    Where,
)

if TYPE_CHECKING:
    from sartor.serve.runtime import Runtime
    from sartor.serve.settings import LogFormat

_CHUNK = 512
_TABLES = frozenset({".csv", ".tsv", ".tab", ".xlsx", ".xlsm", ".parquet"})
"""Endings of files whose lines are no rows, or hold more than a text."""


def predict(
    bundle: BundleFolder,
    file: Annotated[Path, typer.Argument(help="One JSON object a line, or a text a line.")],
    threads: Annotated[int | None, typer.Option(help="Threads; default all cores.")] = None,
    allow_llm: AllowLlm = None,
    verify_key: VerifyKey = None,
    json: Json = False,
) -> None:
    """Answer a file: one JSON object an input line, in order.

    Lines that start with `{` are JSON objects such as {"text": "…"}; any other line is a text.
    """
    import warnings

    from sartor.cli.drawing import console
    from sartor.core.errors import DataError
    from sartor.serve.runtime import UnreleasedWarning, load

    if file.suffix.lower() in _TABLES:
        raise DataError(
            f"{file} is a table, and what is answered is lines.",
            fix="write one JSON object a line into a .jsonl file, or a text a line into a .txt"
            " file.",
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnreleasedWarning)
        runtime = load(bundle, threads=threads, allow_llm=allow_llm or (), verify_key=verify_key)
    for warning in caught:
        console().print(f"Warning: {warning.message}", style="yellow", soft_wrap=True)
    try:
        handle = file.open("rb") if str(file) != "-" else sys.stdin.buffer
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}.", fix="check the path and its permissions."
        ) from None
    with handle:
        waiting: list[dict[str, Any]] = []
        answered = 0
        for number, line in enumerate(handle, 1):
            waiting.append(read_row(line, number, file, runtime.bundle.manifest.inputs))
            if len(waiting) == _CHUNK:
                _write(_answers(runtime, waiting, file, answered))
                waiting, answered = [], number
        _write(_answers(runtime, waiting, file, answered))


def serve(
    bundle: Annotated[
        Path | None, typer.Argument(help="The bundle's folder.", metavar="BUNDLE")
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option(help="Follow a deployment instead of a bundle: see `sartor deploy`."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.")] = 8000,
    unreleased: Unreleased = False,
    store_texts: Annotated[
        bool, typer.Option("--store-texts", help="Keep texts, so that corrections can be learnt.")
    ] = False,
    retention_days: Annotated[
        int, typer.Option(help="Days after which texts and comments go.")
    ] = 90,
    threads: Annotated[int | None, typer.Option(help="Threads; default all cores.")] = None,
    cache_mb: Annotated[
        float | None,
        typer.Option(help="Memory for answers to texts that come again; default none."),
    ] = None,
    adapters: Annotated[
        Path | None,
        typer.Option(help="Folder with users' own adapters: see `sartor personalize`."),
    ] = None,
    adapters_mb: Annotated[
        float, typer.Option(help="Most memory for adapters; those asked for last stay in it.")
    ] = 256.0,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Name under which browsers may reach the server.")
    ] = None,
    allow_llm: AllowLlm = None,
    verify_key: VerifyKey = None,
    max_wait: Annotated[
        float,
        typer.Option(
            help="Seconds; a request that would wait longer is turned away, under a flood sooner."
        ),
    ] = 2.0,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate: serve HTTPS.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file of its key; default in the certificate's file.")
    ] = None,
    rate_limit: Annotated[
        str, typer.Option(help="Rows that each key may ask, e.g. 50/s; its own limit goes first.")
    ] = "none",
    log_format: Annotated[
        str | None,
        typer.Option(help="json, text or none: a line a request on stderr; text on a terminal."),
    ] = None,
    workspace: Where = HERE,
) -> None:
    """Serve a bundle or a deployment over HTTP with a page, feedback and metrics.

    A key comes from SARTOR_API_KEY.
    """
    from sartor.cli.drawing import drawing
    from sartor.core.errors import SettingError
    from sartor.core.workspace import Workspace
    from sartor.serve.deployment import Deployment
    from sartor.serve.run import serve as start
    from sartor.serve.settings import ServeSettings

    if (bundle is None) == (deployment is None):
        raise SettingError(
            "Name what to serve: a bundle's folder, or a deployment, and not both.",
            fix="sartor serve BUNDLE, or sartor serve --deployment NAME.",
        )
    place = Workspace.open(workspace)
    settings = ServeSettings(
        bundle=str(bundle or ""),
        deployment=str(Deployment.of(place.folder, deployment).folder) if deployment else None,
        host=host,
        port=port,
        store=place.store,
        unreleased=unreleased,
        threads=threads,
        cache_mb=cache_mb,
        adapters=str(adapters) if adapters else None,
        adapters_mb=adapters_mb,
        allowed_hosts=tuple(allowed_host or ()),
        allow_llm=tuple(allow_llm or ()),
        verify_key=verify_key,
        store_texts=store_texts,
        retention_days=retention_days,
        max_wait_s=max_wait,
        tls_cert=str(tls_cert) if tls_cert else None,
        tls_key=str(tls_key) if tls_key else None,
        rate_limit=rate_limit,
        log_format=cast("LogFormat", log_format or ("text" if sys.stderr.isatty() else "json")),
    )
    with drawing() as emit:
        start(settings, emit)


def listen(
    bundle: Annotated[str | None, typer.Option(help="Id of one bundle; default all.")] = None,
    tenant: Tenant = None,
    workspace: Where = HERE,
    json: Json = False,
) -> None:
    """What users said of the served answers: counts, agreement, confusions, comments."""
    from sartor.cli.drawing import write_json
    from sartor.core.store import Store
    from sartor.core.workspace import Workspace
    from sartor.listen.feedback import summary

    with Store.open(Workspace.open(workspace).store) as store:
        found = summary(store, bundle, tenant)
    if json:
        write_json(asdict(found))
        return
    out = sys.stdout.write
    out(f"{found.requests:,} requests, {found.rows:,} answers, {found.abstained:,} abstentions.\n")
    out(f"Feedback on {found.said.n:,}: {found.said.agreed:,} agreed. {found.note}\n")
    if found.distance is not None:
        out(f"  the right numbers lay {found.distance:.4g} from the answers on average\n")
    for heading, groups in (("answer", found.by_class), ("segment", found.by_segment)):
        for group in groups:
            out(f"  {heading} {group.name}: {group.agreed:,} of {group.n:,} agreed\n")
    for answered, label, count in found.confused:
        out(f"  answered {answered}, meant {label}: {count:,}\n")
    for label, count in found.new_labels:
        out(f"  a label the model does not have, {label}: {count:,}\n")
    for comment in found.comments:
        out(f"  “{comment.comment}” ({comment.answered} → {comment.label})\n")
    if found.audit is not None:
        audit = found.audit
        out(
            f"Audit sample: {audit.labelled.agreed:,} of {audit.labelled.n:,} right"
            f" ({audit.low:.3f} – {audit.high:.3f}), {audit.drawn:,} drawn.\n"
        )


COMMANDS = (predict, serve, listen)


def read_row(line: bytes, number: int, file: Path, inputs: Mapping[str, str]) -> dict[str, Any]:
    from sartor.core.errors import DataError
    from sartor.core.histories import left_out, options_for

    keys = list(inputs)
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"{file}, line {number:,} is not UTF-8.", fix="save it as UTF-8.") from None
    form = "{" + ", ".join(f'"{key}": "…"' for key in keys) + "}"
    if not text.lstrip().startswith("{"):
        if len(keys) > 1:
            raise DataError(
                f"{file}, line {number:,} is one text, and the model reads {len(keys)} keys.",
                fix=f"write {form} on each line.",
            )
        return {keys[0]: text}
    try:
        found: Any = jsons.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}, line {number:,} is not JSON: {error}.",
            fix=f"write {form} on each line.",
        ) from None
    texts = [key for key, kind in inputs.items() if kind == "text"]
    free = {*texts, *left_out(inputs)}
    if absent := [key for key in keys if key not in free and key not in found]:
        raise DataError(
            f"{file}, line {number:,} has no {absent[0]!r}.",
            fix=f"write {form} on each line, null for what is missing.",
        )
    missing = [key for key in texts if not isinstance(found.get(key), str)]
    if missing:
        raise DataError(
            f"{file}, line {number:,} has no text under {missing[0]!r}.",
            fix=f"write {form} on each line.",
        )
    if any(not _whole(found[key]) for key in texts):
        raise DataError(
            f"{file}, line {number:,} holds half of a surrogate pair, which is no character.",
            fix="write the text as UTF-8, without \\ud800 and its like.",
        )
    # Datasets carry labels and ids beside the inputs: those are not sent to the model.
    return {key: found[key] for key in (*keys, *options_for(inputs)) if key in found}


def _answers(
    runtime: "Runtime", rows: list[dict[str, Any]], file: Path, before: int
) -> list[dict[str, Any]]:
    """The answers to rows; what is wrong with one is told by its line, `before` of which went."""
    from sartor.core.errors import DataError, RequestError

    try:
        return runtime.predict(rows)
    except RequestError as error:
        found = re.match(r"Row (\d+)", error.what)
        if found is None:
            raise
        line = f"{file}, line {before + int(found[1]) + 1:,}"
        raise DataError(f"{line}{error.what[found.end() :]}", fix=error.fix) from None


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        sys.stdout.write(jsons.dumps(answer, ensure_ascii=False) + "\n")
