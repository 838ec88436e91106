"""A page is made again where there are neither images nor weights, from what its first run has kept."""

import json
import os
import re
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner
from helpers.project import TINY, notebook
from pandas.testing import assert_frame_equal
from PIL import Image

from stir.book import evidence
from stir.cli import main
from stir.kept import Record, circumstances


@pytest.fixture
def project(tmp_path):
    """A project of one notebook, whose images only one of two stores has."""
    project = tmp_path / "project"
    (project / "notebooks" / "scales").mkdir(parents=True)
    shutil.copy(notebook("initialization"), project / "notebooks")
    values = TINY["initialization"] | {"dataset": "cifar10-jpeg", "n_train": 0, "n_images": 12}
    (project / "notebooks" / "scales" / "tiny.yml").write_text(yaml.safe_dump(values))
    generator = np.random.default_rng(0)
    for split, count in {"train": 20, "test": 6}.items():
        for kind in ("cat", "dog", "eel"):
            folder = tmp_path / "full" / "downloads" / "cifar10-jpeg" / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return project


def stir_in(project, store, *arguments):
    """Run the command line with one of the stores, in this process; return how it ended."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("STIR_")]:
            patch.delenv(name)
        patch.setenv("STIR_STORE", str(project.parent / store))
        patch.chdir(project)
        result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception  # no traceback
    return result


def test_a_page_is_made_again_from_the_evidence_alone(project):
    page = project / "book" / "runs" / "tiny"
    run = ["run", "initialization", "--scale", "tiny"]

    def on_what_it_ran():
        return json.loads((page / "initialization.ipynb").read_text())["cells"][-1]["source"]

    done = stir_in(project, "full", *run)
    assert done.exit_code == 0, done.stderr
    first = pd.read_csv(page / "initialization.csv")
    assert re.search(r"Of its (\d+) measurements \1 were made in this run\.", "".join(on_what_it_ran()))
    pixels = (page / "initialization-concept.png").read_bytes()

    # Without evidence a store that has nothing cannot do it, and says what is missing.
    done = stir_in(project, "empty", *run)
    assert done.exit_code != 0 and "images of CIFAR-10 (JPEG) are needed" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr

    done = stir_in(project, "full", "keep", "initialization", "--scale", "tiny")
    assert done.exit_code == 0, done.stderr
    kept = [path for path in evidence.folder_of(project).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 1e6
    assert {path.parent.name for path in kept} == {"measured", "models", "tiny"}
    assert not any("safetensors" in path.name for path in kept if path.parent.name == "models")  # no weights

    shutil.rmtree(project.parent / "full")
    shutil.rmtree(page)
    done = stir_in(project, "empty", *run)
    assert done.exit_code == 0, done.stderr
    assert_frame_equal(pd.read_csv(page / "initialization.csv"), first, check_exact=True)
    assert (page / "initialization-concept.png").read_bytes() == pixels
    told = r"Of its (\d+) measurements none were made in this run\. \1 are from the evidence: made on .*, \d{4}-"
    assert re.search(told, "".join(on_what_it_ran()))
    assert not list((project.parent / "empty").rglob("*.safetensors"))

    # Kept again, from the evidence itself, nothing of it is lost.
    done = stir_in(project, "empty", "keep", "initialization", "--scale", "tiny")
    assert done.exit_code == 0, done.stderr
    assert sorted(path for path in evidence.folder_of(project).rglob("*") if path.is_file()) == sorted(kept)

    # What the evidence does not hold is not made up.
    (project / "notebooks" / "scales" / "tiny.yml").write_text(
        (project / "notebooks" / "scales" / "tiny.yml").read_text().replace("n_images: 12", "n_images: 13")
    )
    done = stir_in(project, "empty", *run)
    assert done.exit_code == 1 and "images of CIFAR-10 (JPEG) are needed" in done.stderr
    assert "n_images=12 in place of 13" in done.stderr and "failed" not in done.stderr  # nothing has started


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Names of three records of a store."""
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("STIR_EVIDENCE", raising=False)
    names = []
    for number in range(3):
        record = Record({"kind": "pictures", "number": number})
        record.keep({}, {"x": torch.rand(3)} if number == 2 else None, how=circumstances("a machine", inversion=1.5))
        names.append(f"measured/{record.key}.json")
    return names


def files(tmp_path):
    folder = evidence.folder_of(tmp_path)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_page_lacks_is_told(tmp_path, stored, monkeypatch):
    evidence.keep(tmp_path, "loss", "tiny", {}, dict.fromkeys(stored, "measured"))
    assert evidence.lacking(tmp_path, "loss", "tiny") == evidence.lacking(tmp_path, "dataset", "tiny") == ""
    with monkeypatch.context() as patch:
        patch.setattr("stir.kept.MEASURING_VERSION", 0)
        told = evidence.lacking(tmp_path, "loss", "tiny")
        assert told.startswith("4 of its 4 files are of another format than today's, such as ")
    (evidence.folder_of(tmp_path) / stored[0]).unlink()
    (evidence.folder_of(tmp_path) / stored[2]).with_suffix(".safetensors").unlink()
    told = evidence.lacking(tmp_path, "loss", "tiny")
    assert re.match(
        r"[23] of its 4 files are missing or damaged, such as \w+\.\w+; where the images are, run `stir", told
    )


