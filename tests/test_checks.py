"""Allowed values of parameters, alone and together."""

import math
import shutil

import pytest
from helpers.project import PROJECT, TINY, notebook

from stir.book import checks, parameters
from stir.book.lookup import load_scale
from stir.inversion.options import InversionOptions
from stir.training.recipe import Recipe


@pytest.mark.parametrize("name", TINY)
def test_what_runs_is_allowed(name):
    checks.check_values(notebook(name), {})
    checks.check_values(notebook(name), TINY[name])
    checks.check_values(notebook(name), load_scale(PROJECT, "digits", notebook(name)))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("initialization", {"dataset": "digitz"}, "dataset='digitz' is unknown; did you mean 'digits'"),
        ("initialization", {"architecture": "resnet1"}, "architecture='resnet1' is unknown; did you mean"),
        ("initialization", {"architecture": "torchvision:resnet0"}, "architecture='torchvision:resnet0' is unknown"),
        ("initialization", {"layers": ["stage9"]}, "layers\\[0\\]='stage9' does not exist in resnet10; did you mean"),
        ("initialization", {"layers": []}, "layers=\\[\\] must hold at least one"),
        ("initialization", {"solver": "sgd"}, "solver='sgd' is unknown; use one of tethered, nearest, paper"),
        ("initialization", {"solvers": ["sgd"]}, "solvers\\[0\\]='sgd' is unknown; use one of tethered"),
        ("initialization", {"losses": ["standard", "robust"]}, "losses\\[1\\]='robust' is unknown; use one of stand"),
        ("initialization", {"losses": ["standard"]}, "must be 'standard' and then 1 robust loss"),
        ("initialization", {"seeds": [0]}, "seeds=\\[0\\] must be at least 2 seeds, none twice"),
        ("initialization", {"seeds": [0, -1]}, "seeds\\[1\\]=-1 must be 0 or more"),
        ("initialization", {"n_images": 1}, "n_images=1 must be 5 or more"),
        ("initialization", {"n_images": 398}, "n_images=398 must lie between 5 and 397, all test images"),
        ("initialization", {"n_train": 1401}, "n_train=1401 must lie between 1 and the 1400 training images"),
        ("initialization", {"tolerance": math.inf}, "tolerance=inf must be above 0, and finite"),
        ("initialization", {"measures": []}, "measures=\\[\\] must hold at least one"),
        ("initialization", {"measures": ["rsa", "rsa"]}, "must hold no measure twice"),
        ("initialization", {"seed_images": "white", "draws": 2}, "draws=2: these seeds are the same at every draw"),
        ("initialization", {"device": "gpu"}, "device='gpu' cannot be used here"),
        ("initialization", {"dataset": "folder:/nowhere"}, "there is no folder '/nowhere/train'"),
        ("initialization", {"unreadable": "drop"}, "unreadable='drop' is unknown; use one of refuse, skip"),
        ("initialization", {"n_images": "many"}, "must be of type int"),
        ("initialization", {"n_image": 3}, "did you mean 'n_images'"),
        ("explorer", {"at": [0, 200]}, "at\\[0\\]=0 must be 1 or more"),
        ("explorer", {"at": [5, 1]}, "at=\\[5, 1\\] must be whole numbers that rise"),
        ("explorer", {"at": []}, "at=\\[\\] must be whole numbers that rise"),
        ("explorer", {"shown_seeds": [0, 3]}, "shown_seeds=\\[0, 3\\] must be some of seeds"),
        ("architecture", {"architectures": ["resnet10", "resnet10-noskip", "vgg11"]}, "must hold two ResNets, each"),
        ("loss", {"given_layer": "stag3"}, "^given_layer='stag3' does not exist in resnet10; did you mean 'stage3'"),
        ("architecture", {"layer": "stage5"}, "layer='stage5' does not exist in resnet10"),  # VGGs have it
        ("loss", {"losses": ["standard", "mart"]}, "two robust losses or more"),
        ("dataset", {"labels": ["a", "a"]}, "labels=.* must be different names"),
        ("dataset", {"labels": ["a"]}, "labels=.* must hold two entries"),
        ("dataset", {"classes": ["0-4", "0-4"]}, "labels=.* must be different names"),
        ("dataset", {"classes": ["0-4"]}, "classes=.* must hold two entries"),
        ("dataset", {"classes": ["0-4", "5-10"]}, "10"),
        ("robustness", {"epsilons": [0.5, 1, 2]}, "must be three radii or more that rise from 0"),
        ("robustness", {"loss": "standard"}, "loss='standard' must be a robust loss"),
        ("updates", {"sizes": [100, 200]}, "must be three numbers or more, rising"),
        ("updates", {"sizes": [100, 200, 2000]}, "n_train=2000 must lie between"),
        ("updates", {"seeds": [0, 1]}, "at least 3 seeds"),
        ("controversial", {"worst_steps": 0}, "worst_steps=0 must be 1 or more"),
        ("measure", {"image_counts": [10, 400]}, "image_counts=.* must be at most 397"),
        ("measure", {"known_seeds": [1]}, "known_seeds=\\[1\\] must be at least 2 seeds"),
        ("networks", {"augmentation": "flip"}, "augmentation='flip' is unknown; use one of none, shift"),
        ("networks", {"label_smoothing": 1.0}, "label_smoothing=1.0 must be 0 or more, below 1"),
    ],
)  # fmt: skip
def test_what_is_refused(name, values, message):
    with pytest.raises(ValueError, match=message) as error:
        checks.check_values(notebook(name), values)
    assert "\n" not in str(error.value)
    # The same inside the notebook.
    declared = parameters.declared(notebook(name))
    namespace = {each: parameter.value for each, parameter in declared.items()} | values
    types = {each: parameters.TYPES[parameter.type] for each, parameter in declared.items()}
    with pytest.raises(ValueError, match=message):
        checks.check_notebook(name, {"__annotations__": types, **namespace})


