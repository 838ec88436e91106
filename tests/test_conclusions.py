"""Conclusions of findings can be read and judged again."""

import html
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from helpers.pair_tables import kinds_of, pairs
from markdown_it import MarkdownIt

from stir.study import conclusions
from stir.study.hypothesis import Hypothesis, Quantity
from stir.study.verdict import described, judge, shown, word

HYPOTHESES = [Hypothesis("CKA is above STIR", Quantity("CKA", "cka", {}), Quantity("STIR", "stir", {}))]
EFFECTS = {"a0": 0.0, "a1": 0.0, "b0": 0.0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table():
    other = pairs(EFFECTS, stir=0.95, measure="rsa", width=math.nan)
    return described(pd.concat([pairs(EFFECTS), other]), kinds_of(EFFECTS))


def by_solver(**stir):
    """The pairs under each solver, with its mean STIR."""
    rows = [
        described(pairs(EFFECTS, stir=value), kinds_of(EFFECTS)).assign(solver=name) for name, value in stir.items()
    ]
    return pd.concat(rows, ignore_index=True)


def conclude(finding="loss", question="Why?", rows=None, dataset="digits", **stir):
    again = by_solver(**{"adam": 0.5} | stir)
    return conclusions.conclude(
        finding, question, HYPOTHESES, table() if rows is None else rows, again, dataset=dataset
    )


def test_what_is_concluded_can_be_read_again(folder):
    judged = conclude("zebra", "What?", dataset="stripes", paper=0.95)
    conclude()
    assert [path.name for path in conclusions.tables_in(folder)] == [
        f"{name}{end}.csv" for name in ("loss", "zebra") for end in ("", "-solvers", "-verdicts")
    ]
    assert [path.name for path in conclusions.tables_in(folder, [conclusions.BY_SOLVER])] == [
        "loss-solvers.csv",
        "zebra-solvers.csv",
    ]
    read = conclusions.read_verdicts(folder)
    assert list(read.finding) == ["loss", "zebra"]  # the book's own come first, in its order
    pd.testing.assert_frame_equal(read[read.finding == "zebra"].reset_index(drop=True), judged)


def test_another_measure_judges_from_the_tables_alone(folder):
    conclude()
    again = conclusions.judge_again(folder, "measure")
    assert dict(zip(again.measure, again.verdict, strict=True)) == {"linear-cka": "supported", "rsa": "contradicted"}
    # The networks alone: these do not differ, so that nothing is left of the interval.
    first, other = again.to_dict("records")
    assert first["difference_low"] == pytest.approx(first["difference_high"]) == pytest.approx(0.4)
    assert other["finding"] == "loss" and other["question"] == "Why?"


def test_a_measure_that_refused_a_pair_judges_nothing(folder):
    conclude(rows=table().iloc[:-1])
    assert list(conclusions.judge_again(folder, "measure").measure) == ["linear-cka"]


def test_another_solver_judges_from_the_tables_alone(folder):
    conclude(paper=0.95, nearest=0.4)
    again = conclusions.judge_again(folder, "solver")
    assert dict(zip(again.solver, again.verdict, strict=True)) == {
        "adam": "supported",
        "paper": "contradicted",
        "nearest": "supported",
    }
    assert set(again.dataset) == {"digits"}


@pytest.mark.parametrize(
    ("stir", "words"),
    [
        ({"nearest": 0.5, "paper": 0.7}, "supported"),
        ({"paper": 0.95}, "supported, but contradicted by the authors’ algorithm"),
        ({"nearest": 0.9, "paper": 0.9}, "supported, but not so by the solver “nearest” and the authors’ algorithm"),
        (
            {"nearest": 0.95, "paper": 0.9},
            "supported, but contradicted by the solver “nearest”, not so by the authors’ algorithm",
        ),
        # So few images may lead to another word, whatever the solver: then they check nothing.
        (
            {"adam": 0.9, "paper": 0.9},
            "supported, but “not supported” by all solvers that converged, on the fewer images of the check",
        ),
        ({"adam": 0.9, "paper": 0.5}, "supported"),
        ({"adam": 0.9}, "supported"),  # no other was asked
    ],
)
def test_where_solvers_disagree_the_word_says_so(folder, stir, words):
    (row,) = conclude(**stir).iloc
    assert word(row) == words and shown(pd.DataFrame([row])).verdict[0] == words
    assert word(conclusions.read_verdicts(folder).iloc[0]) == words


def test_the_summary_of_verdicts_beyond_the_pixels():
    claims = {
        "x": "supported",
        "x, beyond the pixels": "not supported",
        "y": "supported",
        "y, beyond the pixels": "supported",
    }
    claims |= {"z": "not supported", "z, beyond the pixels": "not supported", "w": "supported"}
    summary = conclusions.beyond_pixels_summary(pd.DataFrame({"claim": claims.keys(), "verdict": claims.values()}))
    assert "own similarity: 3. Of these, supported: 2; supported beyond the pixels too: 1." in summary
    assert summary.endswith("\n\n- *x*: supported; beyond the pixels not supported.")


def test_pixels_that_a_measure_refuses_leave_its_other_verdicts(folder):
    claims = [
        Hypothesis(name, Quantity("", "stir", {"reference": "a0"}), Quantity("", "stir", {"reference": "b0"}))
        for name in "xy"
    ]
    claims[1] = claims[1].beyond_pixels()
    rows = table()
    rows["pixels"] = rows.pixels.where(rows.measure == "linear-cka")
    conclusions.conclude("loss", "Why?", claims, rows, by_solver(adam=0.5), dataset="digits")
    again = conclusions.judge_again(folder, "measure")
    assert list(zip(again.measure, again.claim, strict=True)) == [
        ("linear-cka", "x"),
        ("linear-cka", "y, beyond the pixels"),
        ("rsa", "x"),
    ]


def test_a_solver_that_hardly_converged_checks_nothing(folder):
    judged = judge(HYPOTHESES, table())
    for share, words in (
        (0.95, "not by the solver paper"),
        (0.899, "unchecked by the solver paper (89% converged in 7 steps; 90% needed)"),
        (0.3, "unchecked by the solver paper (30% converged in 7 steps; 90% needed)"),
    ):
        again = [
            judge(HYPOTHESES, by_solver(x=stir).assign(converged=share)).assign(solver=name, steps=7)
            for name, stir in {"adam": 0.5, "paper": 0.9}.items()
        ]
        if share < 0.5:
            again[0] = again[0].assign(verdict="supported")
        assert conclusions.disagreement(judged, pd.concat(again)) == [words]


def test_the_page_s_solver_and_others_measure_the_same(digits):
    calls = []

    def measure_pairs(images, **options):
        calls.append((len(images), options))
        return pairs(EFFECTS)

    measurement = {
        "layers": ["stage1"],
        "measure": "rsa",
        "also": ["mean-cca"],
        "draws": 1,
        "steps": 7,
        "solver": "nearest",
    }
    table = conclusions.by_solvers(measure_pairs, digits.test.images[:6], measurement, ["nearest", "paper"])
    assert list(table.solver.unique()) == ["nearest", "paper"] and len(table) == 2 * len(pairs(EFFECTS))
    own = measurement | {"also": []}
    assert calls == [(6, own), (6, own | {"solver": "paper", "steps": None})]
    conclusions.by_solvers(measure_pairs, digits.test.images[:6], measurement, ["paper"], steps=2)
    assert calls[-1] == (6, own | {"solver": "paper", "steps": 2})


def test_no_tables(tmp_path):
    with pytest.raises(ValueError, match="holds no .*-verdicts.csv; run the findings first"):
        conclusions.read_verdicts(tmp_path)


def test_an_interrupted_write_leaves_the_old_table(folder, monkeypatch):
    conclude()
    before = Path("loss.csv").read_bytes()

    def fail(self, path, **_):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(KeyboardInterrupt):
        conclude()
    assert Path("loss.csv").read_bytes() == before and not list(folder.glob("*.partial"))


def test_claims_are_text_on_a_page_and_names_lead_nowhere_else(folder):
    claim = "<b>more</b> & 'less'"
    judged = conclude().assign(claim=claim)
    assert shown(judged).hypothesis[0] == "&lt;b&gt;more&lt;/b&gt; &amp; 'less'"
    both = pd.concat([judged, judged.assign(claim=claim + ", beyond the pixels", verdict="not supported")])
    assert "<b>" not in conclusions.beyond_pixels_summary(both)
    for claim in ("a*b*c `d` _e_ $f$ [g](h) \\i ~~j~~ |", "two\nlines", "# 1. - x"):
        renamed = both.assign(claim=both.claim.str.replace("<b>more</b> & 'less'", claim))
        page = MarkdownIt().enable(["table", "strikethrough"]).render(conclusions.beyond_pixels_summary(renamed))
        assert f"<li><em>{' '.join(claim.split())}</em>: supported" in html.unescape(page)
    judged.assign(finding="../loss").to_csv("loss-verdicts.csv", index=False)
    with pytest.raises(ValueError, match="loss-verdicts.csv must hold the verdicts of the finding 'loss' alone"):
        conclusions.judge_again(folder, "measure")


def test_tables_carry_the_recipe_and_mixtures_are_told(folder):
    def rows(**recipe):
        text = json.dumps({"width": 8, "epochs": 8} | recipe)
        return table().assign(recipe=text).assign(later=1), text

    def conclude_with(finding, again=None, **recipe):
        pairs_of, text = rows(**recipe)
        others = by_solver(adam=0.5).assign(recipe=again or text)
        conclusions.conclude(finding, "Why?", HYPOTHESES, pairs_of, others, dataset="digits")

    conclude_with("loss", epsilon=[1, 2])
    for end in ("", "-solvers", "-verdicts"):
        written = pd.read_csv(f"loss{end}.csv")
        assert written.columns[-1] == "recipe" and json.loads(written.recipe[0])["width"] == 8
    assert list(pd.read_csv("loss.csv").columns[:-1]) == [*table().columns, "later"]
    conclude_with("dataset", epsilon=1)
    assert conclusions.mixture(conclusions.read_verdicts(folder)) == ""
    conclude_with("updates", width=16, epsilon="<b>")
    assert conclusions.mixture(conclusions.read_verdicts(folder)) == (
        "Not all networks were trained alike: width 8 (loss, dataset), 16 (updates); "
        "epsilon 1 (dataset), &lt;b&gt; (updates)."
    )
    said = conclusions.mixture(conclusions.read_verdicts(folder).assign(scale="stripes"))
    assert said.startswith("stripes: not all networks were trained alike: width 8 (")
    conclusions.judge_again(folder, "solver")
    conclude_with("updates", again=rows(width=32)[1])
    with pytest.raises(ValueError, match="the tables of 'updates' in .* are of networks with two recipes"):
        conclusions.judge_again(folder, "solver")
