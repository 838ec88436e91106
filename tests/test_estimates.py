"""Means over pairs and their errors, on tables whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers.pair_tables import kinds_of, pairs
from scipy.stats import t as student
from scipy.stats import ttest_ind

from stir.study.estimates import Estimate, estimate, number
from stir.study.hypothesis import Hypothesis, Quantity
from stir.study.verdict import described


def drawn(generator, kinds, each):
    return {f"{kind}{number}": 0.1 * generator.standard_normal() for kind in kinds for number in range(each)}


STIR, CKA = Quantity("STIR", "stir", {}), Quantity("CKA", "cka", {})
GAP = Hypothesis("CKA is above STIR", CKA, STIR)


def test_difference_and_words():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0})
    gap = estimate(table, CKA, STIR)
    assert gap.value == pytest.approx(0.4) and gap.networks == 3 and gap.replicated
    assert gap.verdict == "supported"
    assert estimate(table, STIR, CKA).verdict == "contradicted"
    assert estimate(table, STIR, STIR).verdict == "not supported"
    assert estimate(table, Quantity("gap", "gap", {})).value == pytest.approx(0.4)
    assert str(Estimate(0.5, 0.1, 1e9, 2, True)) == "0.50 [0.30,\N{NO-BREAK SPACE}0.70]"


def test_what_is_beyond_the_pixels():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0}).assign(
        pixels=lambda rows: rows.reference.map({"a": 0.1, "b": 0.2, "c": 0.3})
    )
    of_a, of_c = (Quantity(name, "stir", {"reference": name}) for name in "ac")
    plain, beyond = (
        estimate(table, each.more, each.less)
        for each in (Hypothesis("", of_a, of_c), Hypothesis("", of_a, of_c).beyond_pixels())
    )
    assert (plain.value, beyond.value) == pytest.approx((0, 0.2))  # the same STIR, of which the pixels have less
    assert plain.error == pytest.approx(beyond.error)
    gap = Hypothesis(
        "narrows", Quantity("gap a", "gap", {"reference": "a"}), Quantity("gap c", "gap", {"reference": "c"})
    ).beyond_pixels()
    assert estimate(table, gap.more).value == pytest.approx(0.9 - 0.4) and estimate(
        table, gap.more, gap.less
    ).value == pytest.approx(-0.2)
    assert (gap.claim, gap.more.label) == ("narrows, beyond the pixels", "gap a, beyond the pixels")
    with pytest.raises(ValueError, match="value='cka' of 'CKA' has no pixel baseline; use one of stir, gap"):
        GAP.beyond_pixels()
    with pytest.raises(ValueError, match="value='gap beyond'"):
        gap.beyond_pixels()


def test_beyond_is_what_stir_has_over_the_pixels():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0}).assign(pixels=[0.3, 0.1, 0.2] * 3)
    table.loc[table.reference == table.target, "pixels"] = 99.0
    beyond, zero = Quantity("beyond", "beyond", {}), Quantity("CKA less itself", "cka", {}, minus={})
    result = estimate(table, beyond)
    assert result.value == pytest.approx(0.5 - 0.2)
    images = (0.02 / student.ppf(0.975, 39)) ** 2  # those of STIR alone; the networks differ in their pixels
    alone = estimate(table.assign(stir_low=table.stir, stir_high=table.stir), beyond)
    assert alone.error > 0 and result.error**2 == pytest.approx(alone.error**2 + images)
    assert estimate(table, beyond, zero).verdict == "supported"
    assert estimate(table.assign(pixels=0.9), beyond, zero).verdict == "contradicted"


def test_beyond_pixels_that_nobody_scored_nothing_is_known():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0}).drop(columns="pixels")
    for value in ("beyond", "gap beyond"):
        with pytest.raises(ValueError, match=f"value='{value}' needs the score of the pixels, which the table lacks"):
            estimate(table, Quantity("", value, {}))
    assert estimate(table, STIR).value == pytest.approx(0.5)


def test_a_network_with_itself_never_counts():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0})
    table.loc[table.reference == table.target, "stir"] = 99.0
    assert estimate(table, STIR).value == pytest.approx(0.5)


def test_two_networks_leave_images_only():
    result = estimate(pairs({"a": 0.0, "b": 0.1}), STIR)
    assert result.freedom == pytest.approx(39) and not result.replicated
    assert result.interval == pytest.approx((0.58, 0.62), abs=1e-3)  # the pairs' own: their mean is 0.6


def test_the_jackknife_is_the_text_books_on_plain_means():
    """Each network the target of one fixed reference: then the mean is over networks, and its error the usual one."""
    generator = np.random.default_rng(3)
    effects = {"m": 0.0, **drawn(generator, "a", 6)}
    table = described(
        pairs(effects, width=0.0),
        kinds_of({name: 0 for name in effects if name != "m"}) | {"m": {"kind": "m", "seed": 0}},
    )
    result = estimate(table, Quantity("one", "stir", {"reference": "m"}))
    values = table[(table.reference == "m") & (table.target != "m")].stir
    assert result.value == pytest.approx(values.mean())
    assert result.error == pytest.approx(values.sem())
    assert result.freedom == pytest.approx(5)


def test_two_samples_are_welchs():
    """The difference of two disjoint samples has Welch's error and degrees of freedom."""
    generator = np.random.default_rng(4)
    effects = {"m0": 0.0, **drawn(generator, "a", 4), **drawn(generator, "b", 7)}
    table = described(pairs(effects, width=0.0), kinds_of(effects))
    one, other = (Quantity(kind, "stir", {"reference": "m0", "target_kind": kind}) for kind in "ab")
    result = estimate(table, one, other)
    a, b = (table[(table.reference == "m0") & (table.target_kind == kind)].stir for kind in "ab")
    truth = ttest_ind(a, b, equal_var=False)
    assert result.freedom == pytest.approx(truth.df)
    assert result.interval == pytest.approx(tuple(truth.confidence_interval()))
    assert result.p_value == pytest.approx(truth.pvalue)


