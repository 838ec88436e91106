"""The default layer of every kind of network, and layers by each of their names."""

import copy
from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn

from stir.data import Split
from stir.inversion.representation import Representation, features
from stir.training.accuracy import accuracy
from stir.training.attacks import PGD

IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
CPU = {"device": "cpu"}


def taken(model):
    with Representation(model, IMAGES, **CPU) as represent:
        return represent.taken, represent(IMAGES)


def trunk(dim=6):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, dim, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def assert_default(model, name, wanted):
    found, values = taken(model)
    assert found == f"penultimate ({name})"
    assert torch.allclose(values, wanted, atol=1e-5)


# A module under several names


def test_each_run_of_a_module_under_each_of_its_names():
    torch.manual_seed(0)
    act = nn.ReLU()
    net = nn.Sequential(nn.Conv2d(3, 8, 3), act, nn.Conv2d(8, 16, 3), act, nn.AdaptiveAvgPool2d(1)).eval()
    with torch.no_grad():
        runs = [net[:2](IMAGES), net[:4](IMAGES)]
    for name in ("1", "3"):
        for number, wanted in enumerate(runs, 1):
            found = features(net, IMAGES, layer=f"{name}#{number}", **CPU)
            assert torch.allclose(found, wanted.mean(dim=(2, 3)), atol=1e-5)
        with pytest.raises(
            ValueError, match=f"layer='{name}' runs 2 times in a forward pass of Sequential; choose one"
        ):
            features(net, IMAGES, layer=name, **CPU)


def test_a_module_that_runs_once_under_its_other_name():
    net = trunk()
    net.again = net[0]
    net.forward = lambda x: nn.Sequential(*net[:4])(x)
    assert torch.equal(features(net, IMAGES, layer="again", **CPU), features(net, IMAGES, layer="0", **CPU))


# Networks that end with a linear layer


class After(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [lambda x: x, lambda x: x.log_softmax(1), lambda x: x.div_(2), lambda x: x[:, :3], lambda x: {"logits": x}],
)
def test_what_becomes_of_the_logits_does_not_matter(function):
    body = trunk()
    model = nn.Sequential(body, nn.Linear(6, 4), After(function)).eval()
    assert_default(model, "1", body(IMAGES))


def test_a_linear_layer_beside_the_way_does_not_count():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head, self.other = trunk(), nn.Linear(6, 4), nn.Linear(4, 2)

        def forward(self, x):
            logits = self.head(self.body(x))
            return logits, self.other(logits)

    model = Auxiliary()
    assert_default(model, "head", model.body(IMAGES))


class Tied(nn.Module):
    """One linear layer in all places; the last run makes the output."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = trunk(), nn.Linear(6, 6)

    def forward(self, x):
        return self.fc(self.fc(self.body(x)).relu())


def test_a_linear_layer_that_runs_twice_counts_where_the_output_comes_from():
    model = Tied()
    assert_default(model, "fc", model.fc(model.body(IMAGES)).relu())


# Adapters


class Lora(nn.Module):
    """A low-rank adapter beside a linear layer, as a wrapper around it."""

    def __init__(self, base, first):
        super().__init__()
        self.base, self.first, self.dropout = base, first, nn.Dropout(0.5)
        self.a = nn.ModuleDict({"default": nn.Linear(base.in_features, 2, bias=False)})
        self.b = nn.ModuleDict({"default": nn.Linear(2, base.out_features, bias=False)})

    def adapted(self, x):
        return self.b["default"](self.a["default"](self.dropout(x) + 0))

    def forward(self, x):
        return self.base(x) + self.adapted(x) if self.first else self.adapted(x) + self.base(x)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
def test_an_adapter_on_the_head_changes_nothing(first, hidden):
    body = nn.Sequential(*trunk(), nn.Linear(6, 5), nn.ReLU()) if hidden else trunk()
    plain = nn.Sequential(body, nn.Linear(5 if hidden else 6, 4)).eval()
    tuned = copy.deepcopy(plain)
    tuned[1] = Lora(tuned[1], first).eval()
    assert_default(plain, "1", body(IMAGES))
    assert_default(tuned, "1.base", body(IMAGES))
    assert torch.equal(features(plain, IMAGES, **CPU), features(tuned, IMAGES, **CPU))


def test_an_adapter_on_every_layer_of_a_head():
    body = trunk()
    head = nn.Sequential(Lora(nn.Linear(6, 5), True), nn.ReLU(), Lora(nn.Linear(5, 4), True)).eval()
    assert_default(nn.Sequential(body, head).eval(), "1.2.base", head[:2](body(IMAGES)))


class Reweighted(nn.Module):
    """An adapter as peft has several: it computes with another weight, and never runs the layer that it holds."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.first, self.second = nn.Parameter(torch.rand(4, 2)), nn.Parameter(torch.rand(2, 6))

    def forward(self, x):
        return nn.functional.linear(x, self.base_layer.weight + self.first @ self.second, self.base_layer.bias)


