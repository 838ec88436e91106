"""Grids: values from text, and their combinations."""

import pytest

from stir.book.parameters import Parameter
from stir.sweep.grid import combinations, in_words, parse_grid

DECLARED = {
    name: Parameter(name, kind, default, "help")
    for name, kind, default in [
        ("seed", "int", "0"),
        ("epsilon", "float", "1.0"),
        ("solver", "str", '"tethered"'),
        ("seeds", "list", "[0, 1]"),
        ("losses", "list", '["standard"]'),
        ("progress", "bool", "False"),
    ]
}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=0..4", [0, 1, 2, 3, 4]),
        ("seed=0..2, 7,1", [0, 1, 2, 7]),  # each once
        ("seed=-2..4..3", [-2, 1, 4]),
        ("epsilon=0.25,0.5,1", [0.25, 0.5, 1]),
        ("epsilon=0..1..0.1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("epsilon=1e-3..3e-3..1e-3", [0.001, 0.002, 0.003]),
        ("seeds=[0, 1],[2..4]", [[0, 1], [2, 3, 4]]),
        ("losses=[standard, trades],[standard, mart]", [["standard", "trades"], ["standard", "mart"]]),
        ('solver=tethered, nearest,"a, b"', ["tethered", "nearest", "a, b"]),
        ("solver=0200", ["0200"]),
        ("progress=true,false", [True, False]),
    ],
)
def test_values_of_a_grid(text, values):
    assert parse_grid([text], DECLARED) == {text.partition("=")[0]: values}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["seed"], "grid='seed' must have the form NAME=VALUES, such as epsilon="),
        (["sed=1"], "parameter 'sed' does not exist; did you mean 'seed"),
        (["seed=1", "seed=2"], "'seed' has its values already"),
        (["seed="], "holds no value"),
        (["seed=[1"], r"grid=seed='\[1' is no list of values: "),
        (["seed=0,x"], "parameter seed='x' is of type str; it must be of type int"),
        (["seed=0.5"], "must be of type int"),
        (["seeds=0..3"], r"each value of 'seeds' is a list; put it in brackets, such as seeds=\[0, 1\],\[2, 3\]"),
        (["seeds=[a]"], r"parameter seeds\[0\]='a' is of type str"),
        (["epsilon=0.1..0.5"], "a range of fractions needs a step, such as 0.1..0.5..0.25"),
        (["seed=4..0"], "a range goes up"),
        (["seed=0..4..0"], "by a step above 0"),
        (["seed=0..1000000000000"], "holds more than 100,000 numbers"),
    ],
)
def test_what_is_no_grid(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_grid(texts, DECLARED)


def test_a_combination_in_words():
    values = {"x": 3, "epsilon": 0.5, "kinds": [["a", "b"], [True]], "solver": "paper", "unlucky": False}
    assert in_words(values) == "x=3, epsilon=0.5, kinds=[[a, b], [true]], solver=paper, unlucky=false"


def test_every_combination_once():
    made = combinations({"seed": [0, 1], "epsilon": [0.5, 1, 2]})
    assert made[:3] == [{"seed": 0, "epsilon": 0.5}, {"seed": 0, "epsilon": 1}, {"seed": 0, "epsilon": 2}]
    assert len(made) == len({tuple(each.items()) for each in made}) == 6
    with pytest.raises(ValueError, match="1,000,000 combinations; at most 100,000"):
        combinations({"seed": [*range(1_000)], "epsilon": [*range(1_000)]})
