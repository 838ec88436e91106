"""What findings cost, against the cards that tell it and against closed forms."""

import json

import pandas as pd
import pytest
from helpers.networks import TINY

from stir.book import cost, evidence
from stir.scoring.score import pairwise
from stir.training.trained import trained_models


@pytest.fixture
def folder(small, own_store, tmp_path, monkeypatch):
    """Pages that have used networks and pairs, of which the second repeats some; and the networks' cards."""
    cards = {}
    for page, seeds in {"loss": [0, 1], "initialization": [0]}.items():
        monkeypatch.setenv("STIR_USED", str(tmp_path / f"{page}.log"))
        networks = {f"{loss} {seed}": {"loss": loss, "seed": seed} for loss in ("standard", "mart") for seed in seeds}
        models = trained_models(networks, architecture="resnet10", dataset=small, **TINY)
        pairwise(models, small.test.images[:8], steps=3, device="cpu", progress=False, tolerance=2.0)
        used = evidence.read_log(tmp_path / f"{page}.log")
        (tmp_path / f"{page}{evidence.USED}").write_text(json.dumps(used))
        cards[page] = models.cards
    return tmp_path, cards


@pytest.mark.filterwarnings("ignore")  # three steps converge to nothing
def test_what_was_spent_is_what_the_cards_say_each_once(folder):
    path, cards = folder
    table = cost.spent(path)
    assert list(dict.fromkeys(table.page)) == ["initialization", "loss"]  # the order of the book
    new = table[~table.again]
    assert new.training.sum() == pytest.approx(sum(card["seconds"] for card in cards["loss"].values()))
    assert table[table.page == "loss"].training.count() == 4 and new[new.page == "loss"].training.count() == 2
    measured = table[table.training.isna()]
    assert set(measured.image_steps) == {8 * 3} and set(measured.n_images) == {8}
    assert (measured[["inversion", "scores"]] > 0).all(axis=None)
    assert set(measured.loss) == {"standard", "mart"} and set(table.width) == {TINY["width"]}


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no page that has used a network; run the findings first"):
        cost.spent(tmp_path)


def test_operations_go_with_the_square_of_the_width():
    # 0.56e9 multiplications and additions are published for a ResNet18 on 32x32 images.
    assert cost.operations("resnet18", 64) == pytest.approx(2 * 0.556e9, rel=0.01)
    assert cost.operations("resnet18", 128) == pytest.approx(4 * cost.operations("resnet18", 64), rel=0.02)


def test_full_scale_in_closed_form():
    network = {"page": "loss", "again": False, "training": 5.0, "width": 16, "n_images": None}
    measurement = {"page": "loss", "again": False, "training": None, "width": 16, "architecture": "resnet18"}
    table = pd.DataFrame(
        [
            network | {"architecture": "resnet18", "loss": "standard"},
            network | {"architecture": "resnet18", "loss": "trades"},
            network | {"architecture": "resnet18", "loss": "mart", "again": True},
            measurement | {"loss": "standard", "n_images": 256},
            measurement | {"loss": "trades", "n_images": 24},  # a check by another solver
        ]
    )
    sizes = dict(width=64, epochs=10, train_images=3600, attack_steps=7, n_images=100, steps=36)
    hours = cost.at_full_scale(table, **sizes, training_rate=10.0, inversion_rate=5.0)
    assert hours.loc["loss", "training"] == pytest.approx((1 + 8) * 10 * 3600 / 10 / 3600)
    assert hours.loc["loss", "inversion"] == pytest.approx(100 * 36 / 5 / 3600)
