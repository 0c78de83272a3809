"""Verdicts as a small HTML table, for the rich display of a notebook.

Without classes or a style sheet: notebooks strip both, and their own table style should show.
"""

from collections.abc import Sequence
from html import escape

from sartor.need.verdict import Verdict
from sartor.report.words import Words, plain, translator

# Readable on a light and on a dark notebook.
_COLOURS = {"met": "#2e8b63", "unmet": "#c8503c", "unproven": "#b07d1a"}


def verdict_table_html(verdicts: Sequence[Verdict], language: str = "en") -> str:
    """One row a criterion; every text escaped."""
    _, words = translator(language), Words.of(language)
    names = (_("criterion"), _("value"), words.interval_name(), _("n"), _("verdict"), "")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(_row(verdict, words) for verdict in verdicts)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(verdict: Verdict, words: Words) -> str:
    remarks = filter(None, (words.decides(verdict), words.remark(plain(verdict.note))))
    cells = (
        words.value(verdict),
        words.interval(verdict),
        f"{verdict.n:,}" if verdict.n else "",
    )
    numbers = "".join(f'<td style="text-align:right">{escape(cell)}</td>' for cell in cells)
    colour = _COLOURS[verdict.state]
    return (
        f'<tr><th scope="row" style="text-align:left"><code>{escape(plain(verdict.criterion))}'
        f"</code></th>{numbers}"
        f'<td style="color:{colour};font-weight:600">{escape(words.state(verdict.state))}</td>'
        f'<td style="text-align:left">{escape("; ".join(remarks))}</td></tr>'
    )
