"""STIR against closed forms, and its intervals against known truths."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from helpers.inversion import nearest_in_box
from helpers.small_networks import nested_networks, with_head
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import stir
from stir.computing.parallel import in_threads
from stir.inversion.solvers import DEFAULT_SOLVER
from stir.scoring.result import COLUMNS
from stir.similarity import linear_cka


@pytest.fixture(scope="module")
def nested():
    return nested_networks()


@pytest.mark.parametrize("solver", ["tethered", "nearest"])
def test_what_sees_less_shares_every_invariance(nested, solver):
    m1, m2, images = nested
    options = dict(images=images, seeds="uniform", solver=solver, steps=400, progress=False)
    assert stir.score(m2, given=m1, **options).value > 1 - 1e-3
    assert stir.score(m1, given=m2, **options).value < 0.9


def test_what_sees_less_shares_every_invariance_by_the_papers_solver():
    # Its steps of length 0.5 never settle, so what the networks see of an image has to be large beside them.
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(3, 96 * 96, generator=generator).sign()
    images = 0.5 + (2 * torch.rand(40, 3, generator=generator) - 1) @ patterns / 6
    less = torch.randn(2, 3, generator=generator) @ patterns
    options = dict(images=images.reshape(40, 1, 96, 96), layer="1", solver="paper", steps=300, progress=False)
    assert stir.score(with_head(less), given=with_head(patterns), **options).value > 1 - 1e-3
    assert stir.score(with_head(patterns), given=with_head(less), **options).value < 0.95


def test_the_other_direction_has_a_closed_form(nested):
    """Seeds near gray keep x' = z + A^+ A (x - z) inside the pixels' range, as if there were none."""
    m1, m2, _ = nested
    generator = torch.Generator().manual_seed(4)
    images, seeds = (0.5 + 0.04 * torch.randn(100, 1, 4, 4, generator=generator) for _ in range(2))
    seen = torch.linalg.pinv(m2[1].weight.data) @ m2[1].weight.data
    x, z = images.flatten(1), seeds.flatten(1)
    again = z + (x - z) @ seen.T
    assert again.min() > 0 and again.max() < 1
    truth = linear_cka(x @ m1[1].weight.data.T, again @ m1[1].weight.data.T)
    result = stir.score(m1, given=m2, images=images, layer="1", seeds=seeds, solver="nearest", progress=False)
    assert 0.1 < truth < 0.9
    assert result.value == pytest.approx(truth, abs=0.01)
    assert result.ceiling == pytest.approx(1, abs=1e-4)


def test_a_gpu_gives_the_same_score(gpu, nested):
    m1, m2, images = nested
    here, there = (
        stir.score(m1, given=m2, images=images, solver="nearest", device=device, progress=False)
        for device in ("cpu", gpu)
    )
    assert 0.1 < here.value < 0.9
    for name in ("value", "interval", "cka", "ceiling", "floor", "pixels", "untrained"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), abs=0.01)


@pytest.mark.parametrize("solver", ["nearest", DEFAULT_SOLVER])
def test_in_the_pixel_box_it_equals_scipys_solution(nested, solver):
    m1, m2, images = nested
    images = images[:25]
    seeds = torch.randn(images.shape, generator=torch.Generator().manual_seed(5))
    again = nearest_in_box(m2[1].weight.data, images, seeds.clamp(0, 1)).flatten(1)
    weight = m1[1].weight.data
    truth = linear_cka(images.flatten(1) @ weight.T, again @ weight.T)
    result = stir.score(m1, given=m2, images=images, layer="1", seeds=seeds, solver=solver, progress=False)
    assert 0.1 < truth < 0.9
    assert result.value == pytest.approx(truth, abs=0.01)


class Blur(nn.Module):
    """Mean over windows of `size`, which smooths all finer detail away."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return nn.functional.avg_pool2d(x, self.size, stride=1, padding=self.size // 2)


class ChannelMean(nn.Module):
    def forward(self, x):
        return x.mean(dim=1, keepdim=True)


def circular():
    torch.manual_seed(7)
    return nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular", bias=False)


