"""Which backbones a run starts from: the need's own, else the starter that fits the languages."""

from collections.abc import Mapping
from dataclasses import asdict

from sartor.core.errors import ModelError
from sartor.core.events import Note
from sartor.core.types import Backbone
from sartor.models.by_piece import in_pieces
from sartor.models.catalogue import find_backbone
from sartor.models.choose import Choice, choose_starter
from sartor.models.hub import offline
from sartor.search.desk import Desk
from sartor.search.suiting import by_piece


def starting_points(desk: Desk, languages: Mapping[str, float]) -> tuple[list[Backbone], str]:
    """The backbones to start from, which read a text as the task needs it; and why."""
    found, why = _chosen(desk, languages)
    return ([in_pieces(b) for b in found] if by_piece(desk.need.task) else found), why


def _chosen(desk: Desk, languages: Mapping[str, float]) -> tuple[list[Backbone], str]:
    """The need's own backbones, else the starter that fits the languages; and why."""
    prefer = desk.need.prefer
    if prefer.backbones is None:
        choice = _starter(desk, languages)
        if choice.caution:
            desk.emit(Note(choice.caution, "warning"))
        return [find_backbone(choice.name, emit=desk.emit)], f"Backbone {choice.why}"
    found = [find_backbone(name, root=desk.root, emit=desk.emit) for name in prefer.backbones]
    allowed = [b for b in found if prefer.licences is None or b.licence in prefer.licences]
    if not allowed:
        shown = ", ".join(f"{b.name} ({b.licence})" for b in found)
        raise ModelError(
            f"{desk.file}: no backbone has a licence that prefer.licences allows: {shown}.",
            fix="allow its licence, or name another backbone under prefer.backbones.",
        )
    return allowed, f"Backbone {', '.join(b.name for b in allowed)}, as the need says."


def _starter(desk: Desk, languages: Mapping[str, float]) -> Choice:
    """The starter that fits, fetched where that may be; a fact, since one can be added later."""

    def find() -> dict[str, str]:
        choice = choose_starter(languages, licences=licences)
        if choice.better and not offline():
            try:
                find_backbone(choice.better, emit=desk.emit)
            except ModelError as error:
                desk.emit(Note(error.what, "warning"))
            else:
                choice = choose_starter(languages, licences=licences)
        return asdict(choice)

    licences = desk.need.prefer.licences or ()
    return Choice(**desk.fact("starter", find))