@pytest.mark.parametrize("each", [3, 4])
def test_intervals_cover_the_truth(each):
    """95% intervals of a mean, of a difference and of a difference of differences cover it in 90% of trials or more."""
    generator = np.random.default_rng(0)
    within = {kind: {"reference_kind": kind, "target_kind": kind} for kind in "ab"}
    across = {"reference_kind": "a", "target_kind": "b"}
    questions = {
        "mean": (Quantity("", "stir", within["a"]), None, 0.5),
        "kinds": (Quantity("", "stir", within["a"]), Quantity("", "stir", within["b"]), 0.0),
        "falls": (
            Quantity("", "stir", within["a"], minus=across),
            Quantity("", "stir", within["b"], minus=across),
            0.0,
        ),
    }
    covered = dict.fromkeys(questions, 0)
    trials = 150
    for _ in range(trials):
        effects = drawn(generator, "ab", each)
        table = described(pairs(effects, width=1e-9), kinds_of(effects))
        for name, (more, less, truth) in questions.items():
            low, high = estimate(table, more, less).interval
            covered[name] += low <= truth <= high
    assert all(count / trials >= 0.90 for count in covered.values()), covered


@pytest.mark.parametrize(
    ("value", "error"), [(0.5, 0.1), (-0.5, 0.1), (0.21, 0.1), (0.19, 0.1), (0.0, 0.1), (0.5, 0.0), (0.0, 0.0)]
)
def test_the_p_value_and_the_interval_agree(value, error):
    result = Estimate(value, error, 12.5, 4, True)
    assert (result.p_value < 0.05) == (result.verdict != "not supported")
    assert Estimate(value, error, 12.5, 2, False).p_value == 1


def test_images_and_networks_add_up():
    """The variance is the sum, and few networks widen the interval only as far as they matter."""
    effects = {"m": 0.0, **drawn(np.random.default_rng(5), "a", 3)}
    one = Quantity("one", "stir", {"reference": "m"})
    networks, images, both = (
        estimate(pairs(effects_, width=width), one)
        for effects_, width in ((effects, 0.0), (dict.fromkeys(effects, 0.0), 0.3), (effects, 0.3))
    )
    assert both.error == pytest.approx(math.hypot(networks.error, images.error))
    assert networks.freedom == pytest.approx(2) and images.freedom == pytest.approx(39)
    assert 2 < both.freedom < 41
    half_width = both.error * student.ppf(0.975, both.freedom) / (1 - both.value**2)  # on the z scale
    assert math.atanh(both.interval[1]) - math.atanh(both.value) == pytest.approx(half_width)


def test_a_unit_is_left_out_whole():
    """Versions of one chain are no replicates: as many copies of each network as one likes change nothing."""
    effects = drawn(np.random.default_rng(6), "a", 4)
    copied = {f"{name}{copy}": effect for name, effect in effects.items() for copy in "xyz"}
    about = {name: {"unit": name[:2]} for name in copied}
    table = described(pairs(copied, width=0.0), about)
    between = {"same_unit": False}
    one, many = estimate(pairs(effects, width=0.0), STIR), estimate(table, Quantity("", "stir", between))
    assert (many.value, many.error, many.freedom, many.networks) == pytest.approx(
        (one.value, one.error, one.freedom, 4)
    )


