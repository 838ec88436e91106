"""Loading of states; `test_loop` resumes trainings from checkpoints."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import stir
from stir.files import digest_of
from stir.training.checkpoint import Checkpoint, load_state


def test_a_state_of_another_network_is_not_loaded_in_part():
    model = stir.build_model("resnet10", 10, width=4, channels=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = stir.build_model("resnet10", 10, width=4, channels=1, seed=1).state_dict()
    state.pop("classifier.bias")
    with pytest.raises(ValueError, match="of another network, by its 'classifier.bias'"):
        load_state(model, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("field", ["curve", "rate", "made_by", "sha256", "tensors"])
def test_all_of_a_checkpoint_is_under_its_checksum(tmp_path, field):
    path, tensors = tmp_path / "a.checkpoint", {"weight": torch.arange(6.0).reshape(2, 3)}
    Checkpoint(tensors, [{"loss": 1.5, "accuracy": 0.5, "seconds": 1.0}], [0.1], '{"epochs": 3}').write(path)
    whole = Checkpoint.read(path)
    assert torch.equal(whole.tensors["weight"], tensors["weight"]) and whole.curve[0]["loss"] == 1.5
    assert whole.rates == [0.1] and whole.made_by == '{"epochs": 3}'
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    changed = {"curve": '[{"loss": 1.4}]', "rate": "[0.2]", "made_by": '{"epochs": 4}', "sha256": "0"}
    if field == "tensors":
        save_file({"weight": tensors["weight"].reshape(3, 2)}, path, metadata=metadata)
    else:
        save_file(tensors, path, metadata=metadata | {field: changed[field]})
    with pytest.raises(ValueError, match="its checksum is wrong"):
        Checkpoint.read(path)
    if field != "tensors":
        save_file(tensors, path, metadata={name: value for name, value in metadata.items() if name != field})
        with pytest.raises(KeyError):
            Checkpoint.read(path)


@pytest.mark.parametrize("field", ["curve", "rate"])
@pytest.mark.parametrize("value", [5, None, "ab", ["a"], [["a"]], [{"loss": "a"}], {"loss": 1.0}])
def test_numbers_of_another_kind_are_damage(tmp_path, field, value):
    path, made_by = tmp_path / "a.checkpoint", "{}"
    values = {"curve": [{"loss": 1.5}], "rate": [0.1]} | {field: value}
    texts = {name: json.dumps(each) for name, each in values.items()} | {"made_by": made_by}
    save_file({}, path, metadata=texts | {"sha256": digest_of({}, *texts.values())})
    with pytest.raises(ValueError, match="its learning curve or rates are no"):
        Checkpoint.read(path)
