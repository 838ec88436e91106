"""Inversion against linear networks, whose inverses are known, and an independent loop."""

from itertools import pairwise

import pytest
import torch
from helpers.small_networks import linear
from torch import nn

from stir.inversion.controversial import controversial
from stir.inversion.invert import Inversion, invert
from stir.inversion.representation import features
from stir.inversion.seeds import SEEDS, draw_seeds
from stir.inversion.solvers import SOLVERS
from stir.networks.architectures import build_model

QUIET = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def images(digits):
    return digits.test.images[:6]


@pytest.fixture(scope="module")
def network():
    return build_model("vgg11", 10, width=4, channels=1, seed=3).eval()


@pytest.mark.parametrize(
    ("solver", "steps", "reachable"), [("tethered", 200, 0.01), ("nearest", 300, 0.01), ("paper", 100, 0.15)]
)
def test_a_linear_network_is_inverted(images, solver, steps, reachable):
    model = linear()
    found = invert(model, images, layer="1", solver=solver, steps=steps, **QUIET)
    wanted = images.flatten(1) @ model[1].weight.T
    reached = found.images.flatten(1) @ model[1].weight.T
    distance = (reached - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert distance.max() < reachable
    assert torch.allclose(distance.detach(), found.distance, atol=1e-5)
    # The network sees 32 of 256 directions: what it represents alike need not look alike.
    assert ((found.images - images).flatten(1).norm(dim=1) > 0.3 * images.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize(
    ("architecture", "layer"), [("vgg11", "stage1"), ("resnet18", "stage1"), ("resnet10", "stage2")]
)
def test_a_representation_of_few_dimensions_is_met(images, architecture, layer):
    model = build_model(architecture, 10, width=4, channels=1, seed=3).eval()
    found = invert(model, images, layer=layer, **QUIET)
    assert found.distance.max() < 0.01


@pytest.mark.parametrize("architecture", ["vgg11", "vgg16"])
def test_a_short_descent_is_not_led_astray(images, architecture):
    model = build_model(architecture, 10, width=4, channels=1, seed=1).eval()
    assert invert(model, images, layer="stage1", steps=30, **QUIET).distance.max() < 0.02


def test_an_injective_network_gives_the_image_back():
    torch.manual_seed(0)
    images = torch.rand(3, 1, 4, 4) * 0.8 + 0.1
    found = invert(linear(16, 16), images, layer="1", steps=300, **QUIET)
    assert torch.allclose(found.images, images, atol=0.02)


def plain_descent(model, images, seeds, steps):
    """Nanda et al.'s algorithm, one image at a time, on penultimate features; their networks clamp their input."""

    def represent(x):
        x = torch.where(x < 0, torch.zeros(()), torch.where(x > 1, torch.ones(()), x))
        for name, child in model.named_children():
            if name == "classifier":
                return x
            x = child(x)

    best_images, best_distances = [], []
    for image, seed in zip(images, seeds, strict=True):
        target = represent(image[None]).detach()
        x, best, smallest = seed[None].clone(), None, float("inf")
        for _ in range(steps):
            x.requires_grad_(True)
            loss = torch.sqrt(((represent(x) - target) ** 2).sum()) / torch.sqrt((target**2).sum())
            (gradient,) = torch.autograd.grad(loss, x)
            x = torch.clip(x.detach() - 0.5 * gradient / (torch.sqrt((gradient**2).sum()) + 1e-10), 0, 1)
            with torch.no_grad():
                distance = ((represent(x) - target).norm() / target.norm()).item()
            if distance < smallest:
                best, smallest = x, distance
        best_images.append(best)
        best_distances.append(smallest)
    return torch.cat(best_images), torch.tensor(best_distances)


@pytest.mark.parametrize(
    ("draw", "steps", "bound"), [(torch.rand, 8, 1e-5), (torch.randn, 8, 5e-5), (torch.randn, 30, 5e-5)]
)
def test_the_papers_solver_is_the_published_loop(network, images, draw, steps, bound):
    # Gaussian seeds lie mostly outside [0, 1]: the first gradient is that at the clamped seed, the first step goes from
    # the seed as it was drawn.
    seeds = draw(images[:3].shape, generator=torch.Generator().manual_seed(5))
    found = invert(network, images[:3], solver="paper", steps=steps, seeds=seeds, **QUIET)
    expected, distance = plain_descent(network, images[:3], seeds, steps)
    assert (found.images - expected).abs().max() < bound
    assert (found.distance - distance).abs().max() < 1e-5


def test_the_papers_steps_have_length_one_half():
    # Far inside [0, 1] with one step, nothing is clamped and the whole step shows.
    images, seeds = torch.full((2, 1, 16, 16), 0.7), torch.full((2, 1, 16, 16), 0.5)
    found = invert(linear(), images, layer="1", solver="paper", steps=1, seeds=seeds, **QUIET)
    assert torch.allclose((found.images - seeds).flatten(1).norm(dim=1), torch.tensor(0.5), atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_batch_size_and_repetition_change_nothing(images, solver):
    # A smooth network: where a max-pool ties, the batch's rounding decides which way the gradient goes.
    model = linear()
    runs = [
        invert(model, images, layer="1", solver=solver, steps=20, batch_size=size, **QUIET) for size in (6, 6, 1, 4)
    ]
    assert torch.equal(runs[0].images, runs[1].images)
    for run in runs[2:]:
        # Small systems of nearly dependent iterates make more of rounding than plain steps do.
        assert (run.images - runs[0].images).abs().max() < (2e-3 if solver == "tethered" else 1e-4)
        assert (run.distance - runs[0].distance).abs().max() < (1e-3 if solver == "tethered" else 1e-4)
    other = invert(model, images, layer="1", solver=solver, steps=20, seed=1, **QUIET)
    assert not torch.allclose(other.images, runs[0].images, atol=1e-2)


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_reported_is_true(network, images, solver, kind):
    found = invert(network, images, solver=solver, steps=5, seeds=kind, tolerance=0.5, **QUIET)
    wanted, reached = features(network, images, device="cpu"), features(network, found.images, device="cpu")
    distance = (reached - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert torch.allclose(found.distance, distance, atol=1e-5)
    assert torch.equal(found.converged, found.distance <= 0.5)
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert torch.equal(found.seeds, draw_seeds(images, kind))
    assert found.steps == 5 and found.tolerance == 0.5
    assert found.images.shape == images.shape and not found.images.requires_grad


def test_converged_images_and_others_are_told_apart(network, images):
    found = invert(network, images, steps=20, **QUIET)
    middle = found.distance.median().item()
    again = invert(network, images, steps=20, tolerance=middle, **QUIET)
    assert again.converged.any() and not again.converged.all()
    assert torch.equal(again.converged, found.distance <= middle)
    assert "6 images" in repr(again) and "after 20 steps" in repr(again)


def test_the_best_iterate_is_kept():
    # The paper's constant step overshoots for ever: more steps may only help.
    torch.manual_seed(1)
    images = torch.rand(4, 1, 4, 4)
    runs = [invert(linear(8, 16), images, layer="1", solver="paper", steps=n, **QUIET).distance for n in (5, 6, 7, 20)]
    for fewer, more in pairwise(runs):
        assert (more <= fewer + 1e-6).all()


def test_papers_pixels_stay_in_range_even_if_the_seed_is_the_best():
    images = torch.full((1, 1, 1, 2), 0.5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    nn.init.ones_(model[1].weight)
    seeds = torch.tensor([2.0, -1.0]).reshape(1, 1, 1, 2)  # represented exactly as the image, but no image
    found = invert(model, images, layer="1", solver="paper", steps=3, seeds=seeds, **QUIET)
    assert found.images.min() >= 0 and found.images.max() <= 1


def test_the_fast_path_finds_what_float32_finds(images, monkeypatch):
    monkeypatch.setattr("stir.inversion.representation.fast_bf16", lambda device: True)
    model = build_model("resnet10", 10, width=8, channels=1, seed=3)
    fast, exact = (invert(model, images, precision=precision, **QUIET) for precision in ("auto", "float32"))
    assert not torch.equal(fast.images, exact.images)
    assert fast.distance.median() < exact.distance.median() + 0.02
    wanted, reached = features(model, images, device="cpu"), features(model, fast.images, device="cpu")
    assert torch.allclose(
        fast.distance, (reached - wanted).norm(dim=1) / wanted.norm(dim=1), atol=1e-5
    )  # said in float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_distance_is_that_of_the_image_returned(network, images, dtype):
    images = images.to(dtype)
    found = invert(network, images, steps=5, **QUIET)
    assert found.images.dtype == found.distance.dtype == torch.float32
    wanted, reached = features(network, images, device="cpu"), features(network, found.images, device="cpu")
    assert torch.allclose(found.distance, (reached - wanted).norm(dim=1) / wanted.norm(dim=1), atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_seeds_that_are_there_already(images, solver):
    images = images * 0.8 + 0.1
    found = invert(linear(), images, layer="1", solver=solver, steps=5, seeds=images, **QUIET)
    assert found.distance.max() < 1e-5 and torch.allclose(found.images, images, atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_seeds_from_which_no_gradient_leads_away(solver):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU())
    network[1].weight.data.fill_(1.0)
    network[1].bias.data.fill_(-8.0)
    seeds = torch.full((2, 1, 4, 4), 0.25)
    found = invert(network, torch.ones(2, 1, 4, 4), layer="2", solver=solver, steps=5, seeds=seeds, **QUIET)
    assert torch.allclose(found.images, seeds) and torch.allclose(found.distance, torch.ones(2))


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_nonlinear_network_of_few_dimensions(images, dim):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.Tanh(), nn.Linear(32, dim))
    assert invert(network, images, layer="3", **QUIET).distance.max() < 5e-3


def test_default_steps_and_dtype(images):
    model = linear()
    found = invert(model, images[:1].double(), layer="1", **QUIET)
    assert found.steps == 200 and found.images.dtype == found.distance.dtype == torch.float64
    assert invert(model, images[:1], layer="1", solver="paper", **QUIET).steps == 1000


def test_the_network_is_left_alone(network, images):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    invert(network, images, steps=3, **QUIET)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    network.eval()


def test_a_global_no_grad_does_not_stop_the_descent(images):
    with torch.no_grad():
        found = invert(linear(), images, layer="1", steps=60, **QUIET)
    assert found.distance.max() < 0.1


def test_a_gpu_is_told_to_compute_the_same_each_time(images, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    seen = set()

    class Told(nn.Flatten):
        def forward(self, x):
            seen.add((torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark))
            return super().forward(x)

    model = nn.Sequential(Told(), nn.Linear(256, 8))
    invert(model, images, layer="1", steps=2, **QUIET)
    controversial(model, model, images, layer="1", steps=2, **QUIET)
    assert seen == {(True, False)}
    assert torch.backends.cudnn.benchmark and not torch.backends.cudnn.deterministic  # as they were


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_gpu_finds_images_as_near(gpu, images, solver):
    """Rounding turns a descent aside, a long one far: images may differ, but not how near they come."""
    here, there = (
        invert(linear(), images, layer="1", solver=solver, precision="float32", device=device, progress=False)
        for device in ("cpu", gpu)
    )
    assert there.images.device == images.device
    assert (there.distance.median() - here.distance.median()).abs() < 1e-3
    assert (there.converged == here.converged).float().mean() >= 0.9
    assert there.moved.mean() == pytest.approx(here.moved.mean().item(), rel=0.01)
    assert there.towards.mean() == pytest.approx(here.towards.mean().item(), rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_gpu_comes_as_near_and_twice_to_the_same(gpu, images, precision):
    model = build_model("resnet10", 10, width=8, channels=1, seed=3)
    exact = invert(model, images, precision="float32", **QUIET)
    first, again = (invert(model, images, precision=precision, device=gpu, progress=False) for _ in range(2))
    assert first.distance.median() < exact.distance.median() + 0.02
    wanted, reached = features(model, images, device="cpu"), features(model, first.images, device="cpu")
    assert (
        (reached - wanted).norm(dim=1) / wanted.norm(dim=1) - first.distance
    ).abs().max() < 0.01  # as the CPU sees them, without the GPU's short floats
    assert torch.equal(first.images, again.images)


# Errors


class Probe(nn.Module):
    """A linear probe on a frozen encoder."""

    def __init__(self, encode):
        super().__init__()
        self.encode, self.head = encode, nn.Linear(256, 4)

    def forward(self, x):
        return self.head(self.encode(x))


@pytest.mark.parametrize(
    "encode",
    [
        lambda x: x.flatten(1).detach(),
        lambda x: torch.inference_mode()(nn.Flatten())(x).clone(),
        lambda x: x.flatten(1).argsort(1).float(),
        lambda x: x.flatten(1).round(),
        lambda x: torch.from_numpy(x.detach().numpy()).flatten(1),
    ],
)
def test_a_network_without_a_gradient_is_refused_before_the_descent(images, encode, monkeypatch):
    model, linear_one = Probe(encode), linear()
    monkeypatch.setattr("stir.inversion.descent._run", lambda *_: pytest.fail("work was done"))
    message = "layer='penultimate': no gradient passes through Probe to the images: .* must be differentiable"
    with pytest.raises(ValueError, match=message):
        invert(model, images, **QUIET)
    for pair in ((model, linear_one), (linear_one, model)):
        with pytest.raises(ValueError, match=message):
            controversial(*pair, images, **QUIET)


def test_normalized_features_have_a_gradient(images):
    class Unit(nn.Module):
        def forward(self, x):
            return nn.functional.normalize(x, dim=1)

    assert invert(nn.Sequential(linear(), Unit()), images, layer="1", **QUIET).distance.max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"solver": "lbfgs"}, "solver='lbfgs' is unknown; use one of tethered, nearest, paper"),
        ({"seeds": "cats"}, "seeds='cats' is unknown; use a tensor or one of gaussian, .*mixed"),
        (
            {"seeds": torch.zeros(6, 1, 4, 4)},
            r"seeds has shape \(6, 1, 4, 4\); it must be that of images, \(6, 1, 16, 16\)",
        ),
        ({"precision": "half"}, "precision='half' is unknown; use one of auto, float32"),
        ({"steps": 0}, "steps=0 must be a whole number, at least 1"),
        ({"steps": 10.0}, "steps=10.0 must be a whole number, at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number, at least 1, or None"),
        ({"batch_size": 8.0}, "batch_size=8.0 must be a whole number, at least 1, or None"),
        ({"tolerance": 0}, "tolerance=0 must be above 0"),
        ({"tolerance": float("nan")}, "tolerance=nan must be above 0"),
        ({"layer": "stage9"}, "layer='stage9' does not exist in Sequential; did you mean 'stage"),
        ({"pool": "max"}, "pool='max' is unknown; use one of mean, flatten"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
    ],
)
def test_wrong_arguments(unchecked, network, images, arguments, text):
    with pytest.raises(ValueError, match=text):
        invert(network, images, **{**QUIET, "steps": 1, **arguments})


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (torch.full((2, 1, 16, 16), torch.nan), "images holds NaN or infinite pixels"),
        (torch.full((2, 1, 16, 16), torch.inf), "images holds NaN or infinite pixels"),
        (torch.zeros(2, 1, 16, 16, dtype=torch.uint8), r"images are torch.uint8; .*images.float\(\) / 255"),
        (torch.full((2, 1, 16, 16), 1.5), r"images must lie in \[0, 1\] but lie in \[1.5, 1.5\]; .*stir.Normalize"),
        (torch.full((2, 1, 16, 16), -0.5), r"images must lie in \[0, 1\] but lie in \[-0.5, -0.5\]"),
        (torch.zeros(0, 1, 16, 16), r"images has shape \(0, 1, 16, 16\): there is nothing in it"),
        (
            torch.zeros(1, 16, 16),
            r"images must be a tensor .N, C, H, W., or a torch Dataset .* not shape \(1, 16, 16\)",
        ),
        ([[0.0]], "not a list"),
        (torch.zeros(2, 3, 16, 16), r"images of shape \[N, 3, 16, 16\] do not pass through"),
    ],
)
def test_wrong_images(unchecked, network, images, text):
    with pytest.raises(ValueError, match=text):
        invert(network, images, steps=1, **QUIET)


@pytest.mark.parametrize("solver", SOLVERS)
def test_inversion_works_in_inference_mode(images, solver):
    model = linear()
    expected = invert(model, images, layer="1", steps=5, solver=solver, **QUIET)
    with torch.inference_mode():
        found = invert(model, images * 1, layer="1", steps=5, solver=solver, **QUIET)
        again = controversial(model, model, images * 1, layer="1", steps=5, **QUIET)
    assert torch.equal(found.images, expected.images) and again.images.shape == images.shape


# Controversial images


@pytest.mark.parametrize(
    "architecture", ["resnet50-noskip", "wide-resnet16-4", "vgg13", "densenet121", "vit", "torchvision:squeezenet1_1"]
)
@pytest.mark.parametrize("layer", ["early", None])
def test_every_kind_of_network_can_be_inverted(architecture, layer):
    """What is found is represented alike by the network as it stands, without the shortcuts of inversion."""
    model = build_model(architecture, 5, width=4, channels=1).eval()
    if architecture.endswith("squeezenet1_1"):  # its last layer is no linear one
        layer = {"early": "network.features.3", None: "network.features"}[layer]
    elif layer:
        layer = "stage1"
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    found = invert(model, images, layer=layer, steps=30, device="cpu", progress=False)
    began, ended = (_distance(model, x, images, layer) for x in (found.seeds, found.images))
    assert torch.allclose(ended, found.distance, rtol=0.05, atol=1e-3)
    assert (ended < 0.5 * began).all()


def _distance(model, x, images, layer):
    taken = []
    module = model.get_submodule(layer or "flatten")
    with module.register_forward_hook(lambda _, __, output: taken.append(output)), torch.no_grad():
        model(x), model(images)
    there, wanted = (each.flatten(2).mean(dim=2) if each.ndim == 4 else each for each in taken)
    return (there - wanted).norm(dim=1) / wanted.norm(dim=1)


def test_how_far_an_inversion_moved_and_how_near_it_came_to_the_image():
    x, seeds = torch.full((3, 1, 2, 2), 0.5), torch.full((3, 1, 2, 2), -4.0)  # which count as 0
    seeds[2] = 0.5
    again = torch.stack([torch.zeros(1, 2, 2), x[1], x[2]])  # stayed at its seed, ended at x, had nowhere to go
    found = Inversion(again, seeds, torch.zeros(3), torch.ones(3, dtype=torch.bool), "paper", 1, 0.1, x)
    assert found.moved.tolist() == [0.0, 1.0, 0.0]
    assert found.towards[:2].tolist() == [1.0, 0.0] and found.towards[2].isnan()


def test_an_inversion_knows_what_was_inverted_and_by_which_solver():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2))
    images = torch.rand(6, 1, 4, 4)
    inversions = {solver: invert(model, images, solver=solver, steps=2, progress=False) for solver in SOLVERS}
    inversions["adam-logit"] = controversial(model, model, images, steps=2, progress=False)
    for solver, inversion in inversions.items():
        assert torch.equal(inversion.originals, images) and inversion.solver == solver
    assert invert(model, images, steps=2, progress=False).solver == "tethered"
