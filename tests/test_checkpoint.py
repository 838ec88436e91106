"""Loading of states; `test_loop` resumes trainings from checkpoints."""

import pytest
import torch

import stir
from stir.training.checkpoint import load_state


def test_a_state_of_another_network_is_not_loaded_in_part():
    model = stir.build_model("resnet10", 10, width=4, channels=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = stir.build_model("resnet10", 10, width=4, channels=1, seed=1).state_dict()
    state.pop("classifier.bias")
    with pytest.raises(ValueError, match="of another network, by its 'classifier.bias'"):
        load_state(model, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
