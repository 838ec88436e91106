"""Real notebooks through real papermill."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from helpers.project import PROJECT, TINY, notebook
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from stir.book import lookup, runner
from stir.book.claims import with_claims
from stir.book.contents import Book
from stir.data import load_dataset
from stir.inversion.solvers import DEFAULT_SOLVER, SOLVERS
from stir.scoring.result import COLUMNS
from stir.study import cards, paper
from stir.study.conclusions import ORDER
from stir.study.estimates import number
from stir.study.hypothesis import Hypothesis
from stir.study.multiplicity import after_holm
from stir.study.paper import CLAIMS
from stir.study.verdict import judge
from stir.training.chance import is_at_chance

NOTEBOOK, TINY_ONE = notebook("initialization"), TINY["initialization"]
FIGURES = {
    "networks": ("images", "curves"),
    "measure": ("known-images", "result", "steps", "seeds", "images", "measures", "worst"),
    "performance": ("quality", "cost"),
    "initialization": ("concept", "idea", "layers"),
    "explorer": (),
    "architecture": ("skip",),
    "loss": ("concept",),
    "dataset": ("fall",),
    "robustness": ("concept", "others"),
    "updates": ("chain",),
    "controversial": ("images", "fall"),
}
OF_TABLES = ("glance", "measures", "solvers", "cost")


def write_notebook(path, *cells):
    parameters = nbformat.v4.new_code_cell("n: int = 1  # help", metadata={"tags": ["parameters"]})
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), parameters, *code])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def test_every_notebook_has_its_tiny_run():
    assert set(TINY) == {path.stem for path in (PROJECT / "notebooks").glob("*.ipynb")} == {*FIGURES, *OF_TABLES}
    assert set(ORDER) == set(FIGURES) - {"networks", "measure", "performance", "explorer"}


def test_pages_leave_their_tables_and_figures(executed):
    files = set()
    for name, figures in FIGURES.items():
        files |= {f"{name}.{end}" for end in ("ipynb", "csv", "json")} | {f"{name}-{figure}.png" for figure in figures}
    files |= {f"{name}-used.json" for name in FIGURES}
    files |= {f"{name}-{end}.csv" for name in ORDER for end in ("solvers", "verdicts")}
    files |= {f"{name}.{end}" for name in OF_TABLES for end in ("ipynb", "csv", "json")} | {"cost.png"}
    left = {path.name for path in executed.iterdir()}
    drawings = {name for name in left if name.endswith(".svg")}  # of each figure, or of each of its panels
    assert {re.sub(r"(-\d)?\.svg$", ".png", name) for name in drawings} == {
        each for each in files if each.endswith(".png")
    }
    assert left - drawings == files


@pytest.mark.parametrize("name", ORDER)
def test_the_table_of_a_finding(executed, name):
    table, judged = pd.read_csv(executed / f"{name}.csv"), pd.read_csv(executed / f"{name}-verdicts.csv")
    assert set(COLUMNS) <= set(table.columns)
    first = table.query("measure == 'linear-cka'")
    assert first.filter(["stir", "stir_low", "cka", "cka_high", "ceiling", "floor"]).notna().to_numpy().all()
    assert set(table.measure) == {"linear-cka", "procrustes"} and len(first) * 2 == len(table)
    assert set(judged.verdict) <= {"supported", "not supported", "contradicted"} and set(judged.finding) == {name}
    by_solver = pd.read_csv(executed / f"{name}-solvers.csv")
    assert (
        list(by_solver.solver.unique()) == [DEFAULT_SOLVER, "nearest", "paper"]
        and by_solver.solver.value_counts().nunique() == 1
    )
    own, *others = (rows.reset_index(drop=True) for _, rows in by_solver.groupby("solver", sort=False))
    for other in others:  # the same pairs and images, X' of their own
        own_pairs, other_pairs = (rows.filter(["reference", "target", "cka"]) for rows in (own, other))
        pd.testing.assert_frame_equal(own_pairs, other_pairs)
        assert not own.stir.equals(other.stir)
    # The verdicts follow from the table alone.
    again = judge([Hypothesis.from_json(text) for text in judged.definition], table)
    pd.testing.assert_frame_equal(
        again, judged.drop(columns=["finding", "question", "dataset", "otherwise", "recipe"]), check_dtype=False
    )


@pytest.mark.parametrize("name", ORDER)
def test_a_finding_opens_with_its_answer(executed, name):
    cells = json.loads((executed / f"{name}.ipynb").read_text())["cells"]
    tags = [cell["metadata"].get("tags", []) for cell in cells]
    assert "answer" in tags[1] and "answer-figure" in tags[2]  # after the title
    judged = pd.read_csv(executed / f"{name}-verdicts.csv")
    answer = "".join(cells[1]["outputs"][0]["data"]["text/html"])
    claim = next(claim for claim in judged.claim if html.escape(claim) in answer)
    (row,) = judged[judged.claim == claim].itertuples()
    sentence = re.search("<p>(.*?)</p>", answer)[1]
    assert f"</span> {row.verdict}</span>{cards.COLON} <strong>{html.escape(claim)}." in sentence
    assert number(row.difference_value, row.difference_low, row.difference_high) in sentence
    shown = [output.get("data", {}) for output in cells[2]["outputs"]]
    assert any("image/png" in data or 'class="heatmaps"' in "".join(data.get("text/html", "")) for data in shown)


@pytest.mark.parametrize("name", ["measure", "measures", "performance", "solvers"])
def test_a_page_without_hypotheses_opens_with_an_answer(executed, name):
    cells = json.loads((executed / f"{name}.ipynb").read_text())["cells"]
    assert "answer" in cells[1]["metadata"]["tags"]
    assert '<div class="answer">' in "".join(cells[1]["outputs"][0]["data"]["text/html"])


@pytest.mark.parametrize("name", CLAIMS)
def test_each_hypothesis_stands_beside_the_paper_s_claim(executed, name):
    judged = pd.read_csv(executed / f"{name}-verdicts.csv")
    tested = [list(paper.tests_of(claim, judged).claim) for claim in CLAIMS[name]]
    assert all(tested) and {claim for each in tested for claim in each} == set(judged.claim)


def test_the_table_of_the_initialization_has_all_pairs(executed):
    assert len(pd.read_csv(executed / "initialization.csv")) == 4 * 4 * 2 * 2  # networks twice, layers, measures


def test_the_chapter_on_the_measure_varies_all_there_is(executed):
    table = pd.read_csv(executed / "measure.csv")
    assert set(COLUMNS) | {"varied"} <= set(table.columns)  # and the invariances that are known by construction
    assert set(table.varied) == {
        "steps",
        "seeds",
        "images",
        "measure",
        "worst case",
        *(f"known, {solver}" for solver in SOLVERS),
    }


def test_the_page_of_the_networks_lists_each_once(executed):
    table = pd.read_csv(executed / "networks.csv")
    # The standard network of both groups is one.
    assert list(zip(table.network, table.loss, strict=True)) == [
        ("resnet10", "standard"),
        ("vgg11", "standard"),
        ("resnet10", "trades"),
    ]
    assert table[["accuracy", "L2 attack", "L∞ attack"]].stack().between(0, 1).all()


def test_the_page_of_the_networks_says_which_are_at_chance_level(executed):
    cells = json.loads((executed / "networks.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    said = "".join("".join(output["text"]) for output in outputs)
    table, counts = pd.read_csv(executed / "networks.csv"), load_dataset("digits").test.counts
    low = table[[is_at_chance(each, counts) for each in table.accuracy]]
    assert f"Of 3 networks {len(low) or 'none'} classify at chance level, 10.3%" in said
    assert all(f"{row.network} by " in said and f"({row.accuracy:.1%})" in said for row in low.itertuples())


@pytest.mark.parametrize("name", ["networks", "solvers"])
def test_what_tables_say_is_text(name):
    """A styled table, unlike pandas' own, shows what looks like HTML as HTML."""
    cells = json.loads(notebook(name).read_text())["cells"]
    styled = [text for cell in cells if ".style" in (text := "".join(cell["source"])) and cell["cell_type"] == "code"]
    styled = [text for text in styled if "use_style" not in text]
    assert styled and all('escape="html"' in text for text in styled)


