"""Features against manual forward passes, and what a pass leaves behind: nothing."""

import copy
from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import torchvision
from helpers.networks import lively
from torch import nn

from stir.computing.memory import BATCH_SIZE
from stir.inversion.invert import invert
from stir.inversion.representation import Representation, features
from stir.inversion.solvers import Tethered
from stir.networks.architectures import build_model

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=7).eval()


def manual_maps(net, x):
    """The four stages' feature maps of a torchvision ResNet."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    maps = {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = maps[name] = getattr(net, name)(x)
    return maps


def test_torchvision_resnet(resnet, images):
    with torch.no_grad():
        maps = manual_maps(resnet, images)
        penultimate = resnet.avgpool(maps["layer4"]).flatten(1)
    assert torch.allclose(features(resnet, images, **CPU), penultimate, atol=1e-5)
    assert torch.allclose(features(resnet, images, layer="penultimate", **CPU), penultimate, atol=1e-5)
    pooled = features(resnet, images, layer="layer2", **CPU)
    assert pooled.shape == (5, 128)
    assert torch.allclose(pooled, maps["layer2"].mean(dim=(2, 3)), atol=1e-5)
    flat = features(resnet, images, layer="layer3", pool="flatten", **CPU)
    assert torch.allclose(flat, maps["layer3"].flatten(1), atol=1e-5)
    nested = features(resnet, images, layer="layer1.0.conv1", **CPU)
    with torch.no_grad():
        stem = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))
        assert torch.allclose(nested, resnet.layer1[0].conv1(stem).mean(dim=(2, 3)), atol=1e-5)


def test_batches_change_nothing(resnet, images):
    assert torch.allclose(features(resnet, images, batch_size=2, **CPU), features(resnet, images, **CPU), atol=1e-5)


def test_the_batch_is_as_large_as_memory_allows(monkeypatch):
    # The gradient needs of a [1, 16, 16] image: itself for the convolution, 1 KiB, and four such maps for the ReLU.
    seen = []

    class Seen(nn.Identity):
        def forward(self, x):
            seen.append(len(x))
            return x

    torch.manual_seed(0)
    model = nn.Sequential(Seen(), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 8)).eval()
    images = torch.rand(7, 1, 16, 16)
    with Representation(model, images, "4", **CPU) as represent:
        assert represent.batch_size(1_000) == BATCH_SIZE
    at_once = features(model, images, layer="4", **CPU)
    for kibibytes, size in ((15, 3), (14, 2), (1, 1)):
        monkeypatch.setattr("stir.computing.memory.MEMORY", kibibytes * 2**10)
        with Representation(model, images, "4", **CPU) as represent:
            assert represent.batch_size(7) == size
            assert represent.batch_size(7, beside=5 * 2**10) == max(kibibytes // 10, 1)
        seen.clear()
        assert torch.allclose(features(model, images, layer="4", **CPU), at_once, atol=1e-6)
        count = -(-7 // size)
        assert max(seen[-count:]) == size and sum(seen[-count:]) == 7
        seen.clear()
        invert(model, images, layer="4", solver="paper", steps=2, progress=False, **CPU)
        assert max(seen) == max(size, 2)  # two are tried where memory is short, to see what an image takes
    assert torch.equal(features(model, images, layer="4", batch_size=7, **CPU), at_once)


def test_memory_kept_once_is_not_counted_for_each_image(monkeypatch):
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3, padding=1)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 4096),
    ).eval()
    with Representation(model, torch.rand(1, 1, 16, 16), "3", **CPU) as represent:
        assert represent._memory(1) > 2**24  # the linear layer's weights
        monkeypatch.setattr("stir.computing.memory.MEMORY", 15 * 2**10)
        assert represent.memory_per_image == 5 * 2**10


def test_what_a_solver_remembers_counts(monkeypatch):
    seen = []

    class Seen(nn.Identity):
        def forward(self, x):
            seen.append(len(x))
            return x

    model = nn.Sequential(Seen(), nn.Conv2d(1, 4, 3, padding=1)).eval()
    images = torch.rand(9, 1, 16, 16)
    # An image keeps 1 KiB, and of eight steps three times their 256 pixels and twice the 1024 dimensions: 8 * 11 KiB.
    assert Tethered.memory_per_image(8, 256, 1024) == 88 * 2**10
    for kibibytes, size in ((90 * 4, 4), (89 * 3 - 1, 2)):
        monkeypatch.setattr("stir.computing.memory.MEMORY", kibibytes * 2**10)
        seen.clear()
        invert(model, images, layer="1", pool="flatten", steps=8, progress=False, **CPU)
        assert max(seen) == size


def test_wrong_batch_sizes(resnet, images):
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size={size} must be a whole number, at least 1, or None"):
            features(resnet, images, batch_size=size, **CPU)


def test_a_network_may_write_into_its_input():
    class Shifts(nn.Module):
        def forward(self, x):
            return x.sub_(0.5).flatten(1)

    model = nn.Sequential(Shifts(), nn.Linear(16, 4))
    images = torch.rand(3, 1, 4, 4)
    before = images.clone()
    assert torch.allclose(features(model, images, layer="0", **CPU), before.flatten(1) - 0.5)
    assert invert(model, images, layer="1", steps=30, progress=False, **CPU).converged.all()
    assert torch.equal(images, before)


def test_features_in_inference_mode(resnet, images):
    wanted = features(resnet, images, **CPU)
    with torch.inference_mode():
        assert torch.allclose(features(copy.deepcopy(resnet), images.clone(), **CPU), wanted, atol=1e-5)


def test_densenet_and_vgg(images):
    torch.manual_seed(0)
    dense = torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5).eval()
    with torch.no_grad():
        expected = torch.relu(dense.features(images)).mean(dim=(2, 3))
    assert torch.allclose(features(dense, images, **CPU), expected, atol=1e-5)
    stages = torchvision.models.vgg.make_layers([4, "M", 8, "M"])
    vgg = torchvision.models.VGG(stages, num_classes=5)
    vgg.classifier = nn.Sequential(nn.Linear(8 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5))
    vgg.eval()
    with torch.no_grad():
        hidden = vgg.classifier[:3](vgg.avgpool(vgg.features(images)).flatten(1))
    vgg.train()  # dropout must be off all the same
    assert torch.allclose(features(vgg, images, **CPU), hidden, atol=1e-5)


def test_vision_transformer(images):
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(vit.heads.head.weight)
    with torch.no_grad():
        tokens = vit._process_input(images)
        tokens = vit.encoder(torch.cat([vit.class_token.expand(5, -1, -1), tokens], dim=1))
    assert torch.allclose(features(vit, images, **CPU), tokens[:, 0], atol=1e-5)
    assert torch.allclose(features(vit, images, layer="encoder", **CPU), tokens.mean(dim=1), atol=1e-5)
    assert torch.allclose(features(vit, images, layer="encoder", pool="flatten", **CPU), tokens.flatten(1), atol=1e-5)
    assert torch.allclose(features(vit, images, layer="encoder", pool="cls", **CPU), tokens[:, 0], atol=1e-5)


ZOO = {
    # name: (size of the images, a layer inside, its number of features)
    "resnet50": (64, "layer3", 1024),
    "vgg11_bn": (64, "features.10", 256),
    "densenet121": (64, "features.denseblock2", 512),
    "mobilenet_v3_small": (64, "features.6", 40),
    "convnext_tiny": (64, "features.5", 384),
    "vit_b_32": (224, "encoder.layers.encoder_layer_3", 768),
    "swin_t": (64, "features.3", 192),
}


@pytest.mark.parametrize("name", ZOO)
def test_torchvisions_own_networks(name):
    size, layer, width = ZOO[name]
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).train()
    images = torch.rand(2, 3, size, size)
    seen = {}
    inner = dict(model.named_modules())[layer].register_forward_hook(lambda _, __, output: seen.update(inner=output))
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    outer = last.register_forward_pre_hook(lambda _, inputs: seen.update(last=inputs[0]))
    with torch.no_grad():
        model.eval()(images)
    inner.remove()
    outer.remove()
    model.train()
    before = snapshot(model)
    assert torch.allclose(features(model, images, **CPU), seen["last"], atol=1e-4)
    found = features(model, images, layer=layer, **CPU)
    # The axis that stands for the features is the one that is not averaged over.
    axis = list(seen["inner"].shape).index(width)
    assert found.shape == (2, width)
    assert torch.allclose(
        found, seen["inner"].mean(dim=[a for a in range(1, seen["inner"].ndim) if a != axis]), atol=1e-4
    )
    assert_as_before(model, before)


@pytest.mark.parametrize("shape", [(3, 12, 20), (3, 16, 16)])
def test_maps_with_their_channels_last(shape):
    class Last(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    images = torch.rand(4, *shape)
    model = nn.Sequential(nn.Identity(), Last())
    assert torch.allclose(features(model, images, layer="1", **CPU), images.mean(dim=(2, 3)))
    assert torch.allclose(features(model, images, layer="0", **CPU), images.mean(dim=(2, 3)))


def test_two_layers_of_one_network_at_a_time(resnet, images):
    with (
        Representation(resnet, images, "layer1", **CPU) as first,
        Representation(resnet, images, "layer3", **CPU) as second,
    ):
        assert torch.equal(first(images), features(resnet, images, layer="layer1", **CPU))
        assert second(images).shape == (5, 256) and first(images).shape == (5, 64)


class Skipping(nn.Module):
    """A convolution's output goes into a norm, and past it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_var.fill_(9)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


