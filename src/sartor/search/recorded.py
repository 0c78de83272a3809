"""What a run read of the world outside, as it stood when the run began: it stays that on resume."""

from collections.abc import Mapping

from sartor.core.errors import DataError
from sartor.core.events import Emit, Note, StageDone
from sartor.core.hashing import digest
from sartor.data.changes import summary
from sartor.data.prepare import Gathered, Prepared
from sartor.listen.export import Correction, corrections
from sartor.need.costs import Costs, PriceBook, read_book
from sartor.search.costing import asks_for_costs
from sartor.search.desk import Desk


def prices(desk: Desk) -> PriceBook:
    """Prices as they stood when the run began."""
    costs = desk.need.costs or Costs()
    if not asks_for_costs(desk.need):
        return PriceBook({}, costs)
    kept = desk.fact("prices", lambda: read_book(costs, desk.root).as_json())
    return PriceBook.of_json(kept, costs)


def heard(desk: Desk) -> list[Correction]:
    """What users have said; a resumed run learns from no more than it had heard when it began."""

    def told() -> dict[str, str]:
        return {"until": max((c["time"] for c in found), default=""), "digest": digest(found)}

    found = corrections(desk.store)
    recorded = desk.fact("corrections", told)
    found = [c for c in found if c["time"] <= recorded["until"]]
    if digest(found) != recorded["digest"]:
        text = "Users changed or deleted feedback since this run began: its result will differ."
        desk.emit(Note(text, "warning"))
    return found


def same_sources(desk: Desk, name: str, now: Mapping[str, str]) -> None:
    """Refuse to finish a run on other data than it began with.

    Args:
        desk: What the run works with.
        name: Of the fact.
        now: File to hash.
    """
    began: Mapping[str, str] = desk.fact(name, lambda: dict(now))
    if changed := [file for file in now if began.get(file) != now[file]]:
        raise DataError(
            f"{changed[0]} has changed since this run began.",
            fix=f"start a new run with `sartor run {desk.file}`; what did not change is not"
            " computed again.",
        )


def tell_of_rows(gathered: Gathered, rows: Prepared, emit: Emit) -> None:
    """How many rows there are, what they were made of, what was dropped and who is of which part.

    Args:
        gathered: Clean rows.
        rows: The same by role.
        emit: Told.
    """
    if gathered.said:
        emit(Note(gathered.said))
    dropped = summary(c for c in rows.changes if c.action == "dropped")
    reasons = ", ".join(f"{n} {why}" for why, n in dropped.items())
    emit(
        StageDone(
            "read",
            f"{len(gathered.table):,} rows → {len(gathered.cleaned.frame):,}"
            + (f" ({reasons}: sartor data show --dropped)" if reasons else "")
            + f" · {len(rows.train):,} train, {len(rows.validation):,} validation,"
            + f" {len(rows.test):,} test",
        )
    )