def test_the_page_on_the_paper_has_the_verdict_on_every_hypothesis(executed):
    book = Book("", {}, {}, {f"runs/digits/{name}": executed / f"{name}.ipynb" for name in ORDER}, {}, {})
    page = with_claims((PROJECT / "book" / "paper.md").read_text(), book)
    of_claims = [name for name in ORDER if name != "controversial"]  # which is beyond the paper
    tables = [pd.read_csv(executed / f"{name}-verdicts.csv") for name in of_claims]
    told = [html.unescape(claim) for claim in re.findall(r'<tr class="claim"><td[^>]*>(.*?)</td>', page)]
    assert sorted(told) == sorted(claim for table in tables for claim in table.claim)
    assert f": *`{executed.name}`*: Epochs: 1. " in page and "<!-- measured" not in page


@pytest.mark.parametrize("name", TINY)
def test_what_a_page_shows_has_no_raw_formula(executed, name):
    """MathJax reads the text of a page, not what cells show; labels in figures are no text."""
    cells = json.loads((executed / f"{name}.ipynb").read_text())["cells"]
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(data.get(kind, "")) for data in shown for kind in ("text/html", "text/markdown")]
    texts = [re.sub("<(script|style).*?</\\1>", "", text, flags=re.DOTALL) for text in texts]
    assert not [text for text in texts if "$" in text or "\\(" in text]


