"""Training learns, is deterministic, and resumes after an interruption."""

import pytest
import torch
from helpers.small_networks import Averaged
from helpers.waits import DEVICE, Waits
from torch import nn

import stir
from stir.computing.parallel import in_threads
from stir.data import Split
from stir.networks.frozen import Frozen
from stir.training import losses
from stir.training.accuracy import accuracy
from stir.training.attacks import PGD
from stir.training.checkpoint import Checkpoint
from stir.training.loop import _batch_ends, _Training, train
from stir.training.recipe import Recipe

QUIET = {"device": "cpu", "progress": False}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def weights(model):
    return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])


def learned(curve):
    return [(epoch["loss"], epoch["accuracy"]) for epoch in curve]


RECIPES = [
    {},
    {"loss": "adversarial-l2", "augmentation": "shift-flip"},
    {"loss": "trades", "label_smoothing": 0.1},
    {"loss": "mart-l2"},
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_determinism(few, recipe):
    recipe = Recipe(epochs=2, **recipe)
    runs = []
    for seed in (0, 0, 1):
        model = network()
        torch.manual_seed(100 + len(runs))  # the global random state has no effect
        runs.append((train(model, few, recipe, seed=seed, **QUIET), weights(model)))
    assert learned(runs[0][0]) == learned(runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][1], runs[2][1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_gpu_learns_the_same_twice(gpu, few, recipe):
    curves, ends = [], []
    for _ in range(2):
        model = stir.build_model("resnet10", 10, width=4, channels=1, seed=0)
        curves.append(learned(train(model, few, Recipe(epochs=4, **recipe), device=gpu, progress=False)))
        ends.append(weights(model).cpu())
    assert curves[0] == curves[1] and torch.equal(*ends)
    assert curves[0][-1][0] < curves[0][0][0]


def small_convolutions():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(784, 10))


@pytest.mark.parametrize("loss", ["standard", "adversarial-l2", "trades", "mart-l2"])
def test_no_step_waits_for_the_device(few, loss):
    """A GPU goes on with the next steps while the processor prepares those after them."""
    recipe = Recipe(loss=loss, augmentation="shift-flip", attack_steps=1, epochs=1, batch_size=10)
    waits, copies = [], []
    for n in (20, 40):
        some = Split(few.images[:n], few.labels[:n])
        with Waits(answer=1) as counted:
            train(small_convolutions(), some, recipe, device=DEVICE, progress=False)
        waits.append(counted.count)
        copies.append(counted.copies)
    assert waits[0] == waits[1]
    # Of each batch its images, their rows and columns, and the attack's start.
    assert copies[1] - copies[0] == 2 * (3 if loss == "standard" else 4)


def test_where_a_gradient_depends_on_the_layout_it_trains_in_the_usual_one(few):
    model, seen = Averaged("wrong", channels=1), set()
    model.conv.register_forward_hook(lambda _, __, output: seen.add(output.is_contiguous()) if model.training else None)
    train(model, few, Recipe(epochs=1), **QUIET)
    assert seen == {True}


def test_the_optimizer_is_not_fused_on_a_cpu(few):
    assert _Training(network(), few, Recipe(), 0, False).optimizer.defaults["fused"] is None


def test_the_optimizer_is_fused_on_a_gpu(gpu, few):
    assert _Training(network().to(gpu), few, Recipe(), 0, False).optimizer.defaults["fused"] is True


def test_training_tells_a_gpu_to_compute_the_same_each_time(few):
    flags = set()
    model = network()
    model[0].register_forward_hook(lambda *_: flags.add(torch.backends.cudnn.deterministic))
    train(model, few, Recipe(loss="adversarial-l2", epochs=1), **QUIET)
    accuracy(model, few, attack=PGD("l2", 1.0, 1), device="cpu")
    assert flags == {True} and not torch.backends.cudnn.deterministic


def test_it_learns(few, digits):
    model = network()
    before = accuracy(model.eval(), digits.test, device="cpu")
    curve = train(model, few, Recipe(epochs=8), **QUIET)
    assert before < 0.3 and accuracy(model, digits.test, device="cpu") > 0.75
    assert len(curve) == 8 and curve[-1]["loss"] < curve[0]["loss"] / 2
    assert curve[-1]["accuracy"] > 0.9 and all(0 <= epoch["accuracy"] <= 1 for epoch in curve)
    assert not any(module.training for module in model.modules())


def test_the_first_step_is_sgd_as_written(few):
    # One batch, one epoch: Nesterov's first step is -(1 + momentum) * rate * (clipped gradient + decay).
    model, twin = network(), network()
    recipe = Recipe(epochs=1, batch_size=300, learning_rate=1e3, weight_decay=0.5)
    (epoch,) = train(model, few, recipe, precision="float32", **QUIET)
    twin.train()
    loss = nn.functional.cross_entropy(twin(few.images), few.labels)
    loss.backward()
    assert nn.utils.clip_grad_norm_(twin.parameters(), 1.0) > 1.05  # else it would not show
    assert epoch["loss"] == pytest.approx(loss.item(), rel=1e-4)
    before, after, weight = (net.get_parameter("1.weight") for net in (network(), model, twin))
    assert weight.grad is not None
    step, change = weight.grad + 0.5 * weight.detach(), before - after
    rate = 1e3 / 25 / 1e4  # where the one cycle ends, and with it its only step
    assert torch.allclose(change, 1.9 * rate * step, rtol=1e-2, atol=1e-6)


def test_only_what_is_trained_on_counts_in_the_batch_statistics(few):
    model = stir.build_model("resnet10", 10, width=4, channels=1)
    train(model, few, Recipe(loss="adversarial-l2", attack_steps=3, epochs=2, batch_size=50), **QUIET)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.num_batches_tracked == 2 * len(few) // 50 for norm in norms)


def test_adversarial_training_makes_robust(digits):
    attack = PGD("linf", 0.1, 5)
    scores = {}
    for loss in ("standard", "adversarial-linf"):
        model = network()
        train(model, digits.train, Recipe(loss=loss, epsilon=0.1, epochs=4), **QUIET)
        scores[loss] = accuracy(model, digits.test, attack=attack, device="cpu")
    assert scores["adversarial-linf"] > scores["standard"] + 0.1


@pytest.mark.parametrize("loss", ["trades", "trades-l2", "mart", "mart-l2"])
def test_robust_losses_make_robust(digits, loss):
    norm = "l2" if loss.endswith("l2") else "linf"
    epsilon = {"l2": 1.0, "linf": 0.1}[norm]
    scores = {}
    for each in ("standard", loss):
        model = network()
        train(model, digits.train, Recipe(loss=each, epsilon=epsilon, epochs=4), **QUIET)
        scores[each] = accuracy(model, digits.test, attack=PGD(norm, epsilon, 5), device="cpu")
    assert scores[loss] > scores["standard"] + 0.1


def madry(clean, adversarial, labels, tradeoff):
    return nn.functional.cross_entropy(adversarial, labels)


FORMULAS = {"adversarial-l2": madry, "adversarial-linf": madry, "trades": losses.trades_loss, "mart": losses.mart_loss}


@pytest.mark.parametrize("loss", FORMULAS)
def test_the_loss_is_its_formula_on_the_images_that_its_attack_finds(few, loss):
    """TRADES attacks the network's own prediction, the others the label."""
    images, labels, formula = few.images[:50], few.labels[:50], FORMULAS[loss]
    recipe, model = Recipe(loss=loss, epsilon=0.1), network().eval()
    attacked = model(images).detach().softmax(1) if loss == "trades" else labels
    assert recipe.attack is not None
    adversarial_images = recipe.attack(model, images, attacked, torch.Generator().manual_seed(3))
    twin = network().train()
    adversarial, clean = twin(adversarial_images), twin(images)
    value, logits = recipe.batch_loss(
        Frozen(network(), torch.device("cpu")),
        images,
        labels,
        recipe.attack.start(images.shape, torch.Generator().manual_seed(3)),
    )
    assert torch.allclose(logits, adversarial, atol=1e-5)
    assert value.item() == pytest.approx(
        formula(clean, adversarial, labels, {"trades": 6.0, "mart": 5.0}.get(loss)).item(), rel=1e-4
    )


# Resuming after an interruption


class Random(nn.Module):
    """A network with draws of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(256, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 10)
        )

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_interrupted_training_ends_the_same(few, tmp_path, monkeypatch, stop):
    recipe = Recipe(epochs=4, loss="adversarial-linf", epsilon=0.05, augmentation="shift")
    whole = Random()
    curve = train(whole, few, recipe, **QUIET)
    checkpoint, real, count = tmp_path / "a.checkpoint", _Training.run_epoch, []

    def run_epoch(*arguments):
        if len(count) == stop:
            raise KeyboardInterrupt
        count.append(1)
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_Training, "run_epoch", run_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(Random(), few, recipe, checkpoint=checkpoint, **QUIET)
    torch.manual_seed(77)
    state = torch.get_rng_state()
    model = Random()
    torch.manual_seed(77)
    again = train(model, few, recipe, checkpoint=checkpoint, **QUIET)
    assert torch.equal(torch.get_rng_state(), state)  # of the caller
    assert learned(again) == learned(curve) and torch.equal(weights(model), weights(whole))


def test_a_damaged_checkpoint_is_named_and_removed(few, tmp_path):
    checkpoint = tmp_path / "a.checkpoint"
    checkpoint.write_bytes(b"not a checkpoint")
    model = network()
    train(model, few, Recipe(epochs=1), checkpoint=checkpoint, **QUIET)
    assert not checkpoint.exists()
    plain = network()
    train(plain, few, Recipe(epochs=1), **QUIET)
    assert torch.equal(weights(model), weights(plain))


@pytest.mark.parametrize("change", ["momentum of another shape", "longer curve"])
def test_a_checkpoint_that_its_training_could_not_have_written(few, tmp_path, capsys, change):
    path, training = tmp_path / "a.checkpoint", _Training(network(), few, Recipe(epochs=2), 0, False)
    training.curve.append({"loss": 1.5})
    training.save(path)
    saved = Checkpoint.read(path)
    tensors, curve = saved.tensors, saved.curve
    if change == "longer curve":
        curve = curve * 2
    else:
        tensors = tensors | {"momentum.1.bias": torch.zeros(0)}
    Checkpoint(tensors, curve, saved.rates, saved.made_by).write(path)
    training = _Training(network(), few, Recipe(epochs=2), 0, False)
    training.resume(path)
    assert not path.exists() and training.curve == [] and "cannot be used" in capsys.readouterr().out


def network_without_bias():
    return nn.Sequential(*list(network())[:-2], nn.Linear(32, 10, bias=False))


@pytest.mark.parametrize(
    "change", ["flipped byte", "other recipe", "other seed", "other images", "other threads", "other network"]
)
def test_a_checkpoint_of_another_training_is_not_resumed(few, tmp_path, monkeypatch, capsys, change):
    checkpoint, recipe, save = tmp_path / "a.checkpoint", Recipe(epochs=2), _Training.save

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_Training, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(network(), few, recipe, checkpoint=checkpoint, **QUIET)
    seed, images, make, threads = 0, few, network, torch.get_num_threads()
    if change == "flipped byte":
        content = bytearray(checkpoint.read_bytes())
        content[-20] ^= 0xFF
        checkpoint.write_bytes(content)
    elif change == "other recipe":
        recipe = Recipe(epochs=2, learning_rate=0.05)
    elif change == "other seed":
        seed = 1
    elif change == "other images":
        images = Split(few.images.flip(0), few.labels.flip(0))
    elif change == "other threads":
        threads += 1
    else:
        make = network_without_bias
    one, other = make(), make()
    with in_threads(threads):
        train(one, images, recipe, seed=seed, checkpoint=checkpoint, **QUIET)
        assert "the training starts anew" in capsys.readouterr().out
        train(other, images, recipe, seed=seed, **QUIET)
    assert torch.equal(weights(one), weights(other))


@pytest.mark.parametrize(
    ("n", "size", "ends"), [(10, 4, [4, 8, 10]), (9, 4, [4, 9]), (8, 4, [4, 8]), (3, 4, [3]), (1, 4, [1]), (5, 4, [5])]
)
def test_no_image_is_left_alone_in_a_batch(n, size, ends):
    assert _batch_ends(n, size) == ends


def test_a_batch_norm_on_one_pixel_takes_any_number_of_images(few):
    model = stir.build_model("vgg11", 10, width=4, channels=1)
    curve = train(
        model, Split(few.images[:33, :, ::2, ::2].clone(), few.labels[:33]), Recipe(epochs=1, batch_size=32), **QUIET
    )
    assert curve[0]["loss"] > 0


def test_a_training_that_diverges_says_so(few):
    with pytest.raises(
        FloatingPointError, match="the loss is .* in step 2 of \\d+ in epoch 1; lower learning_rate=1e\\+30"
    ):
        train(network(), few, Recipe(epochs=1, learning_rate=1e30), **QUIET)


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_what_is_not_finite_is_never_kept(few, tmp_path, where):
    """A loss in the third step of the second epoch, or weights after the last step, whose loss was finite."""

    class Spoilt(nn.Sequential):
        passes = 0

        def forward(self, images):
            if self.training:
                self.passes += 1
            logits = super().forward(images)
            if where == "loss" and self.passes == 6:
                return logits * torch.nan
            if where == "weights" and self.passes == 6:
                logits.register_hook(lambda gradient: gradient * torch.nan)
            return logits

    checkpoint, model = tmp_path / "a.checkpoint", Spoilt(*network())
    text = {
        "loss": "the loss is nan in step 3 of 3 in epoch 2; lower learning_rate=0.1",
        "weights": "the network holds NaN or infinite numbers after step 3 of 3 in epoch 2",
    }[where]
    with pytest.raises(FloatingPointError, match=text):
        train(model, few, Recipe(epochs=3, batch_size=100), checkpoint=checkpoint, **QUIET)
    tensors = Checkpoint.read(checkpoint).tensors
    assert all(tensor.isfinite().all() for tensor in tensors.values())  # of the first epoch


def test_a_long_epoch_does_not_go_on_with_nan(few):
    class Spoilt(nn.Sequential):
        passes = 0

        def forward(self, images):
            self.passes += self.training
            return super().forward(images) * (torch.nan if self.passes == 2 else 1)

    model = Spoilt(*network())
    with pytest.raises(FloatingPointError, match="the loss is nan in step 2 of 150 in epoch 1"):
        train(model, few, Recipe(epochs=1, batch_size=2), **QUIET)
    assert model.passes <= 50
