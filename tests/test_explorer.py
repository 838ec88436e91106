"""The data that the explorer's page holds; what a browser makes of them is tested with the book."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stir.study.explorer import explorer, strips
from stir.study.pictures import Descent, sprite

NETWORKS = {"a, seed 0": ("a", "seed 0"), "a, seed 1": ("a", "seed 1")}
IMAGES = torch.randint(256, (3, 1, 4, 5), generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture
def pairs():
    rows = [
        {"reference": one, "target": other, "reference_layer": layer, "stir": 0.123456, "stir_low": 0.1,
         "stir_high": 0.2, "cka": 0.9, "cka_low": 0.8, "cka_high": 1.0, "pixels": float("nan"),
         "n_images": 7, "steps": 9}
        for one in NETWORKS for other in NETWORKS for layer in ("first", "last")
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def descents():
    made = {}
    for number, (name, layer) in enumerate((name, layer) for layer in ("last", "first") for name in NETWORKS):
        way = torch.stack([IMAGES.roll(number), IMAGES.flip(0)])
        made[name, layer] = Descent((0, 4, 9), sprite(way), {each: torch.rand(3, 3) for each in NETWORKS})
    return made


def page(descents, pairs, **changed):
    about = {"networks": NETWORKS, "images": IMAGES, "seeds": 2 * IMAGES - 1, "labels": ["one", "two", "three"]}
    return explorer(descents, pairs, **about | {"dataset": "some images"} | changed)


def data(text):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def pixels(uri):
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_the_page_holds_what_was_measured(descents, pairs):
    assert "<noscript>" in page(descents, pairs)
    held = data(page(descents, pairs))
    assert held["steps"] == [0, 4, 9] and [*held["layers"]] == ["last", "first"] and held["size"] == [4, 5]
    assert held["measured"] == {"images": 7, "steps": 9} and held["dataset"] == "some images"
    assert [each["name"] for each in held["networks"]] == list(NETWORKS)
    columns = (IMAGES * 255).round().numpy()[:, 0]
    assert np.array_equal(pixels(held["x"]), np.hstack(columns))
    assert np.array_equal(pixels(held["seed"]), np.hstack((IMAGES * 510 - 255).round().clamp(0, 255).numpy()[:, 0]))
    for each, (key, descent) in zip(held["descents"], descents.items(), strict=True):
        assert (each["reference"], each["layer"]) == key
        last = pixels(each["sprite"])[4:].astype(float)
        assert np.abs(last - np.hstack(columns[::-1])).max() <= 255 / 31 / 2 + 0.5  # the nearest of 32 levels
        for name, seen in each["distances"].items():
            assert np.allclose(seen, descent.distances[name], rtol=1e-3)
    assert len(held["scores"]) == 8
    assert held["layers"]["first"] == "the layer “first”"  # those of our own networks have other names
    first = held["scores"][0]
    assert first["stir"] == 0.1235 and first["cka_high"] == 1.0 and "pixels" not in first  # NaN is no JSON


def test_names_are_text(descents, pairs):
    hostile = "</script><script>alert(1)</script>"
    text = page(descents, pairs, labels=[hostile, "two", "three"], dataset=hostile)
    assert text.count("</script>") == 2  # the data, and what shows them
    assert data(text)["labels"][0] == data(text)["dataset"] == hostile


@pytest.mark.parametrize("spoil", [lambda pairs: pairs[1:], lambda pairs: pd.concat([pairs, pairs[:1]])])
def test_each_pair_is_there_once(descents, pairs, spoil):
    with pytest.raises(ValueError, match="pairs must hold each pair of networks at each layer once"):
        page(descents, spoil(pairs))


def test_strips_show_each_row_and_say_what_it_is():
    text = strips({"image <x>": IMAGES, "x', 4 steps": IMAGES.flip(0)}, ["one", "two", "three"])
    rows = re.findall(r'<th scope="row">(.*?)</th><td colspan="3"><img src="(.*?)" alt="(.*?)"', text)
    assert [name for name, _, _ in rows] == ["image &lt;x&gt;", "x&#x27;, 4 steps"]
    assert rows[1][2] == "3 pictures, x&#x27;, 4 steps: one, two, three"
    wanted = np.hstack((IMAGES * 255).round().numpy()[::-1, 0])
    times = 9  # 15 pixels become 128 or more
    difference = pixels(rows[1][1]) - wanted.repeat(times, axis=0).repeat(times, axis=1)
    assert np.abs(difference).max() <= 255 / 31 / 2 + 0.5  # the nearest of 32 levels
