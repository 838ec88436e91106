"""Verdicts as HTML: the answer that a page opens with, a card for each hypothesis, a grid of many verdicts.

Colours and layout are classes of the book's style sheet; without it, as in Jupyter, marks and words say the same.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from stir.study.conclusions import ENOUGH_CONVERGED
from stir.study.estimates import number
from stir.study.naming import decimal, otherwise_name

MARKS = {"supported": "✓", "not supported": "○", "contradicted": "✗", "not judged": "?"}
LEGEND = {
    "supported": "the whole interval of the difference lies above zero",
    "not supported": "the interval includes zero, or there are too few networks; neither means refuted",
    "contradicted": "the whole interval lies below zero",
    "not judged": "too few of the images <i>X′</i> converged",
}
# Between parts that the style sheet sets apart; it hides these.
APART, COLON = '<span class="apart"> · </span>', '<span class="apart">:</span>'


def text(value: object) -> str:
    """HTML of a value as text, in which the book's MathJax finds no mathematics."""
    return html.escape(str(value), quote=True).replace("$", "&#36;").replace("\\", "&#92;")


def chip(verdict: str, label: str | None = None) -> str:
    """HTML of a verdict: a mark and the word, in its colour.

    Args:
        verdict: one of `MARKS`.
        label: in place of the word.
    """
    kind, word = verdict.replace(" ", "-"), verdict if label is None else label
    return f'<span class="verdict {kind}"><span aria-hidden="true">{MARKS[verdict]}</span> {text(word)}</span>'


def legend(verdicts: Iterable[str] = tuple(MARKS)) -> str:
    """HTML that tells what each of these verdicts means."""
    present = set(verdicts)  # of a column of a table, too, where `in` looks at the index
    parts = [f"{chip(verdict)}{COLON} {LEGEND[verdict]}" for verdict in MARKS if verdict in present]
    return f'<p class="verdict-legend">{"; ".join(parts)}.</p>'


def strip(row: pd.Series) -> str:
    """HTML of a difference with its interval on a line from -1 to 1, with a tick at zero; empty where it is unknown."""
    figures: list[Any] = [row[f"difference_{part}"] for part in ("value", "low", "high")]
    value, low, high = map(_place, figures)
    if math.isnan(value):
        return ""
    line = "" if math.isnan(low + high) else f'<path d="M{low:.1f} 8H{high:.1f}"/>'
    return (
        f'<svg class="strip {_kind(row)}" viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">'
        f'<path class="zero" d="M60 1V15M0 8H120"/>{line}<circle cx="{value:.1f}" cy="8" r="3.5"/></svg>'
    )


def _kind(row: pd.Series) -> str:
    """Class of a row's verdict."""
    return str(row.verdict).replace(" ", "-")


def _place(value: float) -> float:
    """Horizontal place of a difference in a strip; what lies beyond its ends is at them."""
    return value if math.isnan(value) else 60 + 56 * min(max(value, -1.0), 1.0)


def interval(row: pd.Series, name: str = "difference") -> str:
    """The value called `name` of a row that `stir.study.verdict.judge` returns, with its interval."""
    figures: list[Any] = [row[f"{name}_{part}"] for part in ("value", "low", "high")]
    return number(*figures)


def named_intervals(judged: pd.DataFrame) -> dict[str, str]:
    """Texts of all figures of a page's verdicts, for its prose to quote: "difference_1", "more_1", "less_1" and so on.

    Args:
        judged: table that `stir.study.conclusions.conclude` returns.
    """
    values = ("difference", "more", "less")
    rows = enumerate((row for _, row in judged.iterrows()), 1)
    return {f"{value}_{number}": interval(row, value) for number, row in rows for value in values}