def test_the_interval_of_a_similarity_stays_inside_its_range():
    plain, similarity = (Estimate(0.96, 0.02, 2.0, 3, True, similarity=each) for each in (False, True))
    assert plain.interval[1] > 1
    low, high = similarity.interval
    assert 0.6 < low < 0.96 < high < 1
    # Where nothing is near, both scales say the same.
    assert Estimate(0.3, 1e-4, 9.0, 3, True, True).interval == pytest.approx(
        Estimate(0.3, 1e-4, 9.0, 3, True).interval, abs=1e-7
    )
    # Fisher's z of a correlation of n pairs of normal numbers has the error 1 / sqrt(n - 3).
    n, r = 50, 0.8
    z = np.arctanh(r) + student.ppf([0.025, 0.975], 1e9) / math.sqrt(n - 3)
    own = Estimate(r, (1 - r**2) / math.sqrt(n - 3), 1e9, n, True, similarity=True)
    assert own.interval == pytest.approx(tuple(np.tanh(z)))
    assert Estimate(1.0, 0.0, 2.0, 3, True, True).interval == (1, 1)
    assert Estimate(-0.9, 0.1, 2.0, 3, True, True).interval[0] > -1
    # A measure of a user's own may lie outside, where Fisher's scale has nothing.
    assert Estimate(-1.4, 0.1, 2.0, 3, True, True).interval == Estimate(-1.4, 0.1, 2.0, 3, True).interval


@pytest.mark.parametrize("value", [0.95, 0.7])
def test_the_interval_of_a_similarity_covers_the_truth(value):
    """Networks whose similarities to others scatter below 1, as they do in practice."""
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        names = [f"a{number}" for number in range(4)]
        effect = dict(zip(names, 0.3 * generator.standard_normal(4), strict=True))
        rows = pairs(dict.fromkeys(names, 0.0), width=0.0)
        z = np.arctanh(value) + np.array(
            [effect[a] + effect[b] for a, b in zip(rows.reference, rows.target, strict=True)]
        )
        rows = rows.assign(stir=np.tanh(z))
        rows[["stir_low", "stir_high"]] = rows[["stir", "stir"]].to_numpy()
        low, high = estimate(rows, STIR).interval
        draws = np.random.default_rng(1).standard_normal((2, 20_000))
        truth = np.tanh(np.arctanh(value) + 0.3 * draws.sum(0)).mean()
        hits.append(low < truth < high)
        assert high <= 1
    assert np.mean(hits) > 0.88


def test_only_single_means_are_similarities():
    table = pairs({"a": 0.0, "b": 0.05, "c": 0.1})
    assert estimate(table, STIR).similarity and estimate(table, CKA).similarity
    fall = Quantity("fall", "stir", {"reference": "a"}, {"reference": "b"})
    for quantity in (fall, Quantity("gap", "gap", {}), Quantity("beyond", "beyond", {})):
        assert not estimate(table, quantity).similarity
    assert not estimate(table, CKA, STIR).similarity


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"reference_los": "standard"}, "asks for 'reference_los', which the table lacks"),
        ({"reference": "z"}, "leaves no pair of different networks"),
    ],
)
def test_refuses_conditions_that_mean_nothing(where, message):
    with pytest.raises(ValueError, match=message):
        estimate(pairs({"a": 0.0, "b": 0.0}), Quantity("", "stir", where))


def test_refuses_a_pair_at_several_layers():
    table = pairs({"a": 0.0, "b": 0.0})
    with pytest.raises(ValueError, match="the same pair several times"):
        estimate(pd.concat([table, table.assign(reference_layer="stage1")]), STIR)
    with pytest.raises(ValueError, match="value='stirr' is unknown"):
        Quantity("", "stirr", {})


def test_an_end_next_to_zero_shows_its_side():
    assert number(-0.11, -0.21, -0.003) == "−0.11 [−0.21,\N{NO-BREAK SPACE}−0.003]"
    assert number(0.1, 0.004, 0.2) == "0.10 [0.004,\N{NO-BREAK SPACE}0.20]"
    assert number(0.0, -0.0001, 0.0) == "0.00 [0.00,\N{NO-BREAK SPACE}0.00]"
