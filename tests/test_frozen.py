"""Frozen networks give the same outputs, and are left as they were."""

import copy

import pytest
import torch
from helpers.networks import IMAGES, lively
from helpers.small_networks import Averaged
from torch import nn
from torchvision import transforms

from stir.inversion.representation import Representation
from stir.networks.architectures import build_model
from stir.networks.blocks import Normalize
from stir.networks.frozen import Frozen

CPU = torch.device("cpu")


def folded(model):
    frozen = Frozen(model, CPU)
    with frozen:
        frozen.fold(lambda: frozen(IMAGES[:1]))
    return frozen


@pytest.mark.parametrize("name", ["resnet10", "resnet10-noskip", "vgg11", "densenet121", "vit"])
def test_the_answers_are_the_networks_own_in_eval_mode(name):
    model = lively(build_model(name, 5, width=4))
    with torch.no_grad():
        plain = model(IMAGES)
    model.train()
    with folded(model) as frozen, torch.no_grad():
        assert torch.allclose(frozen(IMAGES), plain, rtol=1e-3, atol=1e-4)
        half = frozen(IMAGES, half=True)
        assert half.dtype == torch.bfloat16 and (half.float() - plain).norm() < 0.1 * plain.norm()


def test_norms_are_no_longer_computed():
    model = lively(build_model("resnet10", 5, width=4))
    runs = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = lambda input, forward=module.forward: runs.append(1) or forward(input)
    with Frozen(model, CPU) as plain:
        plain(IMAGES)
    assert runs
    frozen = folded(model)
    runs.clear()
    with frozen:
        frozen(IMAGES)
        assert not runs
        model(IMAGES)  # a pass that is not of `frozen` computes them
        assert runs


def test_gradients_reach_the_images_alone():
    model = lively(build_model("resnet10", 5, width=4))
    pixels = IMAGES.clone().requires_grad_(True)
    with folded(model) as frozen:
        frozen(pixels).sum().backward()
    plain = IMAGES.clone().requires_grad_(True)
    model(plain).sum().backward(inputs=[plain])
    assert pixels.grad is not None and plain.grad is not None
    assert torch.allclose(pixels.grad, plain.grad, rtol=1e-2, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_entered_again_it_takes_the_weights_of_that_time():
    model = lively(build_model("vgg11", 5, width=4))
    frozen = folded(model)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.1)
        plain = model(IMAGES)
        with frozen:
            assert torch.allclose(frozen(IMAGES), plain, rtol=1e-3, atol=1e-4)


def test_entered_again_it_copies_what_is_not_folded_alone():
    """A training enters it at each step, and its convolutions are nearly all of a network."""
    model = lively(build_model("resnet10", 5, width=4)).to(memory_format=torch.channels_last)
    own = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    frozen = Frozen(model, CPU)
    with frozen:
        assert all(tensor.data_ptr() != own[name] for name, tensor in frozen._unfolded.items())
        frozen.fold(lambda: frozen(IMAGES[:1]))
    with frozen, torch.no_grad():
        shared = {name for name, tensor in frozen._unfolded.items() if tensor.data_ptr() == own[name]}
        assert own.keys() - shared == {"normalize.mean", "normalize.std", "classifier.weight", "classifier.bias"}
        assert torch.allclose(frozen(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-4)
        frozen.fold(lambda: frozen(IMAGES[:1]))  # whose passes are not folded
        assert all(tensor.data_ptr() != own[name] for name, tensor in frozen._unfolded.items())


class Tied(nn.Module):
    """One convolution and one buffer under two names each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = self.first
        self.register_buffer("one", torch.ones(1))
        self.register_buffer("other", self.one)

    def forward(self, x):
        return (self.second(self.first(x).relu()) * self.one + self.other).flatten(1)


def test_tensors_with_two_names_are_one():
    model = Tied().eval()
    with torch.no_grad():
        plain = model(IMAGES)
    with folded(model) as frozen:
        answers = frozen(IMAGES)
        assert not answers.requires_grad and torch.allclose(answers, plain, atol=1e-5)
        assert frozen._unfolded["second.weight"] is frozen._unfolded["first.weight"]


def test_folding_again_changes_nothing():
    model = lively(build_model("resnet10", 5, width=4))
    frozen = folded(model)
    with frozen, torch.no_grad():
        frozen.fold(lambda: frozen(IMAGES[:1]))
        assert torch.allclose(frozen(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-4)


class Merging(nn.Linear):
    """Merges a low-rank update into its weights in eval mode, as loralib's layers do."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.a, self.b = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if self.merged == mode:
            self.weight.data += (self.b @ self.a) * (-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, x):
        return super().forward(x) + (0 if self.merged else x @ self.a.T @ self.b.T)


class KeepsItsNorm(nn.Sequential):
    """Leaves its last module in eval mode, as fine-tuning leaves batch norms."""

    def train(self, mode=True):
        super().train(mode)
        self[-1].eval()
        return self


@pytest.mark.parametrize("kind", [nn.Sequential, KeepsItsNorm])
@pytest.mark.parametrize("modes", [(True, True), (True, False), (False, False)])
def test_weights_that_eval_mode_merges_are_copied_merged_and_left_as_they_were(kind, modes):
    torch.manual_seed(0)
    model = kind(nn.Flatten(), Merging(768, 8), nn.ReLU(), Merging(8, 3), nn.Identity())
    model[1].train(modes[0])
    model[3].train(modes[1])
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    with torch.no_grad():
        plain = model(IMAGES)
        frozen = Frozen(model, CPU)
        for _ in range(2):
            with frozen:
                assert torch.allclose(frozen(IMAGES), plain, atol=1e-4)
    assert [module.training for module in model.modules()] == flags
    assert [model[index].merged for index in (1, 3)] == [not mode for mode in modes]
    assert all(torch.allclose(tensor, state[name], atol=1e-5) for name, tensor in model.state_dict().items())


def test_a_module_that_refuses_train_mode_is_left_as_it_was():
    class ForInference(nn.Identity):
        def train(self, mode=True):
            if mode:
                raise NotImplementedError("for inference alone")
            return super().train(mode)

    model = nn.Sequential(ForInference(), nn.Flatten())
    with Frozen(model, CPU):
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())