def test_pages_of_tables_hold_all_verdicts(executed):
    glance, measures, solvers = (pd.read_csv(executed / f"{name}.csv") for name in ("glance", "measures", "solvers"))
    everything = pd.concat([pd.read_csv(executed / f"{name}-verdicts.csv") for name in ORDER], ignore_index=True)
    for _, rows in glance.groupby("scale"):
        rows = rows.reset_index(drop=True)
        pd.testing.assert_frame_equal(rows.drop(columns=["scale", "after_holm"]), everything, check_dtype=False)
        assert list(rows.after_holm) == list(after_holm(everything))
    assert glance.scale.nunique() == 2
    assert list(measures.claim[measures.measure == "procrustes"]) == list(everything.claim)
    assert list(solvers.claim[solvers.solver == "paper"]) == list(everything.claim)


def test_no_tables_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(PapermillExecutionError, match="holds no \\*-verdicts.csv; run the findings first"):
        runner.execute(notebook("glance"), {"tables": str(tmp_path)}, tmp_path / "runs", scale="digits")


def test_a_scale_gives_each_notebook_what_it_declares(tmp_path):
    scales = tmp_path / "notebooks" / "scales"
    scales.mkdir(parents=True)
    one = write_notebook(tmp_path / "notebooks" / "one.ipynb")
    shutil.copy(NOTEBOOK, tmp_path / "notebooks")
    (scales / "good.yml").write_text("n: 3\nn_images: 50\n")
    (scales / "bad.yml").write_text("n: 3\nn_imges: 50\n")
    assert lookup.load_scale(tmp_path, "good", one) == {"n": 3}
    assert lookup.load_scale(tmp_path, "good", tmp_path / "notebooks" / NOTEBOOK.name) == {"n_images": 50}
    with pytest.raises(ValueError, match="bad.yml: parameter 'n_imges' does not exist; did you mean 'n_images'"):
        lookup.load_scale(tmp_path, "bad", one)
    for text, message in {
        "n: [1": "odd.yml is no YAML: ",
        "n: 1\nn: 2": "odd.yml is no YAML: a name stands twice",
        "[n]": "odd.yml must hold lines of `name: value`",
        "0": "odd.yml must hold lines of `name: value`",
        "5: 1": "odd.yml: parameter 5 does not exist",
        "n: x": "odd.yml: parameter n='x' is of type str; it must be of type int",
    }.items():
        (scales / "odd.yml").write_text(text)
        with pytest.raises(ValueError, match=message):
            lookup.load_scale(tmp_path, "odd", one)
    (scales / "odd.yml").write_bytes(b"n: \xff")
    with pytest.raises(ValueError, match="odd.yml is no YAML: 'utf-8' codec"):
        lookup.load_scale(tmp_path, "odd", one)


