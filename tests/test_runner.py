"""Real notebooks through real papermill."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner
from papermill.exceptions import PapermillExecutionError

from paths import MEASURE, NETWORKS, NOTEBOOK, PROJECT, TINY, TINY_MEASURE, TINY_NETWORKS
from stir import runner
from stir.cli import main
from stir.result import COLUMNS


def write_notebook(path, *cells):
    parameters = nbformat.v4.new_code_cell("n: int = 1  # help", metadata={"tags": ["parameters"]})
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), parameters, *code])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runner.execute(NOTEBOOK, TINY, folder, scale="digits")
    return folder


def test_the_finding_runs_and_leaves_its_table_and_figures(executed):
    names = {path.name for path in executed.iterdir()}
    figures = {f"initialization-{name}.png" for name in ("concept", "layers", "pairs")}
    assert names == {"initialization.ipynb", "initialization.csv", "initialization.json", *figures}
    table = pd.read_csv(executed / "initialization.csv")
    assert set(COLUMNS) <= set(table.columns)
    assert len(table) == 4 * 4 * 2
    assert table[["stir", "cka", "ceiling"]].notna().all().all()


def test_the_chapter_on_the_measure_runs(tmp_path):
    runner.execute(MEASURE, TINY_MEASURE, tmp_path, scale="digits")
    figures = {f"measure-{name}.png" for name in ("result", "steps", "seeds", "images", "measures", "worst")}
    assert {path.name for path in tmp_path.iterdir()} == {"measure.ipynb", "measure.csv", "measure.json", *figures}
    table = pd.read_csv(tmp_path / "measure.csv")
    assert set(COLUMNS) | {"varied"} == set(table.columns)
    assert set(table.varied) == {"steps", "seeds", "images", "measure", "worst case"}


def test_the_page_of_the_networks_runs(tmp_path):
    runner.execute(NETWORKS, TINY_NETWORKS, tmp_path, scale="digits")
    figures = {f"networks-{name}.png" for name in ("images", "curves")}
    assert {path.name for path in tmp_path.iterdir()} == {"networks.ipynb", "networks.csv", "networks.json", *figures}
    table = pd.read_csv(tmp_path / "networks.csv")
    # The standard network of both groups is one.
    assert list(zip(table.network, table.loss, strict=True)) == [("resnet10", "standard"), ("vgg11", "standard"), ("resnet10", "trades")]
    assert table[["accuracy", "L2 attack", "L∞ attack"]].stack().between(0, 1).all()


def test_a_scale_gives_each_notebook_what_it_declares(tmp_path):
    scales = tmp_path / "notebooks" / "scales"
    scales.mkdir(parents=True)
    notebook = write_notebook(tmp_path / "notebooks" / "one.ipynb")
    shutil.copy(NOTEBOOK, tmp_path / "notebooks")
    (scales / "good.yml").write_text("n: 3\nn_images: 50\n")
    (scales / "bad.yml").write_text("n: 3\nn_imges: 50\n")
    assert runner.load_scale(tmp_path, "good", notebook) == {"n": 3}
    assert runner.load_scale(tmp_path, "good", tmp_path / "notebooks" / NOTEBOOK.name) == {"n_images": 50}
    with pytest.raises(ValueError, match="parameter 'n_imges' does not exist; did you mean 'n_images'"):
        runner.load_scale(tmp_path, "bad", notebook)


def test_the_page_opens_with_what_it_ran_on(executed):
    text = (executed / "initialization.ipynb").read_text()
    cells = json.loads(text)["cells"]
    header = "".join(cells[1]["source"])
    for part in ("digits", "torch", "UTC", "`n_images` | `24`"):
        assert part in header
    assert str(executed) not in text
    injected = next(cell for cell in cells if "injected-parameters" in cell["metadata"].get("tags", []))
    assert "remove-input" in injected["metadata"]["tags"]


def test_the_same_seed_gives_the_same_table(executed, tmp_path, monkeypatch):
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "store"))  # so that the networks are trained again
    runner.execute(NOTEBOOK, TINY, tmp_path / "again", scale="digits")
    first, second = (pd.read_csv(folder / "initialization.csv") for folder in (executed, tmp_path / "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_change_makes_a_page_stale(executed):
    assert runner.is_current(NOTEBOOK, TINY, executed)
    assert not runner.is_current(NOTEBOOK, {**TINY, "steps": 4}, executed)
    assert not runner.is_current(NOTEBOOK, TINY, executed / "nowhere")


def test_a_failing_cell_leaves_the_last_good_page(tmp_path):
    notebook = write_notebook(tmp_path / "page.ipynb", "open('page.csv', 'w').write('good')")
    folder = tmp_path / "runs"
    runner.execute(notebook, {}, folder, scale="digits")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_notebook(notebook, "open('page.csv', 'w').write('bad')", "raise RuntimeError('the reason')")
    with pytest.raises(PapermillExecutionError, match="the reason"):
        runner.execute(notebook, {}, folder, scale="digits")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_failed_page_is_never_built(tmp_path):
    shutil.copytree(PROJECT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("runs"))
    notebook = write_notebook(tmp_path / "book" / "page.ipynb", "1")
    content = nbformat.read(notebook, 4)
    content.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])]
    nbformat.write(content, notebook)
    with pytest.raises(ValueError, match="page.ipynb ended with an error"):
        runner.build_book(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["initialisation"], "notebook='initialisation' is unknown; use one of initialization"),
        (["initialization", "--scale", "huge"], "scale='huge' is unknown; use one of cifar10-jpeg, digits"),
        (["initialization", "-p", "n_image", "3"], "did you mean 'n_images'"),
        (["initialization", "-p", "n_images", "many"], "must be of type int"),
    ],
)
def test_the_command_line_refuses_before_it_runs(arguments, message, monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 1
    assert message in result.output


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dataset", "digitz", "dataset='digitz' is unknown"),
        ("architecture", "resnet1", "architecture='resnet1' is unknown"),
        ("layers", ["stage9"], "layer='stage9' does not exist"),
        ("solver", "sgd", "solver='sgd' is unknown"),
        ("losses", ["standard", "robust"], "loss='robust' is unknown"),
        ("n_images", 1, "n_images=1 must lie between 5"),
    ],
)
def test_the_notebook_refuses_before_it_trains(name, value, message, tmp_path, monkeypatch):
    store = tmp_path / "store"
    monkeypatch.setenv("STIR_STORE", str(store))
    with pytest.raises(PapermillExecutionError, match=message):
        runner.execute(NOTEBOOK, {**TINY, name: value}, tmp_path / "runs", scale="digits")
    assert not store.exists()


def test_plain_papermill_runs_from_any_folder(tmp_path):
    given = [part for name, value in TINY.items() if not isinstance(value, list) for part in ("-p", name, str(value))]
    lists = ["-y", json.dumps({name: value for name, value in TINY.items() if isinstance(value, list)})]
    command = [str(Path(sys.executable).with_name("papermill")), str(NOTEBOOK), "out.ipynb", *given, *lists]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out.ipynb").exists()
    assert (tmp_path / "initialization.csv").exists()


def test_notebook_sources_are_clean():
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert not cell.outputs
                assert cell.execution_count is None
                assert cell.source.count("\n") < 25 or "parameters" in cell.metadata.get("tags", [])
                assert "savefig" not in cell.source or cell.metadata.mystnb.image.alt
