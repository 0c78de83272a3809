"""What would make a bundle smaller, faster or cheaper, when it is too large, too slow or too dear.

Time and size follow from layers, width and vocabulary, which tuning leaves as they are: a smaller
backbone is what helps. A cost follows from the target, too.
"""

from collections.abc import Mapping, Sequence

from sartor.core.phrases import Phrase, money
from sartor.core.types import Backbone, Use
from sartor.judge.api import CannotMeasure, TakesPrices
from sartor.judge.checks.cost import figure, target_of
from sartor.judge.costing import seconds_on
from sartor.judge.next_steps import NextStep
from sartor.judge.resolve import check_of
from sartor.models.catalogue import list_starters
from sartor.models.choose import choose_starter
from sartor.need.costs import PriceBook
from sartor.need.criterion import Criterion
from sartor.need.model import Need
from sartor.need.verdict import Verdict
from sartor.search.feasible import possible


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


def more_minutes(untried: Sequence[str], file: str, seconds: float) -> NextStep:
    """Run again with a larger budget, which leaves compressors the time they lacked.

    Args:
        untried: Names of compressors.
        file: The need file, quoted for a shell.
        seconds: What the run took; the next one finds again what this one fitted.
    """
    said = Phrase(
        "Raise budget.minutes in the need: no time was left to try what may make the model smaller "
        "or faster ({names}).",
        {"names": ", ".join(untried)},
    )
    return NextStep(said, f"sartor run {file}", Phrase("about as long as this run"), seconds)


def missed_cost(criterion: Criterion, verdict: Verdict) -> bool:
    """Whether it is about costs, was measured, and is not met."""
    priced = isinstance(check_of(criterion.metric), TakesPrices)
    return priced and verdict.n > 0 and verdict.state != "met"


def cheaper_target(criterion: Criterion, book: PriceBook, use: Use, bundle: str) -> NextStep | None:
    """The cheapest target on which a missed criterion of cost would be met; None where none is.

    Args:
        criterion: On a cost.
        book: Prices.
        use: What the bundle takes.
        bundle: Its folder, quoted for a shell.
    """
    asked, here = target_of(criterion, book)
    found: list[tuple[float, str]] = []
    for name, target in book.targets.items():
        if name == asked or target.currency != here.currency:
            continue
        try:
            worst = max(
                figure(criterion, name, target, use, cpu) for cpu in seconds_on(target, use)
            )
        except CannotMeasure:
            continue
        if possible(criterion, worst):
            found.append((worst, name))
    if not found:
        return None
    cost, name = min(found)
    said = Phrase(
        "On {target} it would cost {cost} {currency} at most ({criterion} asks for {asked}): name "
        "that target in the criterion, or under costs in the need.",
        {
            "target": name,
            "cost": money(cost),
            "currency": here.currency,
            "criterion": criterion.text,
            "asked": asked,
        },
    )
    return NextStep(said, f"sartor cost {bundle}", Phrase("about {n} s", {"n": "30"}), 30)
