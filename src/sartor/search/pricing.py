"""What any bundle costs: measured here, priced by the need it holds and by what is asked beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sartor.bundle import key_asked, open_bundle
from sartor.core.errors import SettingError, UnknownName
from sartor.core.near import near_miss
from sartor.core.texts import Text
from sartor.judge.comparing import compare_targets
from sartor.need.costs import Costs, PriceBook, read_book
from sartor.need.file import parse_need
from sartor.search.costing import THREADS, Costing, kept_here
from sartor.search.judging import roles_of
from sartor.serve.rows import example_row, read_row

_WORDS = "the order that i placed last week has not arrived and nobody answers my messages about it"
_LENGTHS = (5, 12, 25, 8, 50, 16, 100, 32, 10, 160, 20, 64)

SAMPLE = tuple(
    " ".join(_WORDS.split()[(start + k) % 17] for k in range(length))
    for start, length in enumerate(_LENGTHS)
)
"""Made-up texts of 5 to 160 words, for a bundle whose user has none at hand."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked beside the bundle's need; what is empty stays as the need has it.

    Args:
        requests: A month.
        price_per_1000: What 1,000 requests earn.
        target: Where it runs.
        prices: File of prices, relative to the current folder.
        threads: Of one forward pass.
    """

    requests: tuple[int, ...] = ()
    price_per_1000: float | None = None
    target: str | None = None
    prices: str | None = None
    threads: int = THREADS


def cost_of_bundle(
    folder: Path, texts: Sequence[Text] = SAMPLE, asked: Asked | None = None
) -> dict[str, Any]:
    """Costs by target as JSON, see `compare_targets`; with the bundle's name and the language.

    Args:
        folder: The bundle.
        texts: What it is asked while it is measured; their lengths decide the result.
        asked: See `Asked`.

    Raises:
        BundleError: If it is damaged, or cannot be served.
        CannotMeasure: If it asks a language model.
        NeedError: If a file of prices cannot be used.
        SettingError: If a number is out of range.
        UnknownName: If there are no prices for the target.
    """
    asked = asked or Asked()
    bundle = open_bundle(folder, verify_key=key_asked(None))
    need = parse_need(bundle.path("need.yaml").read_text("utf-8"), f"{folder}/need.yaml", roles_of)
    book = _book(need.costs, asked)
    made_up = tuple(texts) == SAMPLE
    if made_up and bundle.manifest.preprocess.columns is not None:
        inputs = bundle.manifest.inputs
        rows = (example_row(bundle.manifest, words) for words in SAMPLE)
        texts = tuple(read_row(row, at, inputs) for at, row in enumerate(rows))
    elif made_up and (inputs := len(bundle.manifest.inputs)) > 1:
        turned = [SAMPLE[start:] + SAMPLE[:start] for start in range(inputs)]
        texts = tuple(zip(*turned, strict=True))
    use = Costing(book, kept_here()).use(str(folder), texts, asked.threads)
    remark = ""
    if made_up:
        least, most = min(_LENGTHS), max(_LENGTHS)
        remark = f"made-up texts of {least} to {most} words, name yours with --texts"
    found = compare_targets(use, book, remark)
    return {
        "bundle": str(folder),
        "bundle_id": bundle.manifest.id,
        "language": need.language,
        **found,
    }


def _book(costs: Costs | None, asked: Asked) -> PriceBook:
    stated = (costs or Costs(requests=[1_000_000])).model_dump(exclude={"targets"})
    ours = {
        "requests": list(asked.requests),
        "price_per_1000": asked.price_per_1000,
        "target": asked.target,
        "prices": asked.prices,
    }
    stated |= {key: value for key, value in ours.items() if value not in (None, [])}
    try:
        merged = Costs.model_validate(stated | {"targets": costs.targets if costs else {}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SettingError(
            f"{first['loc'][0]} cannot be {first['input']!r}: {first['msg'].lower()}.",
            fix="write a number above 0; at most six volumes.",
        ) from None
    book = read_book(merged, Path())
    if merged.target is not None and merged.target not in book.targets:
        raise UnknownName(
            f"There are no prices for the target {merged.target!r}.",
            fix=near_miss(merged.target, book.targets),
        )
    return book