def test_what_no_page_uses_any_more_is_removed(tmp_path, stored):
    a, b, c = stored
    evidence.keep(tmp_path, "loss", "tiny", {}, dict.fromkeys([a, c], "measured"))
    evidence.keep(tmp_path, "dataset", "tiny", {}, dict.fromkeys([b, c], "measured"))
    evidence.keep(tmp_path, "loss", "tiny", {"n": 1}, dict.fromkeys([b], "kept"))
    tensors = c.replace(".json", ".safetensors")
    assert set(files(tmp_path)) == {b, c, tensors, "pages/tiny/loss.json", "pages/tiny/dataset.json"}
    assert evidence.pages(tmp_path) == {"tiny": ["dataset", "loss"]}
    page = evidence.folder_of(tmp_path) / "pages" / "tiny" / "loss.json"
    assert evidence.read_page(page) == ({"n": 1}, [b])
    page.write_text(json.dumps([b]))
    with pytest.raises(ValueError, match="keep them again: stir keep loss --scale tiny"):
        evidence.files_of(tmp_path, "loss", "tiny")


def test_a_missing_file_or_too_many_bytes_leave_the_evidence_as_it_was(tmp_path, stored, monkeypatch):
    a, b, _ = stored
    evidence.keep(tmp_path, "loss", "tiny", {}, {a: "measured"})
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"measured/gone\.json, which loss at the scale tiny has used, is not in"):
        evidence.keep(tmp_path, "loss", "tiny", {}, {b: "measured", "measured/gone.json": "lost"})
    monkeypatch.setattr(evidence, "MOST_BYTES", 15)
    with pytest.raises(ValueError, match="the evidence would be"):
        evidence.keep(tmp_path, "loss", "tiny", {}, {a: "measured", b: "measured"})
    assert files(tmp_path) == before


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_damage_in_the_store_does_not_reach_the_evidence(tmp_path, stored, suffix):
    *_, c = stored
    evidence.keep(tmp_path, "loss", "tiny", {}, {c: "measured"})
    before = files(tmp_path)
    path = (tmp_path / "store" / c).with_suffix(f".{suffix}")
    path.write_bytes(path.read_bytes()[:-3])
    evidence.keep(tmp_path, "loss", "tiny", {}, {c: "kept"})  # from the evidence itself
    assert files(tmp_path) == before
    assert "made on a machine, 20" in evidence.described({c: "kept"}, evidence.folder_of(tmp_path))
    shutil.rmtree(evidence.folder_of(tmp_path))
    with pytest.raises(ValueError, match="or damaged; run it again: stir run loss --scale tiny"):
        evidence.keep(tmp_path, "loss", "tiny", {}, {c: "kept"})


def test_pages_of_the_evidence_are_part_of_the_book(tmp_path):
    """One that its evidence does not make says why, and the book is built nevertheless."""
    (tmp_path / "_config.yml").write_text("title: T\nexecute:\n  execute_notebooks: 'off'\n")
    chapters = "".join(f"  - file: runs/{page}\n" for page in ("digits/one", "big/one", "digits/two", "digits/sum"))
    for name, text in {
        "book/_toc.yml": f"format: jb-book\nroot: index\nchapters:\n{chapters}",
        "book/index.md": "# First\n",
        "book/evidence/pages/big/one.json": '{"parameters": {}, "files": []}',
        "book/evidence/pages/old/two.json": '{"parameters": {}, "files": ["measured/gone.json"]}',
        "notebooks/scales/digits.yml": "n: 1\n",
        "notebooks/scales/big.yml": "n: 2\n",
        "notebooks/scales/old.yml": "n: 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, code in {"one": "assert n < 2, '*not* here'", "two": "print(n)", "sum": "print(tables)"}.items():
        cells = [nbformat.v4.new_markdown_cell(f"# Page {name}")]
        declared = 'tables: str = ".."  # a folder' if name == "sum" else "n: int = 1  # a number"
        cells.append(nbformat.v4.new_code_cell(declared, metadata={"tags": ["parameters"]}))
        cells.append(nbformat.v4.new_code_cell(code))
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "notebooks" / f"{name}.ipynb"
        )
    done = stir_in(tmp_path, "store", "book")
    assert done.exit_code == 0, done.stderr
    assert "The evidence of one.ipynb does not make its page. one.ipynb failed" in done.stderr
    lacking = "1 of its 1 files are missing or damaged, such as gone.json; where the images are, run `stir run two"
    assert f"The evidence of two.ipynb does not make its page. {lacking}" in done.stderr
    assert "gone.json" in (tmp_path / "book" / "runs" / "old" / "two.ipynb").read_text()
    html = tmp_path / "_build" / "html" / "runs"
    assert "Ran at the scale" in (html / "digits" / "one.html").read_text()
    notice = (html / "big" / "one.html").read_text()
    assert "The evidence at the scale" in notice and "does not make this page" in notice and "*not* here" in notice
    # What reads tables has a page at each scale that the book has one of.
    assert (html / "digits" / "sum.html").exists()
    assert [path.name for path in (tmp_path / "book" / "runs" / "big").glob("*.ipynb")] == ["one.ipynb"]


def test_keep_asks_for_a_run_first(project):
    done = stir_in(project, "full", "keep", "initialization", "--scale", "tiny")
    assert done.exit_code == 1 and "run `stir run initialization --scale tiny` first" in done.stderr
