"""Which runs need no images; `test_evidence` has one that runs, and one that is refused."""

import json

import pytest
from helpers.project import PROJECT, notebook, write_project

from stir.book import evidence, kept_runs, runner
from stir.book.lookup import load_scale
from stir.book.staging import move_files, staging

SCALE = "cifar10-cpu"
PAGES = evidence.pages(PROJECT)[SCALE]


def values_of(name, **changed):
    return load_scale(PROJECT, SCALE, notebook(name)) | changed


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_the_evidence_need_no_images(name, own_store):
    assert runner.check(notebook(name), values_of(name, device="cpu")) == []
    with pytest.raises(ValueError, match=r"link to such a folder\. --fresh measures again what is kept$"):
        runner.check(notebook(name), values_of(name), fresh=True)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("loss", {"seeds": [0, 1], "losses": ["standard", "trades", "adversarial-l2"], "solvers": ["nearest"]}),
        ("initialization", {"seeds": [0, 1], "layers": ["stage3", "penultimate"], "progress": True}),
        ("explorer", {"layers": ["penultimate"], "seeds": [0, 1]}),
        ("networks", {"architectures": ["vgg16"], "losses": ["standard", "trades"]}),
        ("dataset", {"seeds": [0, 1], "labels": ["animals", "others"]}),
        ("controversial", {"solvers": []}),
    ],
)
def test_a_part_of_what_is_kept_needs_none_either(name, changed, own_store):
    assert runner.check(notebook(name), values_of(name, **changed)) == []


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("loss", {"n_images": 500}, "n_images=256 in place of 500, with these losses, seeds, solvers or some of them$"),
        ("loss", {"n_train": 9}, "n_train=20000 in place of 9, with"),  # whose card is not kept
        ("loss", {"seeds": [1, 2]}, r"seeds=\[0, 1, 2\] in place of \[1, 2\], with these losses, solvers or"),
        ("loss", {"losses": ["standard", "trades", "mart-l2"]}, 'losses=.* in place of .*"mart-l2"'),
        (
            "loss",
            {"layer": "stage3", "steps": 50},
            'layer="penultimate" in place of "stage3", steps=200 in place of 50',
        ),
        ("initialization", {"layers": ["penultimate", "stage3"]}, "layers=.* in place of"),
        ("dataset", {"classes": ["0-3", "4-9"]}, "classes=.* in place of"),
        ("measure", {}, "Nothing that this notebook measures on them is kept$"),
    ],
)
def test_what_is_not_kept_is_refused_where_there_are_no_images(name, changed, told, own_store):
    with pytest.raises(ValueError, match=rf"^dataset='cifar10-jpeg': the images .* to such a folder\. .*{told}"):
        runner.check(notebook(name), values_of(name, **changed))


def test_a_wrong_value_is_told_before_images(own_store):
    for name, value in {"layer": "stage9", "solver": "sgd", "seeds": [0]}.items():
        with pytest.raises(ValueError, match=f"^{name}="):
            runner.check(notebook("loss"), values_of("loss", **{name: value}))


def test_a_page_that_was_executed_here_counts_while_its_measurements_are_in_the_store(tmp_path, own_store):
    source = write_project(tmp_path, "own", "n: int = 1  # help\nseeds: list = [0, 1, 2]  # help")
    record = own_store.parent / "measured" / "some.json"
    record.parent.mkdir(parents=True)
    record.touch()
    assert kept_runs.to_measure(source, {}) is None
    with staging(tmp_path / "runs" / "digits" / "own-n=2", ".running-") as staged:
        (staged / f"own{evidence.USED}").write_text(json.dumps({"measured/some.json": "measured"}))
        move_files(staged, staged.parent / "own.json", {"parameters": {"n": 2}})
    assert kept_runs.to_measure(source, {"n": 2, "seeds": [0, 1]}) == {}
    assert kept_runs.to_measure(source, {"n": 3, "seeds": [1]}) == {"n": (2, 3), "seeds": ([0, 1, 2], [1])}
    assert kept_runs.to_measure(source, {}) == {"n": (2, 1)}
    record.unlink()
    assert kept_runs.to_measure(source, {"n": 2}) is None