def warnings(row: pd.Series) -> list[str]:
    """Caveats of a verdict in words: convergence, solvers, measures, few networks, room, accuracy, many hypotheses.

    Args:
        row: of the table of `stir.study.verdict.judge`, with the column `otherwise` and, where they are known,
            `measures` and `networks_alone` (`stir.study.conclusions.with_measures`), `room` and `accuracy`, in words
            (`stir.study.reasons.with_caveats`), and `after_holm`.
    """
    parts = [f"{row.converged:.0%} of X′ converged"] if row.converged < ENOUGH_CONVERGED else []
    if row.get("otherwise"):
        parts.append(otherwise_name(row.otherwise))
    if row.get("networks_alone"):
        parts.append(f"without the error over images “{row.networks_alone}”")
    if row.get("measures"):
        parts.append(f"{row.measures} other measures say {'this too' if row.get('networks_alone') else 'the same'}")
    if not row.get("replicated", True):
        parts.append("too few networks: the interval is over images alone")
    parts += [str(row[name]) for name in ("room", "accuracy") if row.get(name)]
    if row.get("after_holm", row.verdict) != row.verdict:
        parts.append("not upheld by Holm’s correction")
    return parts


def replicates(row: pd.Series) -> str:
    """Replicates that a verdict's intervals count besides images: "networks", or "chains" of versions of one."""
    return str(row.get("replicates", "networks"))


def answer(judged: pd.DataFrame, first: pd.DataFrame | None = None) -> str:
    """HTML of the answer that a finding's page opens with: its first hypothesis in a sentence, then the others.

    Args:
        judged: table that `stir.study.conclusions.conclude` returns.
        first: the rows to tell of, the first of them in a sentence; None for all.
    """
    rows = judged if first is None else first
    row, others = rows.iloc[0], rows.iloc[1:]
    sentence = (
        f"{chip(row.verdict)}{COLON} <strong>{text(row.claim)}.</strong> {text(row.more)}: {interval(row, 'more')}; "
        f"{text(row.less)}: {interval(row, 'less')}; the difference: {interval(row)}."
    )
    items = [
        f"<li>{chip(other.verdict)}{COLON} {text(other.claim)}: {interval(other)}</li>"
        for _, other in others.iterrows()
    ]
    counts = judged.verdict.value_counts()
    tally = ", ".join(f"{counts[verdict]} {verdict}" for verdict in MARKS if verdict in counts)
    networks = "–".join(map(str, sorted({rows.networks.min(), rows.networks.max()})))
    about = (
        f"Hypotheses on this page: {len(judged)}, of which {tally}. "
        f"Brackets are 95% intervals over {networks} {replicates(row)} and {judged.images.max()} images."
    )
    warned = warnings(row)
    if warned:
        about = f"On the first verdict: {text('; '.join(warned))}. {about}"
    listed = f"<ul>{''.join(items)}</ul>" if items else ""
    return f'<div class="answer {_kind(row)}"><p>{sentence}</p>{listed}<p class="small">{about}</p></div>'


def opening(sentence: str, *about: str) -> str:
    """HTML of the answer that a page without hypotheses of its own opens with.

    Args:
        sentence: the answer, as text.
        about: sentences on what it rests on.
    """
    small = f'<p class="small">{text(" ".join(about))}</p>' if about else ""
    return f'<div class="answer"><p><strong>{text(sentence)}</strong></p>{small}</div>'


def folded(summary: str, items: Iterable[str]) -> str:
    """HTML of numbered texts behind a summary, as answers stand behind their tasks."""
    listed = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<details><summary>{text(summary)}</summary><ol>{listed}</ol></details>"


def cards(judged: pd.DataFrame, links: Mapping[str, str] | None = None) -> str:
    """HTML of a card for each hypothesis: the claim, and a line for each scale that judged it.

    Args:
        judged: rows as `stir.study.verdict.judge` makes them, of one finding; at several scales with the column
            `scale`, as `stir.study.scales.at_scales` returns them.
        links: scale -> address of the finding's page, of all scales in their order; None for the page itself, whose
            lines have the two means as well.
    """
    items = []
    for claim, group in judged.groupby("claim", sort=False):
        rows: list[Any] = [row for _, row in group.iterrows()]
        if links is None:
            words, lines = text(claim), [_line(row) for row in rows]
        else:
            of_scale = {row["scale"]: row for row in rows}
            words = f'<a href="{text(links[rows[0]["scale"]])}">{text(claim)}</a>'
            lines = [_line_of_scale(of_scale.get(scale), scale, link) for scale, link in links.items()]
        kinds = {verdict for verdict in group.verdict if verdict != "not judged"}
        differs = " differs" if len(kinds) > 1 else ""
        judged_lines = f'<div class="lines">{"".join(lines)}</div>'
        items.append(f'<li class="hypothesis{differs}"><p class="claim">{words}</p>{judged_lines}</li>')
    return f'<ul class="hypotheses">{"".join(items)}</ul>'