@pytest.mark.parametrize(
    ("base", "extra"),
    [
        (nn.Identity(), ChannelMean()),
        (nn.Identity(), Blur(5)),
        (Blur(3), Blur(5)),
        (circular(), nn.AdaptiveAvgPool2d(1)),
    ],
    ids=["channel mean", "blur", "more blur", "translation"],
)
def test_built_in_invariances_are_ordered_as_they_must_be(base, extra):
    """Features of `extra` after `base` follow from those of `base`, not the other way round."""
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    sharp, invariant = nn.Sequential(base, nn.Flatten()), nn.Sequential(base, extra, nn.Flatten())
    options = dict(images=images, steps=300, solver="nearest", seeds="uniform", progress=False)
    toward_invariant = stir.score(invariant, given=sharp, layer="2", given_layer="1", **options)
    toward_sharp = stir.score(sharp, given=invariant, layer="1", given_layer="2", **options)
    assert toward_invariant.value > 0.98
    assert toward_sharp.interval[1] < toward_invariant.interval[0]


def test_a_rotation_of_the_reference_changes_nothing(nested):
    m1, m2, images = nested
    q = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1))).Q
    turned = with_head(q @ m1[1].weight.data)
    plain, rotated = (
        stir.score(m2, given=m, images=images, seeds="uniform", steps=300, progress=False) for m in (m1, turned)
    )
    assert rotated.value == pytest.approx(plain.value, abs=1e-3)
    assert rotated.ceiling == pytest.approx(plain.ceiling, abs=1e-3)


def test_result_carries_what_defines_it(nested):
    m1, m2, images = nested
    result = stir.score(m2, given=m1, images=images, draws=2, steps=50, seed=3, progress=False, tolerance=1.0)
    x = result.inversion.images
    with torch.no_grad():  # as many a caller has it
        values = [linear_cka(m2[1](images.flatten(1)), m2[1](x.flatten(1)))]
        x2 = stir.invert(m1, images, steps=50, seed=4, progress=False).images
        values.append(linear_cka(m2[1](images.flatten(1)), m2[1](x2.flatten(1))))
    assert result.value == pytest.approx(sum(values) / 2, abs=1e-6)
    frame = result.to_frame()
    assert tuple(frame.columns) == COLUMNS
    order = "floor pixels untrained distance_median distance_p90 converged moved towards n_images"
    assert order in " ".join(COLUMNS)
    both = [result.inversion, stir.invert(m1, images, steps=50, seed=4, progress=False)]
    for name in ("moved", "towards"):
        means = [getattr(draw, name).mean().item() for draw in both]
        assert frame[name].item() == pytest.approx(sum(means) / 2, abs=1e-5)
    pixels = [linear_cka(images.flatten(1), draw.images.flatten(1)) for draw in both]
    assert frame.pixels.item() == pytest.approx(sum(pixels) / 2, abs=1e-6)
    assert frame.n_draws.item() == 2
    assert frame.n_images.item() == len(images)
    assert frame.stir_low.item() <= frame.stir.item() <= frame.stir_high.item()
    assert "STIR(target | reference)" in repr(result)


@pytest.mark.parametrize("batch_size", [7, 60])
def test_images_may_come_in_any_batches(nested, batch_size):
    m1, m2, images = nested
    options = dict(given=m1, steps=30, progress=False, tolerance=1.0)
    whole = stir.score(m2, images=images, **options)
    loader = DataLoader(TensorDataset(images, torch.zeros(60)), batch_size=batch_size)
    batched = stir.score(m2, images=loader, batch_size=batch_size, **options)
    for name in ("value", "cka", "ceiling", "floor", "pixels", "untrained", "moved", "towards"):
        assert getattr(batched, name) == pytest.approx(getattr(whole, name), abs=1e-5)
    assert batched.interval == pytest.approx(whole.interval, abs=1e-5)


def test_networks_of_other_layers_and_widths(nested):
    m1, _, images = nested
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2))
    result = stir.score(
        conv, given=m1, images=images, layer="0", given_layer="1", steps=30, progress=False, tolerance=1.0
    )
    assert (result.reference_layer, result.target_layer) == ("1", "0")
    assert result.inversion.images.equal(stir.invert(m1, images, layer="1", steps=30, progress=False).images)