def test_ranges_are_those_of_the_package(unchecked):
    """The package refuses, in its own words, what lies just outside."""
    for name in ("epochs", "batch_size", "attack_steps", "epsilon", "learning_rate", "weight_decay"):
        _refused_by(lambda value, name=name: Recipe(**{name: value}), checks.ALLOWED[name])
    for name in ("label_smoothing", "augmentation_strength"):
        _refused_by(lambda value, name=name: Recipe(**{name: value}), checks.ALLOWED[name])
    for name in ("steps", "tolerance"):
        _refused_by(lambda value, name=name: InversionOptions(**{name: value}), checks.ALLOWED[name])


def _refused_by(make, allowed):
    least = int(allowed.least) if allowed.least == 1 else allowed.least
    outside = [least if allowed.above else least - 1] + ([allowed.below] if math.isfinite(allowed.below) else [])
    for value in outside:
        with pytest.raises(ValueError):  # noqa: PT011, its words are tested elsewhere
            make(value)
    make(least + 0.5 if allowed.above else least)


def test_every_parameter_that_has_allowed_values_is_declared_somewhere():
    declared = {name for path in (PROJECT / "notebooks").glob("*.ipynb") for name in parameters.declared(path)}
    assert set(checks.ALLOWED) <= declared
    assert set(checks.RULES) <= {path.stem for path in (PROJECT / "notebooks").glob("*.ipynb")}


def test_a_folder_is_looked_at_before_a_run(folder):
    root, _ = folder
    page = notebook("initialization")
    given = {"dataset": f"folder:{root}", "n_images": 5}
    with pytest.raises(ValueError, match="n_images=5 must lie between 5 and 2, all test images"):
        checks.check_values(page, given)
    with pytest.raises(ValueError, match="n_train=7 must lie between 1 and the 6 training images"):
        checks.check_values(page, {**given, "n_train": 7})
    shutil.rmtree(root / "test" / "dog")
    with pytest.raises(ValueError, match="must hold the same classes"):
        checks.check_values(page, given)
