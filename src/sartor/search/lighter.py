"""What would make a bundle smaller or faster, when it is too large or too slow.

Time and size follow from layers, width and vocabulary, which tuning leaves as they are: a smaller
backbone is what helps.
"""

from collections.abc import Mapping

from sartor.core.phrases import Phrase
from sartor.core.types import Backbone
from sartor.judge.next_steps import NextStep
from sartor.models.catalogue import list_starters
from sartor.models.choose import choose_starter
from sartor.need.model import Need


def smaller_backbone(
    used: Backbone, need: Need, languages: Mapping[str, float], file: str, seconds: float
) -> NextStep:
    """Run again from the best starter that has fewer weights, or from one of the user's own.

    Args:
        used: What the bundle was tuned from.
        need: Says which licences are allowed.
        languages: Shares of the texts, see `choose_starter`.
        file: The need file, quoted for a shell.
        seconds: What the run took: another one takes about as long.
    """
    allowed = need.prefer.licences or ()
    smaller = [
        starter
        for starter in list_starters()
        if starter.installed
        and starter.kind == "encoder"
        and starter.parameters < used.parameters
        and (not allowed or starter.licence in allowed)
    ]
    values = {"used": used.name, "weights": f"{used.parameters / 1e6:,.3g}"}
    said = Phrase(
        "Start from a backbone with fewer weights than {used} ({weights} million), a folder or a "
        "hub id: name it under prefer.backbones in the need.",
        values,
    )
    if smaller:
        choice = choose_starter(languages, licences=allowed, starters=smaller)
        found = next(starter for starter in smaller if starter.name == choice.name)
        values |= {"name": found.name, "fewer": f"{found.parameters / 1e6:,.3g}"}
        message = (
            "Start from {name}, which has {fewer} million weights where {used} has {weights}: "
            "write backbones: [{name}] under prefer in the need."
        )
        if choice.caution:
            message = (
                "Start from {name}, which has {fewer} million weights where {used} has {weights}, "
                "but does not know the languages of all these texts: write backbones: [{name}] "
                "under prefer in the need."
            )
        said = Phrase(message, values)
    return NextStep(said, f"sartor run {file}", Phrase("about as long as this run"), seconds)


def elsewhere(bundle: str) -> NextStep:
    """A latency holds for one machine only.

    Args:
        bundle: Its folder, quoted for a shell.
    """
    said = Phrase(
        "A latency holds for the machine it was measured on: judge the bundle on the one that will "
        "serve it, with fresh labelled rows."
    )
    return NextStep(
        said, f"sartor judge {bundle} fresh.csv", Phrase("about {n} s", {"n": "30"}), 30
    )