def test_the_floor_is_the_score_of_no_shared_invariance():
    """A target that sees nothing of what the reference sees scores at its floor, by each measure."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    m1, blind = with_head(basis[:8].contiguous()), with_head(basis[8:14].contiguous())
    images = torch.rand(150, 1, 8, 8, generator=generator)
    seeds = torch.rand(150, 1, 8, 8, generator=generator)
    for measure, floor in (("linear-cka", 6 / 156), ("unbiased-cka", 0.0)):
        with pytest.warns(UserWarning, match=r"at layer '1' is .*, which does not lie above floor 0\.\d+"):
            result = stir.score(
                blind, given=m1, images=images, layer="1", seeds=seeds, solver="nearest", measure=measure,
                progress=False,
            )  # fmt: skip
        assert result.floor == pytest.approx(floor, abs=0.02)
        assert result.value == pytest.approx(result.floor, abs=0.05)


def test_the_worst_case_is_below_the_average(nested):
    _, m2, images = nested
    generator = torch.Generator().manual_seed(9)
    other = with_head(torch.cat([m2[1].weight.data[:2], torch.randn(2, 16, generator=generator)]))
    options = dict(given=m2, images=images, layer="1", seeds="uniform", progress=False)
    average = stir.score(other, **options)
    worst = stir.score(other, worst_case=True, **options)
    assert worst.value < average.value
    assert worst.worst_case and not average.worst_case
    assert repr(worst).startswith("worst-case STIR(target | reference)")
    assert worst.ceiling > 0.95 and worst.converged == 1
    with pytest.raises(ValueError, match="worst_case=True has a solver of its own"):
        stir.score(other, worst_case=True, solver="paper", **options)


def test_a_measure_may_be_a_function(nested):
    m1, m2, images = nested

    def first_feature(x, y):
        return float(torch.corrcoef(torch.stack([x[:, 0], y[:, 0]]))[0, 1])

    result = stir.score(m2, given=m1, images=images, measure=first_feature, steps=50, progress=False, tolerance=1.0)
    assert result.measure == "first_feature" and -1 <= result.value <= 1


def test_a_measure_may_return_a_tensor(nested):
    m1, m2, images = nested

    def cosine(x, y):
        x, y = x - x.mean(0), y - y.mean(0)
        return (x.T @ y).norm() ** 2 / (x.T @ x).norm() / (y.T @ y).norm()

    def as_number(x, y):
        return float(cosine(x, y))

    options = dict(images=images, steps=50, progress=False, tolerance=1.0)
    table, again = (
        stir.pairwise({"a": m1, "b": m2}, measure=first, also=[further], **options)
        for first, further in ((cosine, as_number), (as_number, cosine))
    )
    numbers = [*COLUMNS[4:19]]
    assert all(table[name].dtype == float for name in numbers)
    pd.testing.assert_frame_equal(table[numbers].iloc[::2], again[numbers].iloc[::2])


def test_a_score_does_not_depend_on_the_default_precision(nested, in_float64):
    m1, m2, images = nested
    options = dict(given=m1, images=images, steps=20, progress=False, tolerance=1.0)
    wanted = stir.score(m2, **options).to_frame()
    with in_float64():
        pd.testing.assert_frame_equal(stir.score(m2, **options).to_frame(), wanted, check_exact=True)


def test_a_result_draws_itself(nested):
    m1, m2, images = nested
    result = stir.score(m2, given=m1, images=images, steps=50, progress=False, tolerance=1.0)
    assert f"pixels {result.pixels:.3f}, untrained {result.untrained:.3f}, floor" in repr(result)
    figure = result.plot()
    scale = figure.get_axes()[0]
    marks = {
        label.get_text(): line.get_xdata()
        for label, line in zip(scale.get_yticklabels(), scale.lines[1::2], strict=False)
    }
    assert {name: float(*value) for name, value in marks.items()} == {
        "STIR": result.value, "CKA": result.cka, "untrained": result.untrained, "pixels": result.pixels,
    }  # fmt: skip
    without = replace(result, untrained=float("nan")).plot()
    assert [label.get_text() for label in without.get_axes()[0].get_yticklabels()] == ["STIR", "CKA", "pixels"]
    plt.close(without)
    texts = [text.get_text() for axis in figure.get_axes() for text in axis.texts]
    low, high = result.interval
    assert f"{result.value:.2f} [{low:.2f}, {high:.2f}]" in texts and {"floor", "ceiling"} <= set(texts)
    plt.close(figure)


def test_five_images_are_enough(nested):
    m1, m2, images = nested
    result = stir.score(m2, given=m1, images=images[:5], steps=300, seeds="uniform", progress=False)
    low, high = result.interval
    assert low - 1e-9 <= result.value <= high + 1e-9 and low > 0.99


def test_a_network_scores_itself_at_the_ceiling(nested):
    m1, _, images = nested
    result = stir.score(m1, given=m1, images=images, progress=False, tolerance=1.0)
    assert result.value == pytest.approx(result.ceiling, abs=1e-9)
    assert result.cka == pytest.approx(1)


def test_pairwise_inverts_each_reference_once_a_layer(nested, monkeypatch):
    m1, m2, images = nested
    calls = []
    true = stir.invert
    monkeypatch.setattr("stir.scoring.draws.invert", lambda *a, **k: calls.append(k["layer"]) or true(*a, **k))
    table = stir.pairwise(
        {"a": m1, "b": m2, "c": m1}, images, layers=["1", None], steps=20, progress=False, tolerance=1.0
    )
    assert sorted(calls, key=str) == ["1"] * 3 + [None] * 3
    assert len(table) == 3 * 3 * 2
    assert set(COLUMNS) == set(table.columns)
    one = stir.score(m2, given=m1, images=images, layer="1", steps=20, progress=False, tolerance=1.0)
    row = table[(table.reference == "a") & (table.target == "b") & (table.reference_layer == "1")]
    assert row.stir.item() == pytest.approx(one.value, abs=1e-6)
    pd.testing.assert_frame_equal(
        table,
        stir.pairwise({"a": m1, "b": m2, "c": m1}, images, layers=["1", None], steps=20, progress=False, tolerance=1.0),
    )


def test_pairwise_side_by_side_gives_the_same_table(nested):
    m1, m2, images = nested
    models = {"a": m1, "b": m2, "c": m1, "d": m2}
    options = dict(steps=60, progress=False, tolerance=1.0, device="cpu")
    here = stir.pairwise(models, images, **options)
    with in_threads(2):
        there = stir.pairwise(models, images, **options)
    pd.testing.assert_frame_equal(here, there, check_exact=True)


def test_further_measures_have_rows_of_their_own(nested):
    m1, m2, images = nested
    options = dict(steps=100, progress=False, tolerance=1.0)
    table = stir.pairwise({"a": m1, "b": m2}, images, also=["procrustes", "rsa"], **options)
    assert list(table.measure[:3]) == ["linear-cka", "procrustes", "rsa"] and len(table) == 3 * 4
    first = table[table.measure == "linear-cka"].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, stir.pairwise({"a": m1, "b": m2}, images, **options))
    for measure in ("procrustes", "rsa"):
        rows = table[table.measure == measure].reset_index(drop=True)
        alone = stir.pairwise({"a": m1, "b": m2}, images, measure=measure, **options)
        unknown = ["stir_low", "stir_high", "cka_low", "cka_high", "floor"]
        pd.testing.assert_frame_equal(rows.drop(columns=unknown), alone.drop(columns=unknown))
        assert rows[unknown].isna().all().all()


def test_a_further_measure_that_refuses_is_left_out_and_named(nested):
    m1, m2, images = nested
    options = dict(steps=5, progress=False, tolerance=1.0)
    told = r"^mean-cca is left out for 3 of 4 pairs: of STIR\(a \| a\) at layer .* correlates perfectly with anything"
    with pytest.warns(UserWarning, match=told) as warned:
        table = stir.pairwise({"a": m1, "b": m2}, images[:8], also=["mean-cca"], **options)
    assert len([each for each in warned if "left out" in str(each.message)]) == 1
    assert table.measure.value_counts().to_dict() == {"linear-cka": 4, "mean-cca": 1}
    with pytest.raises(ValueError, match="measure='cca' is unknown"):
        stir.pairwise({"a": m1}, images, also=["cca"], **options)
    with pytest.raises(ValueError, match="must hold no measure twice, nor 'rsa'"):
        stir.pairwise({"a": m1}, images, measure="rsa", also=["rsa"], **options)


def test_the_worst_case_of_all_pairs_is_that_of_each(nested):
    m1, m2, images = nested
    options = dict(steps=200, progress=False, tolerance=0.03, seeds="uniform")
    table = stir.pairwise({"a": m1, "b": m2}, images, worst_case=True, **options)
    assert list(zip(table.reference, table.target, strict=True)) == [("a", "b"), ("b", "a")]
    one = stir.score(m1, given=m2, images=images, worst_case=True, **options)
    assert table.stir[1] == pytest.approx(one.value, abs=1e-6)
    with pytest.raises(ValueError, match="models holds one network"):
        stir.pairwise({"a": m1}, images, worst_case=True)


def test_layers_by_network(nested):
    """As of a ResNet against a transformer, which have no layer's name in common."""
    m1, m2, images = nested
    options = dict(steps=20, progress=False, tolerance=1.0, device="cpu")
    mapping = {"a": "1", "b": "2", "c": None}
    models = {"a": m1, "b": m2, "c": nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 2)).eval()}
    table = stir.pairwise(models, images, layers=mapping, **options)
    named = {name: layer or "penultimate" for name, layer in mapping.items()}
    assert list(table.reference_layer) == [named[name] for name in table.reference]
    assert list(table.target_layer) == [named[name] for name in table.target]
    for row in table.itertuples():
        layers = dict(layer=mapping[row.target], given_layer=mapping[row.reference] or "penultimate")
        one = stir.score(models[row.target], given=models[row.reference], images=images, **layers, **options)
        assert (one.value, one.ceiling, one.pixels) == pytest.approx((row.stir, row.ceiling, row.pixels), abs=1e-6)
        assert one.untrained == pytest.approx(row.untrained, abs=1e-6)
    both = stir.pairwise(models, images, layers=[None, mapping], **options)
    pd.testing.assert_frame_equal(both[9:].reset_index(drop=True), table)
    with in_threads(2):
        pd.testing.assert_frame_equal(stir.pairwise(models, images, layers=[None, mapping], **options), both)
    options |= dict(tolerance=0.03, steps=200, seeds="uniform")
    worst = stir.pairwise({"a": m1, "b": m2}, images, layers={"a": "1", "b": "2"}, worst_case=True, **options)
    one = stir.score(m2, given=m1, images=images, layer="2", given_layer="1", worst_case=True, **options)
    assert worst.stir[0] == pytest.approx(one.value, abs=1e-6)
    for wrong in ({"a": "1"}, mapping | {"d": "1"}):
        with pytest.raises(ValueError, match=r"layers names .* it must name each of the networks, \['a', 'b', 'c'\]"):
            stir.pairwise(models, images, layers=wrong, **options)
    with pytest.raises(ValueError, match="network 'b': layer='9' does not exist"):
        stir.pairwise(models, images, layers=[None, mapping | {"b": "9"}], **options)