def test_folding_is_taken_back_where_it_would_change_the_features(images):
    torch.manual_seed(0)
    model = nn.Sequential(Skipping()).eval()
    with torch.no_grad():
        expected = model(images).mean(dim=(2, 3))
    assert torch.allclose(features(model, images, layer="0", **CPU), expected, atol=1e-5)
    assert torch.allclose(
        features(model, images, layer="0.conv", **CPU), model[0].conv(images).mean(dim=(2, 3)), atol=1e-5
    )


def test_norms_are_passed_by_inside_the_passes_alone(images):
    model = build_model("resnet10", 4, width=4, channels=3).eval()
    model.stem[0][1].running_var.fill_(4)
    ran = []
    model.stem[0][1].register_forward_hook(lambda module, inputs, output: ran.append(torch.equal(inputs[0], output)))
    with Representation(model, images, **CPU) as represent, torch.no_grad():
        represent(images)
        assert ran.pop()  # folded away
        model(images)
        assert not ran.pop()  # the caller's own pass


def test_bfloat16_is_used_where_it_is_safe(images, monkeypatch):
    monkeypatch.setattr("stir.inversion.representation.fast_bf16", lambda device: True)
    model = build_model("resnet10", 4, width=4, channels=3)
    with Representation(model, images, **CPU) as represent, torch.no_grad():
        assert represent.half_works
        half, full = represent(images, half=True), represent(images)
        assert half.dtype == torch.bfloat16 and full.dtype == torch.float32
        assert 0 < (half - full).norm() < 0.05 * full.norm()

    class Overflowing(nn.Module):
        def forward(self, x):
            return (x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x) + 1000 - 1000

    with Representation(nn.Sequential(Overflowing(), model), images, **CPU) as represent:
        assert not represent.half_works
    monkeypatch.setattr("stir.inversion.representation.fast_bf16", lambda device: False)
    with Representation(model, images, **CPU) as represent:
        assert not represent.half_works


