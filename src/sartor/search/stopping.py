"""When further trials are not expected to gain what validation rows can tell.

A gain is a chance of meeting the need that is a twentieth higher, or a log-loss that is lower by
more than a standard error of the difference, row by row. What is less is as likely luck on these
rows as a better model, and choosing by it learns the rows by heart. Small steps add up, since a
trial is compared with the best one at the last gain, whenever that was.

Trials without a gain are counted. Were they alike, whatever their order, the chance that any of the
next k beats all n before is k / (n + k); and what beats them gains so little, as a rule, that the
rows cannot tell it.

Ends a search where what is left to gain is below the error of what it is measured by: Makarova et
al. 2022, https://arxiv.org/abs/2104.08166
"""

from math import sqrt

from sartor.search.ladder import Assessment

_STEP = 0.05
"""Of the chance, which is simulated: less is noise."""


def gains(now: Assessment, before: Assessment) -> bool:
    """Whether validation rows tell one candidate from another that it is to be better than.

    Args:
        now: Of the candidate.
        before: Of the other, on the same rows.
    """
    if now.chance >= before.chance + _STEP:
        return True
    one, other = now.losses, before.losses
    if one is None or other is None or one.shape != other.shape or len(one) < 2:
        return now.log_loss < before.log_loss
    saved = other - one
    return bool(saved.mean() > saved.std(ddof=1) / sqrt(len(saved)))


def why_stopped(patience: int, rungs: int) -> str:
    """In words; a phrase of the report's catalogue.

    Args:
        patience: Trials without a gain after which a rung is left.
        rungs: That were searched.
    """
    if rungs > 1:
        return f"the last {patience} trials of each rung gave no better chance"
    return f"the last {patience} trials gave no better chance"
