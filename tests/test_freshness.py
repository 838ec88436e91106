"""Pages are stale after any change of what they depend on."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.project import TINY, notebook

from stir.book import freshness

NOTEBOOK, TINY_ONE = notebook("initialization"), TINY["initialization"]


def source(name: str, folder: Path) -> Path:
    """The notebook that a page in `folder` was made of."""
    return notebook(name, folder.parents[2])


def test_pages_of_tables_follow_the_tables(executed, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(executed.parents[2], project)
    folder, others = project / "book" / "runs" / "digits", project / "others"
    assert all(freshness.reads_tables(notebook(name)) for name in ("glance", "measures", "solvers", "cost"))
    assert not freshness.reads_tables(NOTEBOOK)
    beside = {"beside": str(executed.parents[2] / "others")}
    values = {"glance": beside, "measures": {}, "solvers": {}, "cost": {}}
    assert all(freshness.is_current(source(name, folder), each, folder) for name, each in values.items())
    table = folder / "loss-verdicts.csv"
    table.write_text(table.read_text().replace("supported", "contradicted"))
    assert not freshness.is_current(source("glance", folder), beside, folder)
    # Nor is the page vouched for any more that wrote the table; the others are.
    assert not freshness.is_current(source("loss", folder), TINY["loss"], folder)
    assert freshness.is_current(source("dataset", folder), TINY["dataset"], folder)
    before = freshness.fingerprint(source("glance", folder), {"beside": str(others)}, folder)
    (others / "loss-verdicts.csv").write_text("")
    assert freshness.fingerprint(source("glance", folder), {"beside": str(others)}, folder) != before


def test_a_page_of_benchmarks_follows_their_files(executed, tmp_path):
    assert freshness.is_current(source("performance", executed), TINY["performance"], executed)
    folder, benchmarks = tmp_path / "book" / "runs" / "digits", tmp_path / "book" / "benchmarks"
    benchmarks.mkdir(parents=True)
    before = freshness.fingerprint(notebook("performance"), {}, folder)
    (benchmarks / "one.jsonl").write_text("{}")
    assert freshness.fingerprint(notebook("performance"), {}, folder) != before


def test_a_change_makes_a_page_stale(executed):
    one = source("initialization", executed)
    assert freshness.is_current(one, TINY_ONE, executed)
    assert not freshness.is_current(one, {**TINY_ONE, "steps": 4}, executed)
    assert not freshness.is_current(one, TINY_ONE, executed / "nowhere")


def test_a_change_in_any_module_makes_pages_stale(tmp_path, monkeypatch):
    package = Path(shutil.copytree(Path(freshness.__file__).parents[1], tmp_path / "stir"))
    monkeypatch.setattr(freshness, "__file__", str(package / "book" / "freshness.py"))
    before = freshness.fingerprint(NOTEBOOK, {}, tmp_path)
    modules = sorted(package.rglob("*.py"))
    assert {package / "cli.py", package / "inversion" / "seeds.py"} <= set(modules)
    for module in modules:
        source = module.read_bytes()
        module.write_bytes(source + b"\n")
        after = freshness.fingerprint(NOTEBOOK, {}, tmp_path)
        assert [part for part in before if before[part] != after[part]] == ["package"], module
        module.write_bytes(source)
    assert freshness.fingerprint(NOTEBOOK, {}, tmp_path) == before
    (package / "inversion" / "seeds.py").rename(package / "similarity" / "seeds.py")
    assert freshness.fingerprint(NOTEBOOK, {}, tmp_path) != before


REWRITTEN = {
    "longer": lambda root: (root / "cat" / "a.ppm").write_bytes(b"P6 2"),
    "as long": lambda root: (root / "cat" / "a.ppm").write_bytes(b"P7"),
    "under the same date": lambda root: (
        (root / "cat" / "a.ppm").write_bytes(b"P7"),
        os.utime(root / "cat" / "a.ppm", ns=(0, 0)),
    ),
    "exchanged": lambda root: [
        os.rename(root / first, root / second) for first, second in [("cat", "x"), ("dog", "cat"), ("x", "dog")]
    ],
    "more": lambda root: (root / "cat" / "b.ppm").write_bytes(b""),
    "fewer": lambda root: (root / "dog" / "a.ppm").unlink(),
    "renamed": lambda root: os.rename(root / "dog", root / "bird"),
}


@pytest.mark.parametrize("value", ["dataset", "datasets"])
@pytest.mark.parametrize("rewritten", REWRITTEN)
def test_a_page_follows_its_folder_of_images(tmp_path, rewritten, value):
    root = tmp_path / "images"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        (root / name / "a.ppm").write_bytes(b"P6")
        os.utime(root / name / "a.ppm", ns=(0, 0))
    (root / "dog" / "loop").symlink_to(root)
    (root / "dog" / "broken.ppm").symlink_to(root / "nowhere")
    folder = {"dataset": f"folder:{root}", "datasets": ["digits", f"folder:{root}"]}[value]
    page = notebook("initialization" if value == "dataset" else "dataset")

    def fingerprint():
        return freshness.fingerprint(page, {value: folder}, tmp_path)

    before = fingerprint()
    assert fingerprint() == before
    REWRITTEN[rewritten](root)
    assert fingerprint() != before
