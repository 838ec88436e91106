"""Folders of runs: readable, safe, and of one set of parameters each."""

import re

import pytest
from helpers.project import PROJECT, notebook
from hypothesis import given
from hypothesis import strategies as st

from stir.book import places
from stir.book.staging import move_files, staging

NOTEBOOK = notebook("initialization")
BASE = {"dataset": "digits"}


def folder_of(project=PROJECT, base=BASE, **values):
    return places.run_folder(project, NOTEBOOK, "digits", base, {**base, **values})


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"n_images": 500}, "initialization-n_images=500"),
        ({"n_images": 500, "epsilon": 0.5}, "initialization-epsilon=0.5,n_images=500"),
        ({"epsilon": 2}, "initialization-epsilon=2"),
        ({"epsilon": 2.0}, "initialization-epsilon=2"),
        ({"seeds": [0, 1]}, "initialization-seeds=0+1"),
        ({"solvers": []}, "initialization-solvers=none"),
        ({"progress": True}, "initialization-progress=true"),
        ({"layers": ["stage1.0", "penultimate"]}, "initialization-layers=stage1.0+penultimate"),
        ({"weight_decay": 1e-7}, "initialization-weight_decay=1e-07"),
    ],
)
def test_a_folder_is_named_by_what_differs(values, name):
    assert folder_of(**values) == PROJECT / "runs" / "digits" / name


@pytest.mark.parametrize("values", [{}, {"n_images": 200}, {"epsilon": 1}, {"dataset": "digits"}])
def test_what_differs_in_nothing_is_the_page_of_the_book(values):
    assert folder_of(**values) == PROJECT / "book" / "runs" / "digits"


@pytest.mark.parametrize("given", [{"solver": "tethered"}, {"epsilon": 1}, {"seeds": [0, 1, 2]}, {"dataset": "digits"}])
def test_a_value_that_it_has_anyway_makes_no_other_run(given):
    assert places.with_given(NOTEBOOK, BASE, {**given, "n_images": 50}) == {**BASE, "n_images": 50}


@pytest.mark.parametrize("given", [{"dataset": "mnist"}, {"width": True}, {"seeds": [False, True, 2]}, {"seeds": [0]}])
def test_other_values_are_kept(given):
    assert places.with_given(NOTEBOOK, BASE, given) == {**BASE, **given}


def test_the_notebooks_own_value_is_kept_where_the_scale_has_another():
    base = {"solver": "nearest"}
    assert places.with_given(NOTEBOOK, base, {"solver": "tethered"}) == {"solver": "tethered"}


def test_names_that_are_no_names_of_files_get_a_hash():
    values = ["folder:/data/My images", "folder:/data/my images", "folder:/data/my_images", "folder:~/é", "x" * 300]
    names = [folder_of(dataset=value).name for value in values]
    assert len({name.lower() for name in names}) == len(names) and max(map(len, names)) <= places.LONGEST
    assert folder_of(solvers=["none"]).name != folder_of(solvers=[]).name
    assert all(re.fullmatch(r"initialization-dataset=[a-z0-9._-]*-[0-9a-f]{8}", name) for name in names), names


def test_a_folder_of_images_and_names_of_networks_stay_readable():
    values = {"dataset": "folder:/home/someone/pictures of mine/Birds", "losses": ["mine:first", "mine:second"]}
    long = values | {"steps": 200, "seed_images": "gaussian-shared", "measures": ["linear-cka"]}
    # What does not fit is what is long.
    told = "own-dataset=birds,steps=200,seed_images=gaussian-shared,measures=linear-cka-[0-9a-f]{8}"
    assert re.fullmatch(told, places.label("own", long))
    assert re.fullmatch("own-dataset=birds,losses=mine_first\\+mine_second-[0-9a-f]{8}", places.label("own", values))


SCALARS = st.integers() | st.text(max_size=90) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(SCALARS | st.lists(SCALARS | st.none(), max_size=5), min_size=2, max_size=2))
def test_other_values_have_other_names(values):
    names = [places.label("own", {"n": value}) for value in values]
    assert all(re.fullmatch(r"own-[a-z0-9._=,+-]+", name) and len(name) <= places.LONGEST for name in names)
    assert (names[0] == names[1]) == (_shown(values[0]) == _shown(values[1]))


def _shown(value):
    """Values of one parameter have one type, so that 1 and "1" need not be told apart, nor 1.0."""
    if isinstance(value, list) and value != [places.NONE]:
        return [_shown(each) for each in value] if len(value) != 1 else _shown(value[0])
    return value if isinstance(value, str | list | None) else places._plain(value)


def finish(folder, values):
    with staging(folder, ".running-") as staged:
        (staged / NOTEBOOK.name).write_text("page")
        move_files(staged, folder / "initialization.json", {"parameters": values})


def test_what_is_there_is_never_overwritten_by_other_parameters(tmp_path):
    first = folder_of(tmp_path, n_images=500)
    finish(first, {**BASE, "n_images": 500})
    assert folder_of(tmp_path, n_images=500) == first  # the same command
    other_base = {**BASE, "epochs": 3}  # the scale is another now
    second = folder_of(tmp_path, other_base, n_images=500)
    assert second != first and second.name.startswith("initialization-n_images=500-")
    finish(second, {**other_base, "n_images": 500})
    assert folder_of(tmp_path, other_base, n_images=500) == second
    places.check_free(tmp_path / "empty", NOTEBOOK, BASE)
    places.check_free(first, NOTEBOOK, {**BASE, "n_images": 500})
    with pytest.raises(ValueError, match="with other parameters \\(n_images=500\\); name another folder"):
        places.check_free(first, NOTEBOOK, BASE)
    places.check_free(first, notebook("loss"), BASE)  # another notebook's page


@pytest.mark.parametrize(
    ("name", "file"), [("glance", "a-verdicts.csv"), ("solvers", "a-verdicts.csv"), ("cost", "a-used.json")]
)
def test_what_adds_up_findings_needs_some(tmp_path, name, file):
    with pytest.raises(ValueError, match=f"{name} adds up findings, and .* holds none; .* -p (tables|pages) PATH"):
        places.check_findings(tmp_path, notebook(name), {})
    parameter = "pages" if name == "cost" else "tables"
    with pytest.raises(ValueError, match="elsewhere holds none"):
        places.check_findings(tmp_path, notebook(name), {parameter: str(tmp_path / "elsewhere")})
    (tmp_path / file).touch()
    places.check_findings(tmp_path / "elsewhere", notebook(name), {parameter: str(tmp_path)})
    places.check_findings(tmp_path, notebook(name), {})
    places.check_findings(tmp_path / "none", NOTEBOOK, {})
