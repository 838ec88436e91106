"""Data sets whose card was kept: the same data set, loaded when it is needed."""

import numpy as np
import pytest
import torch
from helpers.networks import TINY, same
from joblib.externals.loky import get_reusable_executor
from PIL import Image

import stir
from stir.data.deferred import DeferredImages, DeferredSplit, fingerprint, image_fingerprints
from stir.data.images import gather_images


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """A store with a small data set in the layout and at the place of "cifar10-jpeg"."""
    monkeypatch.setenv("STIR_STORE", str(tmp_path))
    monkeypatch.delenv("STIR_EVIDENCE", raising=False)
    generator = np.random.default_rng(0)
    for split, count in {"train": 8, "test": 6}.items():
        for kind in ("cat", "dog"):
            folder = tmp_path / "downloads" / "cifar10-jpeg" / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "downloads" / "cifar10-jpeg"


def load(**options):
    return stir.load_dataset("cifar10-jpeg", progress=False, **options)


def test_a_deferred_data_set_is_the_one_that_was_loaded(downloads):
    whole = load()
    first, again = load(deferred=True), load(deferred=True)
    assert torch.equal(first.test.images, whole.test.images)
    assert isinstance(again.test, DeferredSplit) and isinstance(again.train, DeferredSplit)
    for name in ("name", "classes", "channels", "normalization", "fingerprint"):
        assert getattr(again, name) == getattr(whole, name), name
    assert whole.name == "CIFAR-10 (JPEG)" and len(again.test) == 12 and again.train.shape == (16, 3, 8, 8)
    assert torch.equal(again.test.one_of_each(4), whole.test.one_of_each(4))
    images = again.test.take(7)
    assert isinstance(images, DeferredImages) and len(images) == 7 and len(images[:5]) == 5
    assert fingerprint(images[:5]) == fingerprint(whole.test.take(5))
    assert torch.equal(gather_images(images[:5]), whole.test.take(5))
    assert torch.equal(again.train[:].labels, whole.train.labels)


def test_parts_have_cards_of_their_own(downloads):
    few = load(n_train=4, deferred=True)
    assert load(n_train=4, deferred=True).fingerprint == few.fingerprint == load(n_train=4).fingerprint
    assert len(load(n_train=6, deferred=True).train) == 6
    assert load(classes="dog, cat", deferred=True).classes == load(classes="dog, cat", deferred=True).classes


def test_without_images_only_pixels_are_refused(downloads):
    networks = load(deferred=True)
    downloads.rename(downloads.parent / "elsewhere")
    again = load(deferred=True)
    assert again.fingerprint == networks.fingerprint
    assert fingerprint(again.test.take(5)) == fingerprint(networks.test.take(5))
    for ask in (lambda: again.train.images, lambda: gather_images(again.test.take(5)), lambda: again.test.labels):
        with pytest.raises(ValueError, match=r"images of CIFAR-10 \(JPEG\) are needed, and are not in"):
            ask()
    with pytest.raises(ValueError, match="are needed"):
        load()


def test_images_that_were_exchanged_are_noticed(downloads):
    load(deferred=True)
    before = load(deferred=True)
    Image.new("RGB", (8, 8), "red").save(downloads / "test" / "cat" / "0.png")
    after = load(deferred=True)
    assert after.fingerprint != before.fingerprint and after.fingerprint == load().fingerprint
    with pytest.raises(ValueError, match="are others than those that were measured on"):
        _ = before.test.images


def test_only_the_first_images_can_be_taken_unseen(downloads):
    load(deferred=True)
    images = load(deferred=True).test.take(6)
    for index in (slice(1, 3), slice(None, None, 2)):
        with pytest.raises(TypeError, match=r"images\[:n\]"):
            images[index]
    with pytest.raises(ValueError, match="n_images=4 must lie between 5 and 12"):
        load(deferred=True).test.take(4)


def test_digits_and_folders_are_never_deferred(downloads):
    assert not isinstance(stir.load_dataset("digits", deferred=True).test, DeferredSplit)
    for _ in range(2):
        assert not isinstance(stir.load_dataset(f"folder:{downloads}", deferred=True).test, DeferredSplit)


def test_a_fingerprint_tells_pixels_order_shape_and_type_apart():
    images = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[5, 2, 3, 3] += 1e-7
    others = [changed, images.flip(0), images[:5], images.reshape(6, 3, 2, 8), images.double()]
    assert len({fingerprint(each) for each in [images, *others]}) == 6
    assert fingerprint(images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)) == fingerprint(images)
    assert len(set(image_fingerprints(images))) == 6


def test_a_deferred_data_set_trains_networks_in_other_processes(downloads):
    load(deferred=True)
    data = load(deferred=True)
    get_reusable_executor().shutdown()  # processes of earlier tests have the store of those
    torch.set_num_threads(2)
    try:
        models = stir.trained_models(
            {"a": {"seed": 0}, "b": {"seed": 1}}, architecture="resnet10", dataset=data, **TINY
        )
    finally:
        torch.set_num_threads(1)
    alone = stir.trained_model("resnet10", dataset=load(), seed=1, **TINY)
    assert same(models["b"], alone) and models.cards["b"] == alone.card
