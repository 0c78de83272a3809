"""What becomes of texts that are longer than the model reads: said before anything is trained."""

from collections.abc import Sequence

from sartor.core.events import Emit, Note
from sartor.models.encode import TextEncoder
from sartor.models.workload import share_cut
from sartor.need.model import Preferences

MANY = 0.05
"""Share of the texts that is worth a word."""


def tell_of_long_texts(how: str, encoder: TextEncoder, texts: Sequence[str], emit: Emit) -> None:
    """Say it where many texts are too long.

    Args:
        how: `prefer.long_texts` of the need; "throughout" where a task reads them in windows in
            any case.
        encoder: Of the first backbone, with the length that `prefer.max_length` asks for.
        texts: Training texts.
        emit: Gets a note, or a warning where what comes after is not read at all.
    """
    share, name = share_cut(encoder, texts), encoder.backbone.name
    asked, most = encoder.settings.max_length, encoder.backbone.max_length
    if asked > most and asked != Preferences().max_length:
        said = f"prefer.max_length is {asked:,}, and {name} reads at most {most:,} tokens."
        emit(Note(said, "warning"))
    if share <= MANY:
        return
    many = f"{share:.0%} of the training texts are longer than the {encoder.max_length} tokens"
    if how == "throughout":
        emit(Note(f"{many} that {name} reads: they are learnt from, and read, in windows."))
    elif how == "windows":
        told = "it learns from their beginnings, and what is served reads them in windows."
        emit(Note(f"{many} that {name} reads: {told}"))
    else:
        told = "what comes after is not read. `long_texts: windows` under prefer has what is"
        more = f", and `max_length: {most}` there has it learnt from" if most > asked else ""
        emit(Note(f"{many} that {name} reads: {told} served read it too{more}.", "warning"))
