"""Tables and figures of a sweep, from results that lie in its folders."""

from dataclasses import replace

import pandas as pd
import pytest

from stir.study.conclusions import ORDER
from stir.sweep import tidy
from stir.sweep.combination import Combination
from stir.sweep.figure import column_against
from stir.sweep.sweeping import Sweep


@pytest.fixture
def sweep(tmp_path):
    """Four combinations of `steps` and `seeds`, with tables of pairs that have a column `seeds` too, and verdicts."""
    combinations = []
    for steps in (10, 200):
        for seeds in ([0, 1], [2, 3]):
            folder = tmp_path / f"{steps}-{seeds[0]}"
            folder.mkdir()
            pairs = {"stir": [steps / 1000, seeds[0] / 10], "steps": [steps] * 2, "seeds": ["gaussian"] * 2}
            pd.DataFrame(pairs).to_csv(folder / "own.csv", index=False)
            verdict = {"claim": ["first", "second"], "more_value": [0.5, 0.6], "more_low": 0.4, "more_high": 0.7}
            pd.DataFrame(verdict).to_csv(folder / "own-verdicts.csv", index=False)
            varied = {"steps": steps, "seeds": seeds}
            combinations.append(Combination(tmp_path / "own.ipynb", "digits", varied, varied, folder))
    return Sweep("own", ("steps", "seeds"), combinations, tmp_path / "out", "steps_seeds")


def test_the_table_has_the_parameters_first(sweep):
    written = tidy.write(sweep, sweep.combinations)
    assert [path.name for path in written] == ["steps_seeds.csv", "steps_seeds-verdicts.csv"]
    pairs, verdicts = map(pd.read_csv, written)
    # Where a table has a column of the parameter's name, which may mean something else, both stay.
    assert [*pairs.columns] == ["parameter_steps", "parameter_seeds", "stir", "steps", "seeds"]
    assert [*verdicts.columns] == ["steps", "seeds", "claim", "more_value", "more_low", "more_high"]
    assert len(pairs) == len(verdicts) == 8
    assert verdicts.seeds.tolist() == ["[0, 1]"] * 2 + ["[2, 3]"] * 2 + ["[0, 1]"] * 2 + ["[2, 3]"] * 2
    assert tidy.collect(sweep, sweep.combinations[:1]).parameter_steps.tolist() == [10, 10]
    assert tidy.collect(sweep, []).empty and tidy.write(sweep, []) == []


@pytest.mark.parametrize(("column", "against"), [("more_value", "steps"), ("stir", "steps"), ("stir", "seeds")])
def test_any_column_against_any_parameter(sweep, column, against):
    path = tidy.draw(sweep, sweep.combinations, column, against)
    assert path.name == f"steps_seeds-{column}-{against}.png" and path.stat().st_size > 1_000


def test_a_column_that_cannot_be_drawn(sweep):
    told = r"; use one of steps, more_value, .* \(of steps_seeds-verdicts.csv\); or .*stir.* \(of steps_seeds.csv\)$"
    with pytest.raises(ValueError, match="^plot='claim' is no column of numbers" + told):
        tidy.draw(sweep, sweep.combinations, "claim", "steps")


def test_columns_of_findings_are_known_before_any_ran(sweep, executed):
    written = {path: [*pd.read_csv(path)] for name in ORDER for path in executed.glob(f"{name}*.csv")}
    assert set(tidy.OF_FINDINGS) <= {column for columns in written.values() for column in columns}
    finding = replace(sweep, notebook="loss")
    finding.combinations[0].notebook.write_text("as it is now")
    known = {*tidy.OF_FINDINGS, *finding.varied}
    for columns in written.values():
        for column in columns:  # none is taken for another misspelt
            assert tidy.check_column(finding, column) is (column in known)
    assert not tidy.check_column(finding, "something else")
    with pytest.raises(ValueError, match="plot='diference_value' is no column .* did you mean 'difference_value'"):
        tidy.check_column(finding, "diference_value")


def test_the_figure_shows_means_and_rows():
    table = pd.DataFrame({"x": [1, 1, 2, 2], "y": [0.0, 1.0, 2.0, 4.0], "name": ["a", "b", "a", "b"]})
    (axis,) = column_against(table, "y", "x", lines=pd.Series([""] * 4), xlabel="$x$").axes
    rows, means = axis.lines
    assert rows.get_ydata().tolist() == [0, 1, 2, 4]
    assert (means.get_xdata().tolist(), means.get_ydata().tolist()) == ([1, 2], [0.5, 3.0])
    assert axis.get_xlabel() == r"\$x\$" and axis.get_legend() is None
    named = column_against(table, "y", "name", lines="x = " + table.x.astype(str), xlabel="name").axes[0]
    assert [text.get_text() for text in named.get_xticklabels()] == ["a", "b"]
    assert [text.get_text() for text in named.get_legend().get_texts()] == ["x = 1", "x = 2"]


@pytest.mark.parametrize(
    ("values", "ticks"), [([3, 4, 5], "3 4 5"), ([0.25, 0.5, 1], "0.25 0.5 1"), ([8], "8"), ([50, 100], "50 100")]
)
def test_a_figure_has_a_tick_at_each_value(values, ticks):
    table = pd.DataFrame({"x": values, "y": 0.5})
    (axis,) = column_against(table, "y", "x", lines=pd.Series([""] * len(values)), xlabel="x").axes
    assert " ".join(text.get_text() for text in axis.get_xticklabels()) == ticks
    assert axis.lines[-1].get_xdata().tolist() == values


def test_values_too_close_for_ticks_have_whole_numbers_and_groups_stand_beside_each_other():
    table = pd.DataFrame({"x": [1, 2, 99] * 2, "y": 0.5, "y_low": 0.4, "y_high": 0.6, "kind": ["a"] * 3 + ["b"] * 3})
    (axis,) = column_against(table, "y", "x", lines=table.kind, xlabel="x").axes
    assert all(tick == round(tick) for tick in axis.get_xticks())
    first, second = (line.get_xdata() for line in axis.lines if line.get_label() in ("a", "b"))
    assert (second - first > 0).all() and (second - first < 0.5).all()
    assert ((first + second) / 2).tolist() == [1, 2, 99]