def test_a_section_of_a_scale_is_of_one_notebook(tmp_path):
    scales = tmp_path / "notebooks" / "scales"
    scales.mkdir(parents=True)
    one, other = (write_notebook(tmp_path / "notebooks" / f"{name}.ipynb") for name in ("one", "other"))
    (scales / "a.yml").write_text("n: 3\none.ipynb:\n  n: 4\n")
    assert lookup.load_scale(tmp_path, "a", one) == {"n": 4} and lookup.load_scale(tmp_path, "a", other) == {"n": 3}
    for text, message in {
        "two.ipynb:\n  n: 4": "a.yml: 'two.ipynb' must be a notebook of this project",
        "../notebooks/one.ipynb:\n  n: 4": "must be a notebook of this project",
        "one.ipynb: 4": "must be a notebook of this project, and hold lines",
        "one.ipynb:\n  m: 4": "a.yml, one.ipynb: parameter 'm' does not exist",
        "one.ipynb:\n  n: x": "a.yml, one.ipynb: parameter n='x' is of type str",
    }.items():
        (scales / "a.yml").write_text(text)
        with pytest.raises(ValueError, match=re.escape(message)):
            lookup.load_scale(tmp_path, "a", other)


STARTS_WORKERS = """
import os, pathlib, subprocess, sys, time
from joblib import Parallel, delayed
workers = Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(2))
workers.append(subprocess.Popen(["sleep", "1000"]).pid)
pathlib.Path(PIDS).write_text(" ".join(map(str, {os.getpid(), *workers})))
"""


def left(pids):
    """The processes of a list that still run."""
    numbers = [int(pid) for pid in pids.read_text().split()]
    return [number for number in numbers if psutil.pid_exists(number) and psutil.Process(number).status() != "zombie"]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("os.kill(os.getpid(), 9)", DeadKernelError),
        ("time.sleep(1000)", CellTimeoutError),
        ("1 / 0", PapermillExecutionError),
        ("1", None),
    ],
)
def test_no_process_outlives_a_run(tmp_path, end, error):
    pids = tmp_path / "pids"
    page = write_notebook(tmp_path / "page.ipynb", STARTS_WORKERS.replace("PIDS", repr(str(pids))), end)
    patience = 8 if error is CellTimeoutError else 60  # seconds for each cell
    with pytest.raises(error) if error else nullcontext():
        runner.execute(page, {}, tmp_path / "runs", scale="digits", cell_timeout=patience)
    assert len(pids.read_text().split()) >= 3
    time.sleep(0.2)
    assert left(pids) == []
    assert bool(list((tmp_path / "runs").iterdir())) == (error is None)


def test_names_stay_inside_the_project(tmp_path):
    (tmp_path / "notebooks" / "scales").mkdir(parents=True)
    one = write_notebook(tmp_path / "notebooks" / "one.ipynb")
    write_notebook(tmp_path / "outside.ipynb")
    (tmp_path / "outside.yml").write_text("n: 3")
    for name in ("one", "one.ipynb", "notebooks/one.ipynb", str(one)):
        assert lookup.find_notebook(tmp_path, name) == one
    for name in ("../outside", str(tmp_path / "outside"), "", ".", "scales/../one"):
        with pytest.raises(ValueError, match="notebook=.* is unknown; (use one of|did you mean) '?one"):
            lookup.find_notebook(tmp_path, name)
        with pytest.raises(ValueError, match="scale=.* is unknown"):
            lookup.load_scale(tmp_path, "../" + name, one)


def test_links_out_of_the_project_do_not_count(tmp_path):
    project = tmp_path / "project"
    (project / "notebooks" / "scales").mkdir(parents=True)
    one = write_notebook(project / "notebooks" / "one.ipynb")
    (project / "notebooks" / "same.ipynb").symlink_to(one)
    (project / "notebooks" / "other.ipynb").symlink_to(write_notebook(tmp_path / "outside.ipynb"))
    (tmp_path / "outside.yml").write_text("n: 3")
    (project / "notebooks" / "scales" / "other.yml").symlink_to(tmp_path / "outside.yml")
    assert lookup.find_notebook(project, "same").resolve() == one
    with pytest.raises(ValueError, match="notebook='other' is unknown; use one of one, same"):
        lookup.find_notebook(project, "other")
    with pytest.raises(ValueError, match="scale='other' is unknown"):
        lookup.load_scale(project, "other", one)


