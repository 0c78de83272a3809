"""One line of plain words for each term that a page uses."""

from collections.abc import Mapping, Sequence

from sartor.core.i18n import Translate
from sartor.need.verdict import Verdict
from sartor.report.words import bound


def glosses(verdicts: Sequence[Verdict], _: Translate) -> dict[str, str]:
    """Meaning of each metric that the verdicts name, in their order; unknown ones are left out."""
    known = _metrics(_)
    named = [criterion.metric for v in verdicts if (criterion := bound(v.criterion))]
    found = {name: known[name] for name in dict.fromkeys(named) if name in known}
    if any(criterion.relative_to for v in verdicts if (criterion := bound(v.criterion))):
        found["baseline"] = _("what answers today; the value shown is the difference from it")
    return found


def changes(_: Translate) -> Mapping[str, str]:
    """Why rows are dropped or changed, by the words that `data` records."""
    return {
        "empty text": _("empty text"),
        "empty text_pair": _("empty text_pair"),
        "pair in the wrong columns": _("pair in the wrong columns"),
        "no label": _("no label"),
        "unreadable answer": _("unreadable answer"),
        "duplicate": _("duplicate"),
        "near duplicate": _("near duplicate"),
        "conflicting labels": _("conflicting labels"),
        "another reply": _("another reply"),
        "undecodable characters removed": _("undecodable characters removed"),
        "control characters removed": _("control characters removed"),
        "Unicode composed (NFC)": _("Unicode composed (NFC)"),
        "spaces collapsed": _("spaces collapsed"),
    }


def _metrics(_: Translate) -> Mapping[str, str]:
    return {
        "accuracy": _("share of all rows that were answered correctly"),
        "precision": _("of the rows given a label, the share that really have it"),
        "recall": _("of the rows that have a label, the share that were found"),
        "f1": _("precision and recall in one number; high only when both are"),
        "f1_micro": _("precision and recall in one number, over all labels of all rows together"),
        "f1_macro": _("precision and recall in one number, every label counting the same"),
        "f1_weighted": _("precision and recall in one number, frequent labels counting more"),
        "precision_macro": _("precision, averaged so that every label counts the same"),
        "recall_macro": _("recall, averaged so that every label counts the same"),
        "subset_accuracy": _("share of rows whose labels are all found, and no other"),
        "hamming_loss": _("share of wrong answers, yes or no, over all labels of all rows"),
        "map": _("how well rows with a label are ranked above those without, averaged over labels"),
        "log_loss": _("how much probability the true labels were denied; lower is better"),
        "calibration_error": _("how far stated confidence is from being right that often"),
        "exact_match": _("share of replies that are the right one, but for case and spaces"),
        "contains": _("share of replies that contain the right one, but for case and spaces"),
        "rouge_l": _("how many words a reply shares with the right one, in their order"),
        "length_ratio": _("words of all replies to words of all right ones"),
        "json_valid": _("share of replies that are JSON"),
        "answered": _("share of texts that get any reply"),
        "perplexity": _("how surprised the model is by the right replies; 1 is certainty"),
        "auc": _("how often a row that has the label is ranked above one that has not"),
        "automation_rate": _("share of rows that can be answered without a person"),
        "latency_p50_ms": _("milliseconds within which half of the requests are answered"),
        "latency_p95_ms": _("milliseconds within which 95 of 100 requests are answered"),
        "latency_p99_ms": _("milliseconds within which 99 of 100 requests are answered"),
        "throughput_per_s": _("texts answered in a second"),
        "first_token_p95_ms": _("milliseconds within which 95 of 100 replies begin"),
        "tokens_per_s": _("how fast a reply goes on, in tokens a second"),
        "cost_per_1000": _("what answering 1,000 requests costs on a target, in its currency"),
        "monthly_cost": _("what a month of so many requests costs on a target, in its currency"),
        "size_mb": _("megabytes of the model as it is shipped"),
    }