def test_the_reference_may_have_a_layer_of_its_own(nested):
    m1, m2, images = nested
    models, options = {"a": m1, "b": m2}, dict(seeds="uniform", steps=5, device="cpu", progress=False)
    table = stir.pairwise(models, images, layers=["1"], given_layer="0", **options)
    assert set(table.reference_layer) == {"0"} and set(table.target_layer) == {"1"}
    for row in table.to_dict("records"):
        pair = dict(target=models[row["target"]], given=models[row["reference"]])
        result = stir.score(**pair, images=images, layer="1", given_layer="0", **options)
        assert (row["stir"], row["cka"], row["ceiling"]) == pytest.approx((result.value, result.cka, result.ceiling))
    assert table.cka.nunique() == 2  # of what each target's layer is to the pixels, not one for a pair and its mirror


def test_the_layers_that_were_taken_are_named(nested):
    m1, m2, images = nested
    options = dict(given=m1, images=images, steps=3, progress=False, tolerance=1.0, seeds="uniform")
    with pytest.warns(UserWarning, match="ended with ceiling"):
        plain = stir.score(m2, **options)
    assert (plain.reference_taken, plain.target_taken) == ("penultimate (2)", "penultimate (2)")
    assert repr(plain).endswith("(60 images), at penultimate (2)")
    headless = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.warns(UserWarning, match="ended with ceiling"):
        other = stir.score(headless, given_layer="1", **options)
    assert repr(other).endswith("at penultimate (the output of Sequential) | 1")
    assert (other.reference_layer, other.target_layer) == ("1", "penultimate")
    assert tuple(plain.to_frame().columns) == COLUMNS