def test_the_page_ends_with_what_it_ran_on(executed):
    text = (executed / "initialization.ipynb").read_text()
    cells = json.loads(text)["cells"]
    footer = "".join(cells[-1]["source"])
    for part in ("digits", "torch", "UTC", "<td><code>n_images</code></td><td><code>24</code></td>"):
        assert part in footer
    assert str(executed) not in text
    injected = next(cell for cell in cells if "injected-parameters" in cell["metadata"].get("tags", []))
    assert "remove-input" in injected["metadata"]["tags"]


def test_a_failing_cell_leaves_the_last_good_page(tmp_path):
    page = write_notebook(tmp_path / "page.ipynb", "open('page.csv', 'w').write('good')")
    folder = tmp_path / "runs"
    runner.execute(page, {}, folder, scale="digits")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_notebook(page, "open('page.csv', 'w').write('bad')", "raise RuntimeError('the reason')")
    with pytest.raises(PapermillExecutionError, match="the reason"):
        runner.execute(page, {}, folder, scale="digits")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_parameters_are_refused_before_a_process_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(runner.papermill, "execute_notebook", lambda *_, **__: pytest.fail("it started"))
    with pytest.raises(ValueError, match=r"layers\[0\]='stage9' does not exist in resnet10"):
        runner.execute(NOTEBOOK, {**TINY_ONE, "layers": ["stage9"]}, tmp_path / "runs", scale="digits")
    assert not (tmp_path / "runs").exists()


def test_plain_papermill_refuses_in_the_first_cell(tmp_path):
    command = [str(Path(sys.executable).with_name("papermill")), str(NOTEBOOK), "out.ipynb", "-p", "solver", "papr"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    place, told = done.stderr.strip().splitlines()[-2:]
    assert place.startswith("Exception encountered at")  # without a traceback of the notebook
    assert told == "ParameterError: solver='papr' is unknown; did you mean 'paper'?"


def test_plain_papermill_runs_from_any_folder_and_the_same_seed_gives_the_same_table(executed, tmp_path):
    given = [
        part for name, value in TINY_ONE.items() if not isinstance(value, list) for part in ("-p", name, str(value))
    ]
    lists = ["-y", json.dumps({name: value for name, value in TINY_ONE.items() if isinstance(value, list)})]
    command = [str(Path(sys.executable).with_name("papermill")), str(NOTEBOOK), "out.ipynb", *given, *lists]
    anew = {**os.environ, "STIR_STORE": str(tmp_path / "store")}  # where the networks are trained again
    subprocess.run(command, cwd=tmp_path, env=anew, check=True, capture_output=True)
    assert (tmp_path / "out.ipynb").exists()
    first, second = (pd.read_csv(folder / "initialization.csv") for folder in (executed, tmp_path))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_notebook_sources_are_clean():
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        source = nbformat.read(path, as_version=4)
        nbformat.validate(source)
        assert source.metadata.kernelspec.name == "python3"
        for cell in source.cells:
            if cell.cell_type == "code":
                assert not cell.outputs
                assert cell.execution_count is None
                assert cell.source.count("\n") < 25 or "parameters" in cell.metadata.get("tags", [])
                assert "figures.publish" not in cell.source or cell.metadata.mystnb.image.alt


def test_answers_are_to_the_tasks_before_them():
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        for tasks, answers in pairwise(cells):
            if answers.id.endswith("-answers"):
                assert "## Try it yourself" in tasks.source and answers.source.startswith("<details>\n<summary>")
                numbers = [re.findall(r"^(\d)\. ", cell.source, re.MULTILINE) for cell in (tasks, answers)]
                assert numbers[0] == numbers[1], path


# Such as "0.24 [0.02, 0.47] on the page of the digits", "where the page of the digits has 0.15".
COPIED = r"[\d\])] on th(?:is|e) page|page(?: of the digits)?,?(?: it)? (?:is|has|was) [−\d]"


def test_answers_quote_their_page_by_name():
    """A figure of the page itself, copied by hand, is another as soon as the page is."""
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.id.endswith("-answers"):
                assert not re.search(COPIED, cell.source), path
                assert "not run yet" not in cell.source.lower(), path