@pytest.mark.parametrize("after", [nn.Identity(), nn.LogSoftmax(1)])
def test_an_adapter_that_does_not_run_the_layer_that_it_holds(after):
    body = trunk()
    assert_default(nn.Sequential(body, Reweighted(nn.Linear(6, 4)), after).eval(), "1", body(IMAGES))


def test_two_heads_with_inputs_of_their_own_are_refused():
    """As in a distilled DeiT, whose output is the mean of two."""

    class Distilled(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head, self.other = trunk(), trunk(), nn.Linear(6, 4), nn.Linear(6, 4)

        def forward(self, x):
            return (self.head(self.one(x)) + self.other(self.two(x))) / 2

    with pytest.raises(ValueError, match="several linear layers with different inputs, 'head', 'other'; name a layer"):
        features(Distilled(), IMAGES, **CPU)


# Networks without a head


def test_vision_transformer_without_a_head():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32).eval()
    vit.heads = nn.Identity()
    assert_default(vit, "the output of VisionTransformer", vit(IMAGES))
    projected = torch.rand(16, 3)
    clip = nn.Sequential(vit, After(lambda x: x @ projected))
    assert_default(clip, "the output of Sequential", vit(IMAGES) @ projected)


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "swin_t"])
def test_torchvisions_networks_without_a_head(name):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    if name == "convnext_tiny":
        model.classifier[2] = nn.Identity()
    setattr(model, "fc" if name == "resnet18" else "head", nn.Identity())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with Representation(model, images, **CPU) as represent, torch.no_grad():
        assert represent.taken == f"penultimate (the output of {type(model).__name__})"
        assert torch.allclose(represent(images), model(images), atol=1e-4)


def test_a_network_without_its_last_child_ends_with_a_map_of_one_pixel():
    resnet = torchvision.models.resnet18().eval()
    assert_default(nn.Sequential(*list(resnet.children())[:-1]), "the output of Sequential", pooled(resnet, "fc"))
    conv = nn.Conv2d(3, 4, 3)
    both = nn.Sequential(conv, After(lambda x: (x, x.mean((2, 3), keepdim=True))))
    assert_default(both, "the output of Sequential", conv(IMAGES).mean((2, 3)))


def test_numbers_beside_the_vector_do_not_count():
    body = trunk()
    model = nn.Sequential(body, After(lambda x: {"order": x.argsort(1), "pooled": x}))
    assert_default(model, "the output of Sequential", body(IMAGES))


def pooled(model, head, images=IMAGES):
    """What the module called `head` is given, by a hook of its own."""
    seen = []
    with model.get_submodule(head).register_forward_pre_hook(lambda _, args: seen.append(args[0])), torch.no_grad():
        model(images)
    return seen[-1]


def small_swin():
    return torchvision.models.SwinTransformer([2, 2], 8, [1, 1], [2, 2], [4, 4], num_classes=5)


def small_convnext():
    from torchvision.models.convnext import CNBlockConfig

    return torchvision.models.ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5)


def small_maxvit():
    return torchvision.models.MaxVit((32, 32), 8, 4, [8, 16], [1, 1], 4, 0.2, num_classes=5)


@pytest.mark.parametrize(
    ("make", "head", "size"),
    [
        (small_swin, "head", 32),
        (small_convnext, "classifier.2", 32),
        (small_maxvit, "classifier.5", 32),
        (lambda: torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=5), "heads.head", 16),
        (lambda: torchvision.models.efficientnet_b0(num_classes=5), "classifier.1", 32),
        (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), "classifier.3", 32),
        (lambda: torchvision.models.googlenet(num_classes=5, init_weights=False), "fc", 32),
        (lambda: torchvision.models.inception_v3(num_classes=5, init_weights=False), "fc", 80),
    ],
)
def test_torchvisions_networks(make, head, size):
    """Those with auxiliary heads as well, which do not run in eval mode."""
    torch.manual_seed(0)
    model, images = make().eval(), torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with Representation(model, images, **CPU) as represent, torch.no_grad():
        assert represent.taken == f"penultimate ({head})"
        assert torch.allclose(represent(images), pooled(model, head, images), atol=1e-4)


class Residual(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        return x + self.mlp(x)


def test_residual_blocks_that_one_linear_layer_begins():
    """As in a mixer, or a transformer whose patches a linear layer embeds."""
    torch.manual_seed(0)
    blocks = nn.Sequential(nn.Linear(48, 10), Residual(10), Residual(10), nn.LayerNorm(10))
    model = nn.Sequential(nn.Unflatten(3, (4, 4)), After(lambda x: x.flatten(3).movedim(1, 2).flatten(2)))
    model = nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (16, 16)), After(lambda x: x.flatten(2).mT), nn.Linear(3, 10))
    model.extend([Residual(10), Residual(10), After(lambda x: x.mean(1))])
    assert_default(model.eval(), "the output of Sequential", model(IMAGES))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 48), blocks).eval()
    assert_default(flat, "the output of Sequential", flat(IMAGES))


