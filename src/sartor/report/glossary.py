"""One line of plain words for each term that a page uses."""

import re
from collections.abc import Mapping, Sequence

from sartor.core.i18n import Translate
from sartor.need.verdict import Verdict
from sartor.report.words import bound

_FAMILY = re.compile(r"\d+$")
"""Of `recall_at_5`, what is no matter of the metric's meaning."""


def glosses(verdicts: Sequence[Verdict], _: Translate) -> dict[str, str]:
    """Meaning of each metric that the verdicts name, in their order; unknown ones are left out."""
    known = _metrics(_)
    named = [criterion.metric for v in verdicts if (criterion := bound(v.criterion))]
    found = {
        name: known[_FAMILY.sub("", name)]
        for name in dict.fromkeys(named)
        if _FAMILY.sub("", name) in known
    }
    if any(criterion.relative_to for v in verdicts if (criterion := bound(v.criterion))):
        found["baseline"] = _("what answers today; the value shown is the difference from it")
    return found


def changes(_: Translate) -> Mapping[str, str]:
    """Why rows are dropped or changed, by the words that `data` records."""
    return {
        "empty text": _("empty text"),
        "empty text_pair": _("empty text_pair"),
        "empty question": _("empty question"),
        "empty context": _("empty context"),
        "pair in the wrong columns": _("pair in the wrong columns"),
        "no label": _("no label"),
        "unreadable answer": _("unreadable answer"),
        "duplicate": _("duplicate"),
        "repeated text": _("repeated text"),
        "near duplicate": _("near duplicate"),
        "conflicting labels": _("conflicting labels"),
        "averaged": _("averaged"),
        "another reply": _("another reply"),
        "learnt by a part": _("learnt by a part"),
        "repeated choice": _("repeated choice"),
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
        "f1_partial": _("precision and recall in one number, half for parts whose edges are off"),
        "precision_partial": _("precision, where a part counts half whose edges are off"),
        "recall_partial": _("recall, where a part counts half whose edges are off"),
        "precision_micro": _("precision over all labels together"),
        "recall_micro": _("recall over all labels together"),
        "no_answer_accuracy": _("of the questions without an answer, the share left unanswered"),
        "answered_exact_match": _("share of questions with an answer that got the right one"),
        "answered_f1": _("how many words an answer shares with the right one, where there is one"),
        "exact_match": _("share of rows whose answer is right as a whole"),
        "subset_accuracy": _("share of rows whose labels are all found, and no other"),
        "hamming_loss": _("share of wrong answers, yes or no, over all labels of all rows"),
        "map": _("how well rows with a label are ranked above those without, averaged over labels"),
        "recall_at_": _("share of the right documents that are among the first so many"),
        "ndcg_at_": _("how high the right documents stand among the first so many"),
        "coverage_at_": _("share of all items that are among the first so many of some answer"),
        "novelty_at_": _(
            "how rare the first so many are in the histories, in bits: each doubles the rarity"
        ),
        "mrr": _("1 divided by the place of the first right document, on average"),
        "rejection_recall": _("of the texts that no document answers, the share left unanswered"),
        "log_loss": _("how much probability the true labels were denied; lower is better"),
        "calibration_error": _("how far stated confidence is from being right that often"),
        "contains": _("share of replies that contain the right one, but for case and spaces"),
        "rouge_l": _("how many words a reply shares with the right one, in their order"),
        "rouge_1": _("how many words are shared with the right text"),
        "rouge_2": _("how many pairs of words are shared with the right text"),
        "bleu": _("runs of up to four words shared with the right texts, over all rows; 0 to 100"),
        "chrf": _("runs of characters shared with the right texts, over all rows; 0 to 100"),
        "placeholders_kept": _("of texts with placeholders or tags, those that keep all of them"),
        "length_ratio": _("words of all replies to words of all right ones"),
        "json_valid": _("share of replies that are JSON"),
        "answered": _("share of texts that get any reply"),
        "perplexity": _("how surprised the model is by the right replies; 1 is certainty"),
        "auc": _("how often a row that has the label is ranked above one that has not"),
        "pr_auc": _("how few rows without the label are ranked above those that have it"),
        "brier": _("how far stated probabilities are from what was true; lower is better"),
        "expected_cost": _("what an answer costs on average, by what the need says of mistakes"),
        "automation_rate": _("share of rows that can be answered without a person"),
        "end_to_end": _(
            "share of rows that end right: the right answer, or a person where one should answer"
        ),
        "answered_right": _("share of all rows that are answered, and rightly"),
        "answered_precision": _("of the rows that are answered, the share that is right"),
        "hand_off_rate": _("share of rows that are left to a person"),
        "hand_off_recall": _("of the rows that a person should answer, the share that one gets"),
        "part_accuracy": _(
            "of the rows that reach a part of the product, the share it answers rightly"
        ),
        "mae": _("how far answers are from the truth, on average; lower is better"),
        "rmse": _("how far answers are from the truth, far errors weighing more; lower is better"),
        "r2": _("share of the differences between rows that the answers explain"),
        "pearson": _("how closely answers rise and fall with the truth; 1 is perfectly"),
        "spearman": _("how well answers put rows into the right order; 1 is perfectly"),
        "coverage": _("share of rows whose truth lies inside the stated interval"),
        "interval_width": _("mean width of the stated intervals"),
        "quadratic_weighted_kappa": _(
            "agreement beyond chance; far misses weigh more; 1 is perfect"
        ),
        "within_one": _("share of rows answered at most one level off"),
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