def question(judged: pd.DataFrame, links: Mapping[str, str]) -> str:
    """HTML of a finding's question as a heading that leads to its page, and of how much was measured at each scale.

    Args:
        judged, links: as in `cards`.
    """
    groups = judged.groupby("scale", sort=False)
    measured = "; ".join(
        f"{scale}: {rows.networks.max()} {replicates(rows.iloc[0])}, {rows.images.max()} images"
        for scale, rows in groups
    )
    heading = f'<a href="{text(links[judged["scale"].iloc[0]])}">{text(judged.question.iloc[0])}</a>'
    return f'<p class="question" role="heading" aria-level="3">{heading}</p><p class="warned">{text(measured)}</p>'


def _line_of_scale(row: pd.Series | None, scale: str, link: str) -> str:
    if row is None:
        return (
            f'<div class="judged"><span class="scale">{text(scale)}</span>{APART}<span class="none">not measured</span>'
            "</div>"
        )
    return _line(row, f'<a class="scale" href="{text(link)}">{text(scale)}</a>')


def _line(row: pd.Series, scale: str = "") -> str:
    """A verdict with its difference and warnings, with the two means if there is no scale."""
    both = f"{row.more}: {interval(row, 'more')}; {row.less}: {interval(row, 'less')}"
    means = "" if scale else f'<span class="means">{text(both)}</span>'
    warned = warnings(row)
    small = f'<span class="warned">{text("; ".join(warned))}</span>' if warned else ""
    difference = f'<span class="difference">{strip(row)} {interval(row)}</span>'
    return f'<div class="judged">{APART.join(filter(None, (scale, chip(row.verdict), difference, means, small)))}</div>'


def grid(judged: pd.DataFrame, columns: Mapping[str, str], by: str = "measure", caption: str = "") -> str:
    """HTML of the verdicts on each hypothesis by each measure or solver: a row of cells below each claim.

    A cell has the verdict's mark and colour and the difference behind it; an empty one was not judged at all.

    Args:
        judged: tables of `stir.study.verdict.judge` by several measures, with the columns finding and `by`.
        columns: the measures, from left to right -> their headings.
        by: the column of `judged` with the measures, or solvers, or scales.
        caption: what the numbers are.
    """
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns.values())
    width = len(columns)
    lines = []
    for _, rows in judged.groupby("finding", sort=False):
        heading = text(rows.question.iloc[0]) + _images(rows, columns, by)
        lines.append(f'<tr class="finding"><th colspan="{width}" scope="rowgroup">{heading}</th></tr>')
        for claim, group in rows.groupby("claim", sort=False):
            cells = {row[by]: _cell(row) for _, row in group.iterrows()}
            lines.append(f'<tr class="claim"><td colspan="{width}">{text(claim)}</td></tr>')
            lines.append(f"<tr>{''.join(cells.get(column, '<td></td>') for column in columns)}</tr>")
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    return f'<table class="verdict-grid">{title}<thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _images(rows: pd.DataFrame, columns: Mapping[str, str], by: str) -> str:
    """HTML of how many images the verdicts of a finding are of, where that is not the same for all columns."""
    counts: dict[int, list[str]] = {}
    for column, count in rows.groupby(by).images.max().reindex([*columns]).dropna().items():
        counts.setdefault(int(count), []).append(columns[str(column)])
    listed = "; ".join(f"{', '.join(names)}: {count} images" for count, names in counts.items())
    return f' <span class="warned">({text(listed)})</span>' if len(counts) > 1 else ""


def _cell(row: pd.Series) -> str:
    title = f"{row.verdict}: {interval(row)}"
    word = f'<span aria-hidden="true">{MARKS[row.verdict]}</span><span class="visually-hidden">{row.verdict}</span>'
    value = decimal(row.difference_value, signed=True)
    return f'<td class="verdict {_kind(row)}" title="{text(title)}">{word} {value}</td>'