class ModelOutput(OrderedDict):
    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]


def test_the_vector_among_what_a_network_returns():
    """As Hugging Face's image towers do: tokens first, then the pooled ones."""
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32).eval()

    def tower(x):
        tokens = vit._process_input(x)
        tokens = vit.encoder(torch.cat([vit.class_token.expand(len(x), -1, -1), tokens], dim=1))
        return ModelOutput(last_hidden_state=tokens, pooler_output=tokens[:, 0])

    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.vit = vit

        def forward(self, x):
            return tower(x)

    assert_default(Tower(), "the output of Tower", tower(IMAGES).pooler_output)


def test_a_network_that_ends_with_a_map_has_no_default_layer():
    with pytest.raises(
        ValueError,
        match="of the last linear layer, but Sequential has none, .* name a layer, such as '0'",
    ):
        features(nn.Sequential(nn.Conv2d(3, 2, 1)), IMAGES, **CPU)

    class Gated(nn.Module):  # squeeze and excitation
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

        def forward(self, x):
            x = self.conv(x)
            return x * self.fc(x.mean(dim=(2, 3)))[:, :, None, None].sigmoid()

    with pytest.raises(ValueError, match="layer, but Gated ends with none, .* name a layer, such as 'conv'"):
        features(Gated(), IMAGES, **CPU)


# Networks through which no gradient passes


