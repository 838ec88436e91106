"""Fresh weights are those of a new network, or there are none."""

import math
import threading

import pytest
import torch
from helpers.small_networks import Unresettable, small_network
from torch import nn

import stir
from stir.networks.fresh_weights import with_fresh_weights


@pytest.mark.parametrize("architecture", ["resnet10", "resnet10-noskip", "vgg11", "wide-resnet16-4", "vit"])
def test_fresh_weights_are_those_of_a_new_network(architecture):
    sizes = dict(num_classes=3, width=4, channels=1, mean=[0.3], std=[0.2])
    used = stir.build_model(architecture, seed=1, **sizes).train()
    used(torch.rand(8, 1, 16, 16)).sum().backward()
    torch.optim.SGD(used.parameters(), 0.1).step()
    before = {name: tensor.clone() for name, tensor in used.state_dict().items()}
    fresh, truth = (
        with_fresh_weights(used, seed=5).state_dict(),
        stir.build_model(architecture, seed=5, **sizes).state_dict(),
    )
    assert fresh.keys() == truth.keys()
    assert all(
        torch.equal(fresh[name], truth[name]) for name in truth
    )  # the normalization's constants and the norms' statistics among them
    assert all(torch.equal(tensor, before[name]) for name, tensor in used.state_dict().items())


def test_fresh_weights_do_not_depend_on_the_default_precision(in_float64):
    network = stir.build_model("vit", 3, width=2)
    wanted = with_fresh_weights(network).state_dict()
    with in_float64():
        fresh = with_fresh_weights(network).state_dict()
    assert all(torch.equal(fresh[name], wanted[name]) for name in wanted)


def test_fresh_weights_leave_the_random_stream_alone():
    model = small_network(0)
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    with_fresh_weights(model)
    assert torch.equal(torch.rand(2), wanted)


def test_weights_that_cannot_be_drawn_anew_are_named():
    with pytest.raises(ValueError, match="Unresettable has parameters and no `reset_parameters`"):
        with_fresh_weights(nn.Sequential(nn.Linear(2, 2), Unresettable()))
    locked = small_network(0)
    locked.lock = threading.Lock()
    with pytest.raises(ValueError, match="Sequential cannot be copied"):
        with_fresh_weights(locked)


class NeedsArgument(nn.Module):
    """Can be drawn anew, but not without being told how."""

    def __init__(self, std):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(8, 16))
        self.reset_parameters(std)

    def reset_parameters(self, std):
        nn.init.normal_(self.weight, std=std)

    def forward(self, x):
        return nn.functional.linear(x, self.weight)


@pytest.mark.filterwarnings("ignore:inverting")  # in three steps
def test_a_reset_of_the_users_own_that_fails_is_named_and_ends_no_score():
    network = small_network(0)
    network[1] = NeedsArgument(0.1)
    with pytest.raises(ValueError, match="`reset_parameters` of NeedsArgument fails: .*'std'"):
        with_fresh_weights(network)
    images = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    result = stir.score(network, given=small_network(1), images=images, steps=3, progress=False, device="cpu")
    assert math.isnan(result.untrained) and math.isfinite(result.value)


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_weights_behind_a_norm_are_not_taken_for_fresh(norm):
    network = nn.Sequential(nn.Flatten(), norm(nn.Linear(16, 4)))
    with pytest.raises(
        ValueError,
        match="is not drawn anew by its module's `reset_parameters`|has parameters and no `reset_parameters`",
    ):
        with_fresh_weights(network, 0)
