"""What a check says of numbers, tensors and predictions."""

import math

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from stir.course.judging import Unmet, check_guess, check_number, check_tensor, done, outcome


def test_what_is_missing_is_told():
    with pytest.raises(Unmet, match="`f` returns nothing yet"):
        outcome(lambda: ..., name="f")
    with pytest.raises(Unmet, match="`f` is Ellipsis, not a function"):
        outcome(..., name="f")
    assert outcome(lambda x: x + 1, 2, name="f") == 3
    with pytest.raises(Unmet, match="CKA is still missing"):
        check_number(..., 0.5, "CKA")
    with pytest.raises(Unmet, match="CKA should be one number, not a tensor of shape"):
        check_number(torch.zeros(2), 0.5, "CKA")
    with pytest.raises(Unmet, match="NaN"):
        check_number(math.nan, 0.5, "CKA")


def test_a_mistake_that_explains_a_number_is_named():
    check_number(0.5004, 0.5, "CKA")
    check_number(torch.tensor(1000.5), 1000.0, "n")
    with pytest.raises(Unmet, match=r"CKA is 0.300, and should be 0.500: centre first\.$"):
        check_number(0.3, 0.5, "CKA", {"square it.": 0.1, "centre first.": 0.3})
    with pytest.raises(Unmet, match=r"CKA is 0.310, and should be 0.500\.$"):
        check_number(0.31, 0.5, "CKA", {"centre first.": 0.3})


def test_tensors():
    wanted = torch.tensor([1.0, 2.0])
    check_tensor(wanted + 1e-5, wanted, "x'")
    with pytest.raises(Unmet, match="should be a tensor, not 3"):
        check_tensor(3, wanted, "x'")
    with pytest.raises(Unmet, match=r"has the shape \(1, 2\), and should have \(2,\)"):
        check_tensor(wanted[None], wanted, "x'")
    with pytest.raises(Unmet, match="is not right: the sign"):
        check_tensor(-wanted, wanted, "x'", {"the sign": -wanted})
    with pytest.raises(Unmet, match="differs by up to inf"):
        check_tensor(wanted * math.nan, wanted, "x'")


def test_a_prediction_has_to_be_made_and_need_not_be_right():
    def is_word(value):
        return value in ("yes", "no")

    outcomes = {"a": "yes", "b": "no"}
    told = check_guess({"a": "no", "b": "yes"}, outcomes, is_word, "yes or no")
    assert told.splitlines()[1:] == ["   guessed  came out", "a       no       yes", "b      yes        no"]
    assert "0.50     −0.04" in check_guess({"a": 0.5}, {"a": -0.04}, lambda _: True, "a number")
    with pytest.raises(Unmet, match="'b' is still missing"):
        check_guess({"a": "no", "b": ...}, outcomes, is_word, "yes or no")
    with pytest.raises(Unmet, match="'b' should be yes or no, not 'perhaps'"):
        check_guess({"a": "no", "b": "perhaps"}, outcomes, is_word, "yes or no")
    with pytest.raises(Unmet, match="should be a dictionary"):
        check_guess(..., outcomes, is_word, "yes or no")


def test_a_notebook_shows_the_message_alone(capsys):
    shell = InteractiveShell.instance()
    shell.run_cell("from stir.course.judging import Unmet\nraise Unmet('x is missing.')")
    assert capsys.readouterr().out == "Not yet. x is missing.\n"
    done("1.2", "Well.")
    assert capsys.readouterr().out == "✓ Exercise 1.2. Well.\n"