class Probe(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.encoder, self.head, self.after = trunk(), nn.Linear(6, 4), after

    def forward(self, x):
        with torch.no_grad():
            x = self.encoder(x)
        return self.after(self.head(x))


def test_a_probe_on_a_frozen_encoder():
    probe = Probe(nn.Identity())
    assert_default(probe, "head", probe.encoder(IMAGES))
    with pytest.raises(ValueError, match="it cannot be told from which layer the output of Probe comes"):
        features(Probe(nn.LogSoftmax(1)), IMAGES, **CPU)
    assert features(Probe(nn.LogSoftmax(1)), IMAGES, layer="encoder", **CPU).shape == (5, 6)


def test_inference_mode_and_no_grad_do_not_matter():
    body = trunk()
    model = nn.Sequential(body, nn.Linear(6, 4), nn.LogSoftmax(1)).eval()
    wanted = features(model, IMAGES, **CPU)
    with torch.no_grad():
        assert torch.equal(features(model, IMAGES, **CPU), wanted)
    with torch.inference_mode():
        assert torch.equal(features(copy.deepcopy(model), IMAGES.clone(), **CPU), wanted)


# Libraries themselves, where they are installed (see CONTRIBUTING.md): networks of random weights


BODY = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, patch_size=8)
DINO = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, patch_size=8)
STAGES = dict(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1])
SWIN = dict(patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
SMALL = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def assert_taken(model, place, images=SMALL):
    """The default layer is the input of the head called `place`, or that field of the output, or the output."""
    model = model.eval()
    with torch.no_grad():
        output = model(images)
    is_head = isinstance(dict(model.named_modules()).get(place), nn.Module)
    wanted = pooled(model, place, images) if is_head else (output if place is None else getattr(output, place))
    with Representation(model, images, **CPU) as represent:
        name = place if is_head else f"the output of {type(model).__name__}"
        assert represent.taken == f"penultimate ({name})"
        assert torch.allclose(represent.in_batches(images), wanted.flatten(1), atol=1e-4)
        represent.check_gradient()
    logits = getattr(output, "logits", output if torch.is_tensor(output) else None)
    if logits is not None:
        split = Split(images, logits.argmax(1))
        assert accuracy(model, split, **CPU) == 1
        assert accuracy(model, split, attack=PGD("l2", 2.0, 2), **CPU) <= 1


@pytest.mark.parametrize(
    ("kind", "settings", "place"),
    [
        ("ViT", BODY, {"ForImageClassification": "classifier", "Model": "pooler.dense"}),
        ("DeiT", BODY, {"ForImageClassification": "classifier"}),
        ("Beit", BODY, {"ForImageClassification": "classifier", "Model": "pooler_output"}),
        ("Dinov2", DINO, {"ForImageClassification": "classifier", "Model": "pooler_output"}),
        (
            "CLIPVision",
            {**BODY, "projection_dim": 8},
            {"Model": "pooler_output", "ModelWithProjection": "visual_projection"},
        ),
        ("ConvNext", STAGES, {"ForImageClassification": "classifier", "Model": "pooler_output"}),
        (
            "ResNet",
            {**STAGES, "embedding_size": 4, "layer_type": "basic"},
            {"ForImageClassification": "classifier.1", "Model": "pooler_output"},
        ),
        ("Swin", SWIN, {"ForImageClassification": "classifier", "Model": "pooler_output"}),
    ],
)
def test_hugging_faces_networks(kind, settings, place):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(image_size=32, num_labels=4, **settings)
    for head, each in place.items():
        torch.manual_seed(0)
        assert_taken(getattr(transformers, f"{kind}{head}")(config), each)


def test_hugging_faces_refusals():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(image_size=32, **BODY)
    tokens = transformers.ViTModel(config, add_pooling_layer=False).eval()
    with pytest.raises(ValueError, match="ViTModel ends with none, and its output is not one vector .* 'layernorm'"):
        features(tokens, SMALL, **CPU)
    with torch.no_grad():
        wanted = tokens(SMALL).last_hidden_state[:, 0]
    assert torch.allclose(features(tokens, SMALL, layer="layernorm", pool="cls", **CPU), wanted, atol=1e-4)
    config = transformers.DeiTConfig(image_size=32, **BODY)
    two = transformers.DeiTForImageClassificationWithTeacher(config)
    with pytest.raises(ValueError, match="several linear layers .* 'cls_classifier', 'distillation_classifier'; name"):
        features(two, SMALL, **CPU)


@pytest.mark.parametrize("headless", [False, True])
@pytest.mark.parametrize(
    ("name", "head"),
    [("vit", "head"), ("convnext_atto", "head.fc"), ("efficientnet_b0", "classifier"), ("resnet18", "fc")],
)
def test_timms_networks(name, head, headless):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    if name == "vit":
        model = timm.models.VisionTransformer(32, 8, num_classes=4, embed_dim=16, depth=1, num_heads=2)
    else:
        model = timm.create_model(name, num_classes=4)
    if headless:
        model.reset_classifier(0)
    assert_taken(model, None if headless else head)
    with torch.no_grad():
        own = model.eval().forward_head(model.forward_features(SMALL), pre_logits=True)
    assert torch.allclose(features(model, SMALL, **CPU), own, atol=1e-4)


@pytest.mark.parametrize(
    "adapter",
    [
        ("LoraConfig", dict(r=2, lora_dropout=0.5, init_lora_weights=False)),
        ("LoraConfig", dict(r=2, use_dora=True, init_lora_weights=False)),
        ("IA3Config", dict(feedforward_modules=["classifier"], init_ia3_weights=False)),
        ("LoHaConfig", dict(r=2, init_weights=False)),
        ("LoKrConfig", dict(r=2, init_weights=False)),
        ("OFTConfig", dict(r=0, oft_block_size=4, init_weights=False)),
        ("VeraConfig", dict(r=2, init_weights=False)),
        ("HRAConfig", dict(r=2, init_weights=False)),
    ],
)
@pytest.mark.parametrize("on", [["classifier"], ["q_proj", "v_proj", "classifier"], ["q_proj", "v_proj"]])
def test_adapters_of_peft(adapter, on):
    transformers, peft = (pytest.importorskip(name) for name in ("transformers", "peft"))
    name, settings = adapter
    if "classifier" not in on:
        settings = {key: value for key, value in settings.items() if key != "feedforward_modules"}
    if name == "VeraConfig" and len(on) > 1:
        pytest.skip("VeRA shares its matrices between layers of one size")
    if name == "IA3Config":
        settings["feedforward_modules"] = [each for each in on if each == "classifier"]
    torch.manual_seed(0)
    plain = transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, num_labels=4, **BODY)).eval()
    tuned = peft.get_peft_model(copy.deepcopy(plain), getattr(peft, name)(target_modules=on, **settings)).eval()
    with torch.no_grad():
        assert not torch.equal(tuned(SMALL).logits, plain(SMALL).logits)
    assert_taken(tuned, "base_model.model.classifier")
    if on == ["classifier"]:
        assert torch.equal(features(tuned, SMALL, **CPU), features(plain, SMALL, **CPU))


def test_the_towers_of_open_clip():
    open_clip = pytest.importorskip("open_clip")
    text = open_clip.CLIPTextCfg(context_length=4, vocab_size=9, width=8, heads=2, layers=1)
    for settings in (dict(layers=1, width=16, head_width=8, patch_size=8), dict(layers=(1, 1, 1, 1), width=8)):
        torch.manual_seed(0)
        clip = open_clip.CLIP(8, open_clip.CLIPVisionCfg(image_size=32, **settings), text)
        assert_taken(clip.visual, None)
        with torch.no_grad():
            wanted = clip.eval().encode_image(SMALL, normalize=True)
        assert torch.allclose(features(clip, SMALL, **CPU), wanted, atol=1e-4)