@pytest.mark.parametrize(("argument", "one"), [("layers", "10"), ("also", "rsa")])
def test_a_text_is_no_list_of_its_letters(nested, argument, one):
    m1, _, images = nested
    with pytest.raises(ValueError, match=rf"^{argument}='{one}' must be a list, such as \['{one}'\]"):
        stir.pairwise({"a": m1}, images, **{argument: one}, progress=False)


class Detached(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        with torch.no_grad():
            return self.body(x)


def test_networks_without_a_gradient_are_refused_where_one_is_needed(nested, monkeypatch):
    m1, m2, images = nested
    probe = nn.Sequential(Detached(m2), nn.Linear(2, 2))
    options = dict(images=images, steps=20, progress=False, tolerance=1.0)
    assert stir.score(probe, given=m1, **options).value <= 1  # as a target it is seen through X' alone
    monkeypatch.setattr("stir.inversion.descent._run", lambda *_: pytest.fail("work was done"))
    message = "layer='penultimate': no gradient passes through Sequential to the images"
    with pytest.raises(ValueError, match=f"network 'reference': {message}"):
        stir.score(m1, given=probe, **options)
    with pytest.raises(ValueError, match=f"network 'target': {message}"):
        stir.score(probe, given=m1, worst_case=True, **options)
    for worst_case in (False, True):
        with pytest.raises(ValueError, match=f"network 'b': {message}"):
            stir.pairwise({"a": m1, "b": probe}, worst_case=worst_case, **options)


def test_an_error_names_the_network(nested):
    m1, _, images = nested

    class Asserts(nn.Module):
        def forward(self, x):
            raise AssertionError("wrong height")

    message = r"images of shape \[N, 1, 4, 4\] do not pass through Asserts: wrong height"
    with pytest.raises(ValueError, match=f"network 'b': {message}"):
        stir.pairwise({"a": m1, "b": Asserts()}, images, progress=False)
    with pytest.raises(ValueError, match=f"network 'target': {message}"):
        stir.score(Asserts(), given=m1, images=images, progress=False)
    zero = with_head(torch.zeros(3, 16))
    with pytest.raises(ValueError, match="network 'b': layer='penultimate': (no gradient passes|60 image)"):
        stir.pairwise({"a": m1, "b": zero}, images, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(4, 1, 4, 4)}, "images holds 4"),
        ({"images": torch.rand(8, 1, 4, 4) * 2}, r"images must lie in \[0, 1\]"),
        ({"measure": "cosine"}, "measure='cosine' is unknown.*linear-cka"),
        ({"draws": 0}, "draws=0"),
        ({"draws": 2, "seeds": "white"}, "same at every draw"),
        ({"layer": "9"}, "layer='9' does not exist"),
        ({"layer": ""}, "^layer='' names no submodule; give a dotted name"),
        ({"given_layer": ""}, "^given_layer='' names no submodule.* or None for the input of the last linear layer"),
        ({"solver": "sgd"}, "solver='sgd' is unknown.*paper"),
        ({"seeds": "noise"}, "seeds='noise' is unknown.*gaussian"),
    ],
)
def test_errors_come_before_any_step(nested, change, message, monkeypatch):
    m1, m2, images = nested
    monkeypatch.setattr("stir.inversion.descent._run", lambda *_: pytest.fail("work was done"))
    with pytest.raises(ValueError, match=message):
        stir.score(m2, given=m1, **{"images": images, "progress": False, **change})


