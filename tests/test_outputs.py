"""The tensors in all that a network may return."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from stir.networks.outputs import first_tensor, logits_of, tensors_in

A, B = torch.rand(3, 4), torch.rand(3, 2)


@dataclass
class Record:
    name: str
    logits: torch.Tensor


class ModelOutput(OrderedDict):
    """Hugging Face's: a mapping whose entries are attributes as well."""

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]


@pytest.mark.parametrize(
    "output",
    [
        A,
        (A, B),
        [A],
        {"logits": A},
        {"features": B, "logits": A},
        ModelOutput(hidden=B, logits=A),
        SimpleNamespace(features=B, logits=A),
        Record("a", A),
        namedtuple("Output", "features logits")(B, A),
        ((None, A), B),
        {"scores": A, "logits": None},
    ],
)
def test_the_logits(output):
    assert logits_of(output) is A


@pytest.mark.parametrize(
    ("output", "got"),
    [
        (None, "a NoneType"),
        ([], "a list"),
        ({"logits": "many"}, "a dict"),
        (SimpleNamespace(x=A), "a SimpleNamespace"),
        (torch.rand(2, 3, 4), r"a tensor of shape \(2, 3, 4\)"),
    ],
)
def test_no_logits(output, got):
    with pytest.raises(ValueError, match=rf"must be logits \[N, K\], .* not {got}; wrap it in a module that returns"):
        logits_of(output)


def test_all_tensors_in_their_order():
    found = [*tensors_in({"a": (A, [B]), "b": Record("c", A), "d": 3})]
    assert len(found) == 3 and found[0] is A and found[1] is B and found[2] is A
    assert first_tensor({"a": [], "b": (1, B)}) is B and first_tensor("text") is None
