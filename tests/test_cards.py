"""What cards and answers say is what was judged, as text."""

import html
import math
import re

import pandas as pd
import pytest

from stir.study import cards


@pytest.fixture
def judged():
    values = {"supported": (0.3, 0.2, 0.4), "not supported": (0.1, -0.1, 0.3), "contradicted": (-0.3, -2.5, -0.1)}
    rows = [
        {
            "claim": f"claim {verdict}",
            "more": "CKA",
            "less": "STIR",
            "verdict": verdict,
            "converged": 1.0,
            "otherwise": "",
        }
        | {"networks": 3, "images": 20, "replicated": True, "finding": "loss", "question": "Why?"}
        | {"more_value": 0.9, "more_low": 0.85, "more_high": 0.95, "less_value": 0.6, "less_low": 0.5, "less_high": 0.7}
        | dict(zip(("difference_value", "difference_low", "difference_high"), each, strict=True))
        for verdict, each in values.items()
    ]
    return pd.DataFrame(rows)


def shown(source):
    """The text of HTML, each element apart."""
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", source)).split())


def test_the_answer_is_a_sentence_of_the_first_hypothesis(judged):
    text = shown(cards.answer(judged))
    assert text.startswith(
        "✓ supported : claim supported. CKA: 0.90 [0.85, 0.95]; STIR: 0.60 [0.50, 0.70]; "
        "the difference: 0.30 [0.20, 0.40]."
    )
    assert "○ not supported : claim not supported: 0.10 [−0.10, 0.30]" in text
    assert "on this page: 3, of which 1 supported, 1 not supported, 1 contradicted." in text
    assert "over 3 networks and 20 images" in text
    assert "over 3 chains and" in shown(cards.answer(judged.assign(replicates="chains")))
    few = cards.answer(judged, judged.iloc[[2]])
    assert shown(few).startswith("✗ contradicted : claim contradicted.") and "<li>" not in few


def test_a_verdict_is_told_with_what_it_hangs_on(judged):
    row = judged.iloc[0]
    assert cards.warnings(row) == []
    changed = {"converged": 0.85, "otherwise": "not by the solver paper", "measures": "4 of 6", "replicated": False}
    changed["room"] = "the pixels leave room for 0.08 (a) and 0.80 (b)"
    assert cards.warnings(pd.Series({**row, **changed, "after_holm": "not supported"})) == [
        "85% of X′ converged",
        "not so by the authors’ algorithm",
        "4 of 6 other measures say the same",
        "too few networks: the interval is over images alone",
        "the pixels leave room for 0.08 (a) and 0.80 (b)",
        "not upheld by Holm’s correction",
    ]


def test_the_legend_explains_the_verdicts_that_a_table_has(judged):
    column = judged.verdict.reset_index(drop=True)
    for verdict, meaning in cards.LEGEND.items():
        assert (meaning in cards.legend(column)) == (verdict in list(column))
    assert "<span" in cards.legend(column)


def test_a_card_has_the_line_of_each_scale(judged):
    one, two = judged.assign(scale="one"), judged.assign(scale="two")
    two.loc[0, "verdict"] = "contradicted"
    source = cards.cards(pd.concat([one, two]), {"one": "a.html", "two": "b.html"})
    first, second, third = re.findall("<li.*?</li>", source)
    assert "differs" in first and "differs" not in second + third
    assert shown(first) == (
        "claim supported one · ✓ supported · 0.30 [0.20, 0.40] two · ✗ contradicted · 0.30 [0.20, 0.40]"
    )
    assert re.findall('href="(.*?)"', first) == ["a.html", "a.html", "b.html"]
    missing = cards.cards(one, {"one": "a.html", "two": "b.html"})
    assert missing.count("not measured") == 3 and "b.html" not in missing
    heading = cards.question(pd.concat([one, two]), {"one": "a.html", "two": "b.html"})
    assert shown(heading) == "Why? one: 3 networks, 20 images; two: 3 networks, 20 images"
    assert 'href="a.html"' in heading
    assert "CKA: 0.90 [0.85, 0.95]; STIR: 0.60 [0.50, 0.70]" in shown(cards.cards(judged))


def test_a_strip_stays_inside_and_is_nothing_for_nothing(judged):
    low, high = map(float, re.search(r'd="M([\d.]+) 8H([\d.]+)"/><circle', cards.strip(judged.iloc[2])).groups())
    assert (low, high) == pytest.approx((60 - 56, 60 - 5.6))
    assert cards.strip(judged.iloc[0].replace(0.3, math.nan)) == ""


def test_a_grid_has_a_cell_for_each_measure(judged):
    both = pd.concat([judged.assign(measure="rsa"), judged.iloc[:2].assign(measure="linear-cka")])
    source = cards.grid(both, {"linear-cka": "CKA", "rsa": "RSA"}, caption="a < b")
    rows = [shown(row) for row in re.findall("<tr.*?</tr>", source)]
    assert rows[:4] == ["CKA RSA", "Why?", "claim supported", "✓ supported +0.30 ✓ supported +0.30"]
    assert rows[-1] == "✗ contradicted −0.30" and source.count("<td></td>") == 1


def test_a_grid_tells_the_images_of_its_columns_where_they_differ(judged):
    few = [judged.assign(solver=name, images=7) for name in ("nearest", "paper")]
    columns = {"page": "on its page", "nearest": "nearest", "paper": "paper"}
    source = cards.grid(pd.concat([judged.assign(solver="page"), *few]), columns, by="solver", caption="what they are")
    assert "Why? (on its page: 20 images; nearest, paper: 7 images)" in shown(source)
    assert "<caption>what they are</caption>" in source
    assert "images" not in cards.grid(pd.concat(few), columns, by="solver")


def test_prose_can_quote_the_figures_of_verdicts(judged):
    named = cards.named_intervals(judged)
    assert len(named) == 9 and shown(named["difference_2"]) == "0.10 [−0.10, 0.30]"
    assert shown(named["less_1"]) == "0.60 [0.50, 0.70]"


def test_answers_are_numbered_behind_a_summary():
    source = cards.folded("What came out", ["a < b", "$c$"])
    assert shown(source) == "What came out a < b $c$" and source.count("<li>") == 2 and "$" not in source


def test_an_opening_is_text():
    assert shown(cards.opening("1 < 2.", "So", "it is.")) == "1 < 2. So it is." and "small" not in cards.opening("x")


@pytest.mark.parametrize("claim", ["<b>$x$</b> & 'y'", "\\(a\\)", '"<script>'])
def test_claims_are_text(judged, claim):
    named = judged.assign(claim=claim, more=claim, question=claim, measure="rsa", scale=claim)
    for source in (cards.answer(named), cards.cards(named, {claim: "a.html"}), cards.grid(named, {"rsa": claim})):
        assert claim in html.unescape(source) and "$" not in source and "\\(" not in source
        assert "<b>" not in source and "<script" not in source