class Odd(nn.Module):
    """Control flow, a block that runs twice, and a linear layer defined first but run last."""

    def __init__(self, after=None):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 2)
        self.unused = nn.Linear(3, 3)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.extra = nn.Linear(4, 4)
        self.after = after

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2 if x.shape[-1] > 8 else 1):
            x = torch.relu(self.block(x))
        x = self.extra(x.mean(dim=(2, 3)))
        return self.head(x if self.after is None else self.after(x))


def test_control_flow_and_a_module_that_runs_twice(images):
    odd = Odd()
    with torch.no_grad():
        first = odd.block(odd.stem(images))
        second = odd.block(torch.relu(first))
        last = odd.extra(torch.relu(second).mean(dim=(2, 3)))
        small = odd.block(odd.stem(images[..., :8, :8]))
    for number, wanted in enumerate((first, second), 1):
        found = features(odd, images, layer=f"block#{number}", **CPU)
        assert torch.allclose(found, wanted.mean(dim=(2, 3)), atol=1e-5)
    assert torch.allclose(features(odd, images[..., :8, :8], layer="block", **CPU), small.mean(dim=(2, 3)), atol=1e-5)
    assert torch.allclose(features(odd, images, **CPU), last, atol=1e-5)  # the input of `head`
    raises(
        "layer='block' runs 2 times in a forward pass of Odd; choose one of its runs: 'block#1', 'block#2'",
        odd, images, layer="block",
    )  # fmt: skip
    raises("layer='block#3' does not exist: 'block' runs 2 time", odd, images, layer="block#3")
    raises("layer='block#0' does not exist: 'block' runs 2 time", odd, images, layer="block#0")
    raises("layer='blocks#1' does not exist in Odd; did you mean 'block'", odd, images, layer="blocks#1")


