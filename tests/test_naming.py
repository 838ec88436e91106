"""Losses and measures have one name in all of the book."""

import pandas as pd
import pytest

from stir.study.naming import loss_name, measure_name


def test_a_loss_is_named_with_its_norm():
    assert loss_name("adversarial-l2") == "adversarial (L2)" and loss_name("standard") == "standard"


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({}, "CKA"),
        ({"measure": "linear-cka"}, "CKA"),
        ({"measure": "unbiased-cka"}, "unbiased-CKA"),
        ({"measure": "rsa"}, "rsa"),
    ],
)
def test_plain_similarity_is_named_by_the_measure_of_the_table(columns, name):
    assert measure_name(pd.DataFrame({"stir": [0.5]}).assign(**columns)) == name
