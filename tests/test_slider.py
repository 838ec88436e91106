"""The figure with a slider: its data are the descents', and without JavaScript it shows their ends."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from stir.study.pictures import Descent, sprite
from stir.study.slider import Pair, slider

X, SEED = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
NETWORKS = ("a", "b")


def pair(steps=(0, 4, 9)):
    draws = torch.Generator().manual_seed(1)
    way = torch.rand(len(steps) - 1, 2, 3, 4, 4, generator=draws)
    distances = {name: torch.rand(len(steps), 2, generator=draws) for name in NETWORKS}
    return Pair(Descent(steps, sprite(way), distances), *NETWORKS)


def figure(pairs, **changed):
    return slider(pairs, X, 2 * SEED - 0.5, **{"number": 1, "shows": "cat", "caption": "<i>x</i>"} | changed)


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_row_has_the_frames_and_the_distances_of_its_descent():
    pairs = {"standard": pair(), "robust": pair()}
    text = figure(pairs)
    assert json.loads(re.search(r'data-steps="(.*?)"', text)[1]) == [0, 4, 9]
    pictures = [pixels(uri) for uri in re.findall(r'<img src="(.*?)"', text)]
    assert [picture.shape for picture in pictures] == [(4, 4, 3), (12, 4, 3)] * 2
    assert np.array_equal(pictures[0], (X * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    frames = torch.stack([(2 * SEED - 0.5).clamp(0, 1), *pairs["robust"].descent.images[:, 1]])
    expected = 255 * frames.permute(0, 2, 3, 1).reshape(12, 4, 3).numpy()
    assert np.abs(pictures[3] - expected).max() <= 255 / 31 / 2 + 0.5  # the nearest of 32 levels
    values = [json.loads(each) for each in re.findall(r'data-values="(.*?)"', text)]
    assert np.allclose(values[2:], [pairs["robust"].descent.distances[name][:, 1] for name in NETWORKS], rtol=1e-3)
    most = float(re.search(r'data-most="(.*?)"', text)[1])
    assert most == pytest.approx(max(map(max, values)), rel=1e-3)
    assert re.findall(r"<b>(.*?)</b>", text) == [f"{each[-1]:.2f}" for each in values]
    widths = [float(each) for each in re.findall(r"width:(.*?)%", text)]
    assert np.allclose(widths, [100 * each[-1] / most for each in values], atol=0.1)


def test_words_are_text():
    text = figure({"<b>": pair()}, shows='"cat"')
    assert '<th scope="row">&lt;b&gt;</th>' in text and 'alt="the test image x, which shows: &quot;cat&quot;"' in text


def test_all_descents_have_the_same_steps():
    with pytest.raises(ValueError, match=r"same steps, not \[\(0, 4, 8\), \(0, 4, 9\)\]"):
        figure({"standard": pair(), "robust": pair((0, 4, 8))})