class Bomb(nn.Module):
    """Counts its calls; from the `fuse`-th on it raises."""

    def __init__(self, fuse):
        super().__init__()
        self.fuse, self.calls = fuse, 0

    def forward(self, x):
        self.calls += 1
        if self.calls > self.fuse:
            raise RuntimeError("boom")
        return x


def test_the_pass_stops_at_the_layer(images):
    # One full pass finds the layer, after four that compare layouts; no later one may go beyond it.
    bomb = Bomb(fuse=5)
    with Representation(Odd(after=bomb), images, "extra", **CPU) as represent:
        for _ in range(3):
            represent(images)
    assert bomb.calls == 5


def test_a_networks_own_handler_does_not_swallow_the_stop(images):
    class Careful(Odd):
        def forward(self, x):
            try:
                return super().forward(x)
            except Exception:
                return torch.zeros(len(x), 2)

    assert torch.equal(features(Careful(), images, layer="extra", **CPU), features(Odd(), images, layer="extra", **CPU))


def snapshot(model):
    return SimpleNamespace(
        training=[module.training for module in model.modules()],
        grad=[p.requires_grad for p in model.parameters()],
        identity=[id(t) for t in [*model.parameters(), *model.buffers()]],
        state={name: tensor.clone() for name, tensor in model.state_dict().items()},
        layout=[(t.dtype, t.device, t.stride()) for t in [*model.parameters(), *model.buffers()]],
        hooks=[(len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m)) for m in model.modules()],
    )


def assert_as_before(model, before):
    now = snapshot(model)
    assert now.training == before.training
    assert now.grad == before.grad
    assert now.identity == before.identity
    assert now.hooks == before.hooks
    assert now.layout == before.layout
    assert all(torch.equal(before.state[name], tensor) for name, tensor in now.state.items())
    assert all(p.grad is None for p in model.parameters())


def untidy_network(**options):
    """Mixed train/eval flags, a frozen parameter, a hook of the user's own, channels last."""
    model = build_model("resnet10", 4, width=4, channels=3, **options)
    model.to(memory_format=torch.channels_last)
    model.train()
    model.stage2.eval()
    model.stage3[0].body[0][1].eval()
    next(model.stem.parameters()).requires_grad_(False)
    model.stage1.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("layer", [None, "stage2", "stem.0"])
def test_the_network_is_left_as_it_was(images, layer):
    model = untidy_network()
    before = snapshot(model)
    with Representation(model, images, layer, **CPU) as represent:
        pixels = images.clone().requires_grad_(True)
        represent(pixels).sum().backward()
        assert pixels.grad.abs().sum() > 0  # gradients reach the images ...
    assert_as_before(model, before)  # ... and no parameter


def test_training_mode_is_no_part_of_the_features(images):
    model = untidy_network()
    assert torch.allclose(features(model, images, **CPU), features(copy.deepcopy(model).eval(), images, **CPU))


@pytest.mark.parametrize("fuse", [0, 1, 2])
def test_the_network_is_left_as_it_was_after_an_error(images, fuse):
    model = untidy_network()
    model.stage2.add_module("bomb", Bomb(fuse))
    model.stage2.eval()
    before = snapshot(model)
    # The first pass (to find the layer), the trial pass, and the caller's own
    with pytest.raises((RuntimeError, ValueError), match="boom"):
        features(model, images, **CPU)
    assert_as_before(model, before)


def test_the_network_is_left_as_it_was_after_an_interrupt(images):
    model = untidy_network()
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt), Representation(model, images, **CPU):
        raise KeyboardInterrupt
    assert_as_before(model, before)


