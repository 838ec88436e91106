"""Questions are checked before any work."""

from functools import partial

import pytest
import torch
from torch import nn

from stir.inversion.options import InversionOptions
from stir.scoring.question import Question
from stir.similarity import rbf_cka, rsa

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[:4]}, "images holds 4 image"),
        ({"measure": "cosine"}, "measure='cosine' is unknown.*linear-cka"),
        ({"also": ("cosine",)}, "measure='cosine' is unknown"),
        ({"also": ("linear-cka",)}, "nor 'linear-cka', which is measured anyway"),
        ({"also": ("rsa", "rsa")}, r"also=\['rsa', 'rsa'\] must hold no measure twice"),
        ({"also": (partial(rbf_cka, bandwidth=0.2), partial(rbf_cka))}, r"also=\['custom', 'custom'\] .* `__name__`"),
        ({"measure": lambda x, y: 0.5, "also": (lambda x, y: 0.4,)}, "nor '<lambda>', .* `__name__`"),
        ({"measure": rsa, "also": ("rsa",)}, "nor 'rsa', which is measured anyway; .* `__name__`"),
        ({"draws": 0}, "draws=0 must be a whole number, at least 1"),
        ({"draws": 2, "options": InversionOptions(seeds=torch.rand(6, 1, 4, 4))}, "same at every draw"),
        ({"layer": ""}, "layer='' names no submodule"),
        ({"given_layer": ""}, "given_layer='' names no submodule"),
        ({"worst_case": True, "options": InversionOptions(solver="paper")}, "worst_case=True has a solver of its own"),
    ],
)
def test_a_question_without_an_answer_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Question(**{"images": IMAGES, **change})


def test_the_defaults_can_be_answered():
    question = Question(IMAGES, also=("rsa",), draws=2)
    assert question.measures == ("linear-cka", "rsa") and question.seeds == "gaussian"
    assert Question(IMAGES, options=InversionOptions(seeds=IMAGES)).seeds == "given"
    narrow, wide = partial(rbf_cka, bandwidth=0.2), partial(rbf_cka, bandwidth=2.0)
    narrow.__name__ = "narrow"
    assert Question(IMAGES, measure=narrow, also=(wide, "rbf-cka")).measures == (narrow, wide, "rbf-cka")


def test_the_representation_is_that_of_the_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)).eval()
    question = Question(IMAGES, options=InversionOptions(batch_size=4, device="cpu"))
    with question.as_target("a", model) as represent:
        torch.testing.assert_close(represent(IMAGES), model[:2](IMAGES))
    options = InversionOptions(device="cpu")
    other = Question(IMAGES, layer={"a": "0", "b": "1"}, given_layer={"a": None, "b": "2"}, options=options)
    assert other.layers_of("b", "a") == ("2", "0") and other.layers_of("a", "b") == (None, "1")
    with other.as_target("a", model) as by_target, other.as_reference("b", model) as by_reference:
        torch.testing.assert_close(by_target(IMAGES), IMAGES.flatten(1))
        torch.testing.assert_close(by_reference(IMAGES), model(IMAGES))


def test_a_target_without_the_layer_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    for layer in ("stage3", {"a": "stage3"}):
        with pytest.raises(ValueError, match="^network 'a': layer='stage3' does not exist"):
            Question(IMAGES, layer=layer).check_target("a", model)
        with pytest.raises(ValueError, match="^network 'a': layer='stage3' does not exist"):
            Question(IMAGES, given_layer=layer).check_reference("a", model)


class Detached(nn.Sequential):
    """A linear probe on a frozen encoder."""

    def forward(self, x):
        return super().forward(x).detach()


class Rounds(nn.Sequential):
    def forward(self, x):
        return super().forward(x.round())


@pytest.mark.parametrize("kind", [Detached, Rounds])
def test_a_reference_without_a_gradient_is_refused_and_so_is_a_target_of_the_worst_case(kind):
    model = nn.Sequential(nn.Flatten(), kind(nn.Linear(16, 8)), nn.Linear(8, 2))
    question = Question(IMAGES, options=InversionOptions(device="cpu"))
    question.check_target("a", model)
    message = "^network 'a': layer='penultimate': no gradient passes through Sequential to the images"
    with pytest.raises(ValueError, match=message):
        question.check_reference("a", model)
    with pytest.raises(ValueError, match=message):
        Question(IMAGES, worst_case=True, options=InversionOptions(device="cpu")).check_target("a", model)