def test_an_interrupt_on_entering_leaves_the_network_as_it_was(monkeypatch):
    model = build_model("resnet10", 5, width=4)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("stir.networks.frozen.folded_tensors", interrupt)
    with pytest.raises(KeyboardInterrupt), Frozen(model, CPU):
        pass
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_body_of_another_precision_behind_normalize(dtype):
    model = build_model("resnet10", 5, width=4).eval()
    mixed = nn.Sequential(Normalize([0.5] * 3, [0.2] * 3), copy.deepcopy(model).to(dtype))
    with torch.no_grad(), Frozen(mixed, CPU) as frozen:
        plain = model((IMAGES - 0.5) / 0.2)
        answers = frozen(IMAGES)
        assert answers.dtype == dtype and (answers.float() - plain).norm() < 0.05 * plain.norm()


class Views(nn.Module):
    """Takes a `.view` of a feature map, which channels last refuses."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return self.fc(x.view(x.size(0), -1))


class Demands(Views):
    def forward(self, x):
        if not x.is_contiguous():
            raise AssertionError("contiguous images alone")
        return super().forward(x)


@pytest.mark.parametrize("kind", [Views, Demands])
def test_a_network_that_refuses_channels_last_computes_in_the_usual_layout(kind):
    model = lively(kind())
    with torch.no_grad():
        plain = model(IMAGES)
        frozen = Frozen(model, CPU)
        for _ in range(2):  # entered again, it is known
            with frozen:
                assert torch.allclose(frozen.try_out(IMAGES[:1]), plain[:1], atol=1e-4)
                frozen.fold(lambda: frozen(IMAGES[:1]))
                assert torch.allclose(frozen(IMAGES), plain, atol=1e-4)


class OwnNormalize(nn.Module):
    """As users write one: its numbers make of any images what they are, float32."""

    def __init__(self, kind):
        super().__init__()
        mean, std = torch.tensor([0.4, 0.5, 0.6]).reshape(-1, 1, 1), torch.full((3, 1, 1), 0.2)
        if kind == "attributes":
            self.mean, self.std = mean, std
        elif kind == "parameters":
            self.mean, self.std = nn.Parameter(mean, requires_grad=False), nn.Parameter(std, requires_grad=False)
        else:
            self.register_buffer("mean", mean)
            self.register_buffer("std", std)

    def forward(self, x):
        return (x - self.mean) / self.std


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", ["buffers", "parameters", "attributes", "torchvision"])
def test_a_body_of_another_precision_behind_a_users_own_normalization(dtype, kind):
    body = lively(build_model("resnet10", 5, width=4)).to(dtype)
    normalize = OwnNormalize("buffers") if kind == "torchvision" else OwnNormalize(kind)
    with torch.no_grad():
        wanted = copy.deepcopy(body).double()(normalize.double()(IMAGES.double()))
    normalize = transforms.Normalize([0.4, 0.5, 0.6], [0.2] * 3) if kind == "torchvision" else OwnNormalize(kind)
    with Frozen(nn.Sequential(normalize, body).eval(), CPU) as frozen:
        found = frozen.try_out(IMAGES)
        again = frozen(IMAGES)
    # torchvision's normalizes in the precision that the images have.
    rounding = {torch.float16: 0.01, torch.bfloat16: 0.1, torch.float64: 1e-6}[dtype] if kind == "torchvision" else 1e-5
    assert (found - wanted).norm() < rounding * wanted.norm()
    assert (again - wanted).norm() < rounding * wanted.norm()
    assert next(body.parameters()).dtype == dtype


class Strided(nn.Module):
    """What becomes of a feature map depends on how it lies in memory."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.kind = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6 * 64, 5), kind

    def forward(self, x):
        x, n = self.conv(x).relu(), len(x)
        if self.kind == "as_strided":
            windows = x.as_strided((n, 6, 8, 8), (6 * 256, 256, 32, 2))
        elif self.kind == "set_":
            windows = torch.empty(0).set_(x.untyped_storage(), 0, (n, 6, 8, 32))[..., :8]
        else:
            windows = x[:, :, ::2, ::2] if x.stride(1) > 1 else x[:, :, 1::2, 1::2]
        return self.fc(windows.flatten(1))