def test_half_precision_networks_are_served(images):
    model = Odd()
    wanted = features(model, images, **CPU)
    got = features(copy.deepcopy(model).to(torch.bfloat16), images, **CPU)
    assert got.dtype == torch.bfloat16 and torch.allclose(got.float(), wanted, atol=0.05)
    assert torch.allclose(features(copy.deepcopy(model).double(), images, **CPU).float(), wanted, atol=1e-5)


def test_layers_that_return_tuples_dicts_and_more(images):
    """Their first tensor is taken."""

    class Returns(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.kind = kind

        def forward(self, x):
            return self.kind(x)

    wanted = images.mean(dim=(2, 3))
    for kind in (
        lambda x: (x, 2 * x),
        lambda x: [None, (x, 2 * x)],
        lambda x: OrderedDict(hidden=x, other=2 * x),
        lambda x: {"a": "text", "b": {"c": x}},
        Output,
    ):
        assert torch.allclose(features(nn.Sequential(Returns(kind)), images, layer="0", **CPU), wanted)


@dataclass
class Output:
    hidden: torch.Tensor
    other: object = None


def test_a_view_of_a_feature_map_needs_pytorchs_own_layout(images):
    """The most common style of small network, which channels last does not suit."""

    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.BatchNorm2d(4), nn.ReLU())
            self.fc = nn.Linear(400, 5)

        def forward(self, x):
            x = self.body(x)
            return self.fc(x.view(x.size(0), -1))

    model = lively(Views())
    with torch.no_grad():
        wanted = model.body(images).flatten(1)
    assert torch.allclose(features(model, images, **CPU), wanted, atol=1e-5)
    assert torch.allclose(features(model, images, layer="body", **CPU), wanted.reshape(5, 4, -1).mean(2), atol=1e-5)
    found = invert(model, images, steps=3, progress=False, **CPU)
    reached = model.body(found.images).flatten(1)
    assert torch.allclose(found.distance, (reached - wanted).norm(dim=1) / wanted.norm(dim=1), atol=1e-5)


def test_data_parallel_networks(images, resnet):
    spread = nn.DataParallel(resnet)
    for layer in (None, "layer2", "layer1.0.conv1"):
        assert torch.equal(features(spread, images, layer=layer, **CPU), features(resnet, images, layer=layer, **CPU))
    assert torch.equal(
        features(spread, images, layer="module.layer2", **CPU), features(resnet, images, layer="layer2", **CPU)
    )


def test_bfloat16_is_left_out_where_a_network_or_a_hook_refuses_it(images, monkeypatch):
    monkeypatch.setattr("stir.inversion.representation.fast_bf16", lambda device: True)
    logs = build_model("resnet10", 4, width=4, channels=3)
    log = []
    logs.stage1.register_forward_hook(lambda _, __, output: log.append(output.detach().cpu().numpy()))

    def demand(_, __, output):
        if output.dtype != torch.float32:
            raise AssertionError("float32 alone")

    demands = build_model("resnet10", 4, width=4, channels=3)
    demands.stage1.register_forward_hook(demand)
    for model in (logs, demands):
        with Representation(model, images, **CPU) as represent:
            assert not represent.half_works
        invert(model, images, steps=2, progress=False, **CPU)


# Errors


class Empty(nn.Module):
    def forward(self, x):
        return []


class Batchless(nn.Module):
    def forward(self, x):
        return x.mean(dim=0, keepdim=False)


def raises(text, model, images, **arguments):
    before = snapshot(model)
    with pytest.raises(ValueError, match=text):
        features(model, images, **{**CPU, **arguments})
    assert_as_before(model, before)


def test_unknown_layers_and_near_names(images):
    model = untidy_network()
    raises("layer='stage22' does not exist in Sequential; did you mean .*'stage2'", model, images, layer="stage22")
    raises("layer='' names no submodule; give a dotted name, such as 'stage3', or None", model, images, layer="")
    raises(
        "layer='xyzzy' does not exist in Sequential; use one of penultimate, normalize", model, images, layer="xyzzy"
    )


