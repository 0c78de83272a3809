"""What can be wrong with a criterion on rows, whatever the form of their answers."""

from collections.abc import Collection, Sequence

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.judge.ratios import RATIOS
from sartor.need.criterion import Bound, Criterion


def exact_fault(criterion: Criterion) -> Fault | None:
    """That a sample cannot show an exact value, where one is asked for."""
    if criterion.comparison not in ("==", "!="):
        return None
    what = f"no sample can show that {criterion.metric} is exactly {criterion.threshold:g}"
    return Fault(criterion.line, f"{criterion.text!r}: {what}.", "use >= or <=.")


def threshold_fault(criterion: Criterion, alone: Collection[str]) -> Fault | None:
    """Why no sample of rows can show the threshold, or None.

    Args:
        criterion: Of a metric between 0 and 1, or of `log_loss`.
        alone: Metrics that labels without probabilities do not have: no baseline has them.
    """
    metric, limit, more = criterion.metric, criterion.threshold, criterion.wants_more
    if exact := exact_fault(criterion):
        return exact
    if criterion.relative_to:
        if metric in alone:
            return Fault(
                criterion.line,
                f"{criterion.text!r}: the baseline's labels have no {metric}.",
                "compare accuracy, precision, recall or F1 with the baseline.",
            )
        if not -1 < limit < 1:
            return Fault(
                criterion.line,
                f"{criterion.text!r}: no two values of {metric} are {limit:g} apart.",
                f"write a margin between -1 and 1, e.g. {metric} >= baseline + 0.03.",
            )
        return None
    if metric == "log_loss":
        possible = limit >= 0 if more else limit > 0
    else:
        possible = (0 <= limit < 1) if more else (0 < limit <= 1)
    if possible:
        return None
    if limit == 1 and more:
        what, fix = "no finite number of rows can show it", "ask for a little less, e.g. 0.99."
    elif 1 < limit <= 100 and metric != "log_loss":
        what, fix = f"{metric} lies between 0 and 1", f"{limit:g} % is written {limit / 100:g}."
    else:
        what = f"{metric} lies {'above 0' if metric == 'log_loss' else 'between 0 and 1'}"
        fix = "write a threshold inside that range."
    return Fault(criterion.line, f"{criterion.text!r} cannot be met: {what}.", fix)


def parameter_fault(criterion: Criterion, takes: Sequence[str]) -> Fault | None:
    """What is wrong with the criterion's parameters, or None.

    Args:
        criterion: Any.
        takes: Names of the parameters of its metric: "label", or one that is a bound.
    """
    for name, value in criterion.parameters:
        if name not in takes:
            return Fault(
                criterion.line,
                f"{criterion.text!r}: {criterion.metric} takes no parameter {name!r}.",
                near_miss(name, takes),
            )
        if isinstance(value, Bound) == (name == "label"):
            right = "label=name" if name == "label" else "precision >= 0.97"
            return Fault(
                criterion.line,
                f"{criterion.text!r}: {name!r} is not written that way.",
                f"write {criterion.metric}[{right}].",
            )
        if isinstance(value, Bound) and not (
            value.comparison in (">=", ">") and 0 <= value.value < 1
        ):
            return Fault(
                criterion.line,
                f"{criterion.text!r}: {name} {value.comparison} {value.value:g} cannot be shown.",
                "write a bound from 0 to below 1, e.g. precision >= 0.97.",
            )
    return None


def label_fault(criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
    """What is wrong with the label of a metric that is one label's, or None."""
    label = criterion.label(outputs)
    if label is None:
        first = outputs[0] if outputs else "name"
        return Fault(
            criterion.line,
            f"{criterion.text!r} does not say of which label.",
            f"write {criterion.metric}[label={first}], or {criterion.metric}_macro for all labels.",
        )
    if label not in outputs:
        return Fault(
            criterion.line,
            f"{criterion.text!r}: no label is called {label!r}.",
            near_miss(label, outputs),
        )
    return None


def by_label_fault(
    criterion: Criterion,
    outputs: Sequence[str],
    alone: Collection[str] = (),
    takes: Sequence[str] = (),
) -> Fault | None:
    """What is wrong with a criterion on labels, each or all, or None.

    Args:
        criterion: Of a metric that `ratios.metrics_by_label` names, or another between 0 and 1.
        outputs: The labels.
        alone: As of `threshold_fault`.
        takes: Parameters of a metric that is not one label's.
    """
    of_one = criterion.metric in RATIOS
    found = threshold_fault(criterion, alone)
    found = found or parameter_fault(criterion, ("label",) if of_one else takes)
    return found or (label_fault(criterion, outputs) if of_one else None)


def scale_fault(
    criterion: Criterion,
    *,
    units: Collection[str],
    signed: Collection[str],
    alone: Collection[str] = (),
) -> Fault | None:
    """Why no sample of rows can show the threshold of a metric of numbers or levels, or None.

    Args:
        criterion: Of such a metric.
        units: Metrics in the answers' own unit, from 0 upwards.
        signed: Correlations and the like, at most 1 and below 0 where answers mislead; any other
            metric is a share, from 0 to 1.
        alone: Metrics that a baseline does not have.
    """
    metric, limit, more = criterion.metric, criterion.threshold, criterion.wants_more
    if exact := exact_fault(criterion):
        return exact
    if criterion.relative_to:
        if metric not in alone:
            return None
        what = f"{criterion.text!r}: the baseline's answers have no {metric}."
        return Fault(criterion.line, what, "compare mae, rmse or a correlation with the baseline.")
    if metric in units:
        possible, said = limit > 0, f"{metric} lies above 0"
    elif metric in signed:
        possible, said = limit < 1 if more else limit <= 1, f"{metric} is at most 1"
    else:
        possible = (0 <= limit < 1) if more else (0 < limit <= 1)
        said = f"{metric} lies between 0 and 1"
    if possible:
        return None
    if limit == 1:
        said += ", and no finite number of rows can show 1"
    what = f"{criterion.text!r} cannot be met: {said}."
    return Fault(criterion.line, what, "write a threshold inside that range, e.g. 0.6.")
