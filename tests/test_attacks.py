"""PGD: its ball, its success, and torchattacks' version of it."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stir.training.accuracy import accuracy
from stir.training.attacks import PGD, image_norms
from stir.training.loop import train
from stir.training.recipe import Recipe


@pytest.fixture(scope="module")
def network(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, 10))
    train(model, digits.train, Recipe(epochs=5), device="cpu", progress=False)
    return model


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def offsets(norm, offset):
    return offset.flatten(1).norm(dim=1) if norm == "l2" else offset.flatten(1).abs().amax(dim=1)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_start_does_not_depend_on_the_default_precision(norm, in_float64):
    attack = PGD(norm, 0.5, 1)
    wanted = attack.start((4, 1, 3, 3), generator())
    with in_float64():
        start = attack.start((4, 1, 3, 3), generator())
    assert torch.equal(start, wanted) and start.dtype == torch.float32


@settings(max_examples=20)
@given(
    norm=st.sampled_from(["l2", "linf"]),
    epsilon=st.floats(1e-3, 5),
    steps=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_the_ball_and_the_range_hold(norm, epsilon, steps, seed):
    images = torch.rand(4, 1, 4, 4, generator=generator(seed)).round(decimals=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    labels = torch.tensor([0, 1, 2, 0])
    adversarial = PGD(norm, epsilon, steps)(model, images, labels, generator(seed))
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert (offsets(norm, adversarial - images) <= epsilon * (1 + 1e-5) + 1e-6).all()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 1.0), ("linf", 0.1)])
def test_the_loss_goes_up_and_more_steps_or_radius_help(network, digits, norm, epsilon):
    images, labels = digits.test.images[:100], digits.test.labels[:100]

    def loss(attack):
        return F.cross_entropy(network(attack(network, images, labels, generator())), labels).item()

    clean = F.cross_entropy(network(images), labels).item()
    assert loss(PGD(norm, epsilon, 10)) > clean + 0.5
    assert loss(PGD(norm, epsilon, 10)) > loss(PGD(norm, epsilon / 4, 10)) > clean
    assert not digits.test.images.requires_grad


@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 0.7), ("linf", 0.06)])
def test_as_strong_as_torchattacks(network, digits, norm, epsilon):
    images, labels = digits.test.images[:200], digits.test.labels[:200]
    steps = 10
    ours = accuracy(network, type(digits.test)(images, labels), attack=PGD(norm, epsilon, steps), device="cpu")
    torch.manual_seed(0)
    attack = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    theirs = attack(network, eps=epsilon, alpha=2.5 * epsilon / steps, steps=steps)(images, labels)
    theirs = (network(theirs).argmax(dim=1) == labels).float().mean().item()
    clean = accuracy(network, type(digits.test)(images, labels), device="cpu")
    assert theirs < clean - 0.1  # the attack does something
    assert abs(ours - theirs) <= 0.03


def test_the_start_follows_the_generator_alone(network, digits):
    images, labels = digits.test.images[:5], digits.test.labels[:5]
    attack = PGD("linf", 0.1, 1)
    state = torch.get_rng_state()
    first, again, other = (attack(network, images, labels, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_gradient_of_zero_is_no_trouble():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(flat.get_parameter("1.weight"))
    for norm in ("l2", "linf"):
        adversarial = PGD(norm, 0.5, 3)(flat, torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]), generator())
        assert adversarial.isfinite().all()


def test_image_norms():
    images = torch.rand(3, 2, 4, 5)
    expected = torch.stack([(image**2).sum().sqrt() for image in images])
    assert torch.allclose(image_norms(images), expected[:, None, None, None])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("l1", 1.0, 3), "norm='l1' is unknown; use one of l2, linf"),
        (("l2", 0.0, 3), "epsilon=0.0 must be above 0"),
        (("l2", float("nan"), 3), "epsilon=nan must be above 0"),
        (("l2", 1.0, 0), "steps=0 must be at least 1"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ValueError, match=text):
        PGD(*arguments)


class Returns(nn.Module):
    """A network whose logits come in another form."""

    def __init__(self, body, kind):
        super().__init__()
        self.body, self.kind = body, kind

    def forward(self, x):
        return self.kind(self.body(x))


FORMS = {
    "tuple": lambda x: (x, x[:, :2]),
    "dict": lambda x: {"features": x[:, :2], "logits": x},
    "object": lambda x: SimpleNamespace(logits=x),
}


@pytest.mark.parametrize("form", FORMS)
def test_logits_in_what_a_network_returns(network, digits, form):
    split, attack = type(digits.test)(digits.test.images[:50], digits.test.labels[:50]), PGD("l2", 0.7, 3)
    other = Returns(network, FORMS[form])
    for options in ({}, {"attack": attack}):
        assert accuracy(other, split, device="cpu", **options) == accuracy(network, split, device="cpu", **options)
    found, expected = (attack(model, split.images, split.labels, generator()) for model in (other, network))
    assert torch.equal(found, expected)


def test_networks_without_logits_or_without_a_gradient(network, digits):
    split, attack = type(digits.test)(digits.test.images[:5], digits.test.labels[:5]), PGD("l2", 0.7, 3)
    with pytest.raises(ValueError, match=r"must be logits \[N, K\], .* not a list; wrap it"):
        accuracy(Returns(network, lambda x: []), split, device="cpu")
    detached = Returns(network, torch.Tensor.detach)
    assert accuracy(detached, split, device="cpu") == accuracy(network, split, device="cpu")
    with pytest.raises(ValueError, match="model passes no gradient from its logits to the images"):
        accuracy(detached, split, attack=attack, device="cpu")
    with pytest.raises(ValueError, match=r"images of shape \[N, 1, 16, 16\] do not pass through Returns: no"):
        accuracy(Returns(network, lambda x: (_ for _ in ()).throw(AssertionError("no"))), split, device="cpu")


def test_an_attack_in_float32_on_networks_that_refuse_bfloat16(network, digits, monkeypatch):
    monkeypatch.setattr("stir.training.accuracy.fast_bf16", lambda device: True)
    split, attack = type(digits.test)(digits.test.images[:50], digits.test.labels[:50]), PGD("l2", 0.7, 3)
    log = []
    with network[1].register_forward_hook(lambda _, __, output: log.append(output.detach().cpu().numpy())):
        logged = accuracy(network, split, attack=attack, device="cpu")
    monkeypatch.setattr("stir.training.accuracy.fast_bf16", lambda device: False)
    assert logged == accuracy(network, split, attack=attack, device="cpu")


@pytest.mark.parametrize("attack", [None, PGD("l2", 0.7, 3)])
def test_views_of_feature_maps_and_data_parallel(digits, attack):
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 5, stride=3), nn.Linear(64, 10)

        def forward(self, x):
            return self.fc(self.conv(x).view(len(x), -1))

    torch.manual_seed(0)
    split, views = type(digits.test)(digits.test.images[:50], digits.test.labels[:50]), Views()
    usual = nn.Sequential(views.conv, nn.Flatten(), views.fc)
    wanted = accuracy(usual, split, attack=attack, device="cpu")
    for model in (views, nn.DataParallel(views)):
        assert accuracy(model, split, attack=attack, device="cpu") == pytest.approx(wanted, abs=0.03)