def test_layers_that_cannot_be_used(images):
    raises("layer='unused' is never reached by the forward pass of Odd", Odd(), images, layer="unused")
    raises(
        "input of the last linear layer, but Sequential has none, .* name a layer, such as '0'",
        nn.Sequential(nn.Conv2d(3, 2, 1)),
        images,
    )
    raises("layer='0' gives a list for 1 image", nn.Sequential(Empty()), images, layer="0")
    raises("layer='0' gives a tensor of shape .* not one row an image", nn.Sequential(Batchless()), images, layer="0")
    raises(
        r"pool='cls' takes the first of tokens \[N, T, D\], but layer='stem' gives a tensor of shape \(1, 4, 32, 32\)",
        Odd(), images, layer="stem", pool="cls",
    )  # fmt: skip
    raises("pool='sum' is unknown; use one of mean, flatten, cls", Odd(), images, pool="sum")


def test_images_that_do_not_fit(images):
    raises(
        r"images of shape \[N, 1, 32, 32\] do not pass through Sequential: .*channels", untidy_network(), images[:, :1]
    )


def test_an_assertion_of_the_networks_own(images):
    vit = torchvision.models.VisionTransformer(64, 16, 1, 2, 32, 64)
    raises(r"images of shape \[N, 3, 32, 32\] do not pass through VisionTransformer: Wrong image height", vit, images)

    class Asserts(nn.Module):
        def forward(self, x):
            raise AssertionError

    raises("do not pass through Sequential: AssertionError", nn.Sequential(Asserts()), images, layer="0")


def test_networks_that_are_no_modules_or_hold_compiled_ones(images, resnet, unchecked):
    traced = torch.jit.trace(Odd(), images)
    raises("TorchScript module, whose layers cannot be reached; pass the network that it was made", traced, images)
    raises("Sequential is or holds a TorchScript module", nn.Sequential(traced), images)
    program = torch.export.export(Odd(), (images,))
    with pytest.raises(ValueError, match="the network is a ExportedProgram; it must be a torch.nn.Module"):
        features(program, images, **CPU)
    with pytest.raises(ValueError, match="an exported program, which has no layers"):
        features(program.module(), images, **CPU)


def test_a_layer_that_runs_only_sometimes(images):
    class Sometimes(Odd):
        def forward(self, x):
            if x.mean() > 0.9:
                return self.unused(x.mean(dim=(2, 3)))
            return self.extra(self.stem(x).mean(dim=(2, 3)))

    model = Sometimes()
    with Representation(model, images, "extra", **CPU) as represent:
        assert represent(images).shape == (5, 4)
        with pytest.raises(ValueError, match="did not reach it this time"):
            represent(torch.ones(2, 3, 32, 32))


def test_a_pooled_map_has_its_channels_first_whatever_its_proportions():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(256, 5))
    images = torch.rand(6, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network[:2](images).mean(dim=(2, 3))
    torch.testing.assert_close(features(network, images, layer="1", device="cpu"), expected)


def test_statistics_of_a_batch_are_warned_of():
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), nn.Linear(144, 5))
    with pytest.warns(UserWarning, match="'1' normalizes by each batch's own statistics") as caught:
        features(network.eval(), torch.rand(6, 3, 8, 8), device="cpu")
    assert len(caught) == 1


class Forgetful(nn.Module):
    """Drops features in eval mode too, as `F.dropout` does without `training`."""

    def __init__(self, drop=0.5, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.drop = nn.Linear(192, 64), nn.Linear(64, 5), drop
        self.to(dtype)

    def forward(self, x):
        return self.last(nn.functional.dropout(self.first(x.flatten(1)).relu(), self.drop))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_that_depend_on_chance_are_warned_of(dtype):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="Forgetful gives the same image different features at each pass, .* random"):
        features(Forgetful(dtype=dtype), images, device="cpu")
    named = Representation(Forgetful(dtype=dtype), images, device="cpu", name="b")
    with pytest.warns(UserWarning, match="network 'b' gives the same image different features") as caught, named:
        pass
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_is_not_warned_of(dtype):
    class Rounds(nn.Module):
        """As an operation of which a GPU does not fix the order."""

        def forward(self, x):
            return x * (1 + torch.finfo(x.dtype).eps * torch.randint(-2, 3, x.shape))

    network = Forgetful(0, dtype)
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    features(nn.Sequential(nn.Flatten(), network.first, Rounds().to(dtype), network.last), images, device="cpu")