@pytest.mark.parametrize("kind", ["as_strided", "set_", "stride"])
def test_what_depends_on_the_layout_is_computed_in_the_usual_one(kind):
    model = Strided(kind).eval()
    with torch.no_grad():
        plain = model(IMAGES)
    flat = torch.full_like(IMAGES, 0.5)  # tells little of what a layout changes
    with Frozen(model, CPU) as frozen, torch.no_grad():
        frozen.try_out(flat[:1])
        assert torch.allclose(frozen(IMAGES), plain, rtol=1e-3, atol=1e-5)
    with Representation(model, flat, device="cpu") as represent, torch.no_grad():
        assert torch.allclose(model.fc(represent(IMAGES)), plain, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["wrong", "wrong, and a second output", "fails"])
def test_a_gradient_that_depends_on_the_layout_is_that_of_the_usual_one(kind):
    def answer(network, pixels):
        output = network(pixels)
        return output if isinstance(output, torch.Tensor) else output[0]

    model, pixels = Averaged(kind).eval(), IMAGES.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(answer(model, pixels).square().sum(), pixels)
    with Frozen(model, CPU) as frozen:
        with torch.no_grad():
            frozen.try_out(IMAGES[:1])
        (found,) = torch.autograd.grad(answer(frozen, pixels).square().sum(), pixels)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_network_that_fails_in_every_layout_keeps_channels_last():
    model = build_model("resnet10", 5, width=4)
    with Frozen(model, CPU) as frozen:
        with pytest.raises(ValueError, match=r"images of shape \[N, 2, 16, 16\] do not pass through .*channels"):
            frozen.try_out(IMAGES[:, :2])
        seen = []
        model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        frozen.try_out(IMAGES)
        assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_data_parallel_is_the_network_inside():
    model = lively(build_model("resnet10", 5, width=4))
    with torch.no_grad():
        expected = model(IMAGES)  # before the wrapper takes it to a GPU
        with folded(nn.DataParallel(model)) as frozen:
            assert torch.allclose(frozen(IMAGES), expected, rtol=1e-3, atol=1e-4)


class Shared(nn.Module):
    """A convolution whose output goes to a norm and past it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return (self.norm(x) + x).flatten(1)


def test_an_output_that_is_used_twice_is_not_folded():
    model = Shared().eval()  # with a fresh norm, which folded or not changes nothing
    frozen = folded(model)
    lively(model)
    with torch.no_grad():
        plain = model(IMAGES)
        with frozen:
            assert torch.equal(frozen(IMAGES), plain)


def test_the_network_is_left_as_it_was():
    model = lively(build_model("resnet10", 5, width=4)).train()
    model.get_submodule("stem").eval()
    flags = {name: module.training for name, module in model.named_modules()}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}

    def interrupted_pass():
        with folded(model) as frozen:
            frozen(IMAGES)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_pass()
    assert {name: module.training for name, module in model.named_modules()} == flags
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
