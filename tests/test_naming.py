"""Losses, measures, layers and solvers have one name in all of the book, and numbers one form."""

import math

import numpy as np
import pandas as pd
import pytest

from stir.study.naming import (
    decimal,
    decimals,
    layer_name,
    loss_name,
    measure_name,
    otherwise_name,
    radius,
    seconds,
)


def test_a_loss_is_named_with_its_norm():
    assert loss_name("adversarial-l2") == "adversarial (L2)" and loss_name("standard") == "standard"


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("penultimate", "the last layer"),
        ("stage1", "the first stage"),
        ("stage4", "the fourth stage"),
        ("stage10", "the layer “stage10”"),
        ("1.layer3", "the layer “1.layer3”"),
    ],
)
def test_a_layer_has_a_name_that_reads_in_a_sentence(layer, name):
    assert layer_name(layer) == name


@pytest.mark.parametrize(
    ("otherwise", "words"),
    [
        ("", ""),
        ("not by the solver paper", "not so by the authors’ algorithm"),
        (
            "contradicted by the solvers nearest and tethered",
            "contradicted by the solver “nearest” and the solver “tethered”",
        ),
        (
            "not by the solver nearest, unchecked by the solver paper (47% converged in 300 steps)",
            "not so by the solver “nearest”, "
            "could not be checked by the authors’ algorithm (47% converged in 300 steps)",
        ),
        (
            "unsettled (not supported), unchecked by the solver paper (47% converged in 300 steps)",
            "“not supported” by all solvers that converged, on the fewer images of the check, "
            "could not be checked by the authors’ algorithm (47% converged in 300 steps)",
        ),
    ],
)
def test_other_solvers_are_named_as_readers_know_them(otherwise, words):
    assert otherwise_name(otherwise) == words


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({}, "CKA"),
        ({"measure": "linear-cka"}, "CKA"),
        ({"measure": "unbiased-cka"}, "unbiased CKA"),
        ({"measure": "rsa"}, "RSA"),
    ],
)
def test_plain_similarity_is_named_by_the_measure_of_the_table(columns, name):
    assert measure_name(pd.DataFrame({"stir": [0.5]}).assign(**columns)) == name


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (0.126, "0.13", "+0.13"),
        (-0.02, "−0.02", "−0.02"),
        (-0.004, "0.00", "0.00"),
        (0.004, "0.00", "0.00"),
        (-10.0, "−10.00", "−10.00"),
        (-math.inf, "−inf", "−inf"),
        (math.nan, "nan", "nan"),
    ],
)
def test_a_number_has_a_minus_sign_and_zero_has_none(value, plain, signed):
    assert decimal(value) == plain and decimal(value, signed=True) == signed


def test_numbers_have_the_places_asked_for():
    assert decimal(-1 / 3, 3) == "−0.333" and decimal(-0.0004, 3) == "0.000"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.03137, "8/255"),
        (8 / 255, "8/255"),
        (0.01569, "4/255"),
        (0.0314, "0.0314"),  # three digits
        (0.03138, "0.03138"),
        (0.2, "0.2"),  # 51/255
        (1.0, "1.0"),
        (2, "2"),
        ("none", "none"),
    ],
)
def test_a_radius_that_is_a_number_of_shades_is_told_in_them(value, written):
    assert radius(value) == written


def test_no_training_takes_no_time():
    assert [seconds(each) for each in (0.3, 4.26, 9.6, 902.4)] == ["0.3", "4.3", "10", "902"]


def test_a_styled_table_may_hold_words_beside_numbers():
    told = pd.DataFrame({"conclusion": ["not supported", -0.04, np.float32(-0.04)]}).style.format(decimals()).to_html()
    assert ">not supported<" in told and told.count(">−0.04<") == 2