def test_a_measure_that_fails_names_the_layer(nested):
    m1, _, images = nested
    constant = with_head(torch.zeros(3, 16))
    options = dict(given=m1, images=images, layer="1", steps=2, progress=False)
    with pytest.raises(ValueError, match="^network 'target': layer='1': x is constant"):
        stir.score(constant, **options)
    with pytest.raises(ValueError, match="target 'target' at layer='1': x is constant"):
        stir.score(constant, **options, measure=lambda x, y: linear_cka(x, y))


@pytest.mark.parametrize(("n", "rank"), [(9, 8), (10, 8)])
def test_features_that_the_measure_refuses_are_found_before_any_step(nested, n, rank, monkeypatch):
    """X whole, or less one image as the interval needs it, has no more dimensions than m1 has features, 8."""
    m1, m2, images = nested
    monkeypatch.setattr("stir.inversion.descent._run", lambda *_: pytest.fail("work was done"))
    options = dict(measure="mean-cca", layers=["1"], steps=2, progress=False)
    message = f"^network 'a': layer='1': x has rank {rank} over 9 images, .*; 11 images are enough for the 8 features"
    with pytest.raises(ValueError, match=message):
        stir.pairwise({"b": m2, "a": m1}, images[:n], **options)
    with pytest.raises(ValueError, match=message.replace("'a'", "'reference'")):
        stir.score(m2, given=m1, images=images[:n], measure="mean-cca", layer="1", progress=False)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="inverting"):
        assert len(stir.pairwise({"b": m2, "a": m1}, images[:11], **options)) == 4
