"""The verdict in one plain sentence."""

from sartor.core.i18n import Translate
from sartor.report.result import Result


def headline(found: Result, _: Translate) -> str:
    """What became of the need; never more cheerful than its worst criterion."""
    total = len(found.verdicts)
    unmet = sum(verdict.state == "unmet" for verdict in found.verdicts)
    unproven = sum(verdict.state == "unproven" for verdict in found.verdicts)
    if not total:
        return _("The run ended before any criterion was judged.")
    if not unmet and not unproven:
        return _all_met(total, found.released, _)
    whole = _("Released although {rest}") if found.released else _("Not released: {rest}")
    if unmet and unproven:
        rest = _("of {total} criteria, {unmet} not met and {unproven} unproven.")
    elif unmet:
        rest = _unmet(unmet, total, _)
    else:
        rest = _unproven(unproven, total, _)
    return whole.format(rest=rest.format(total=total, unmet=unmet, unproven=unproven))


def _all_met(total: int, released: bool, _: Translate) -> str:
    if total == 1:
        return _("Released: the criterion is met.") if released else _("The criterion is met.")
    said = (
        _("Released: all {total} criteria are met.")
        if released
        else _("All {total} criteria are met.")
    )
    return said.format(total=total)


def _unmet(count: int, total: int, _: Translate) -> str:
    if total == 1:
        return _("the criterion is not met.")
    if count == 1:
        return _("1 of {total} criteria is not met.")
    return _("{unmet} of {total} criteria are not met.")


def _unproven(count: int, total: int, _: Translate) -> str:
    if total == 1:
        return _("the criterion is neither shown to be met nor shown to fail.")
    if count == 1:
        return _("1 of {total} criteria is unproven.")
    return _("{unproven} of {total} criteria are unproven.")
