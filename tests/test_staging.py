"""Files that are moved as a whole, and what counts as whole after a kill."""

import os
import signal
from multiprocessing import get_context

import pytest

from stir.book.staging import is_whole, move_files, staging

FILES = {"a.csv": "1", "b.png": "2", "page.ipynb": "3"}


def finish(folder, made_of="x", **changed):
    with staging(folder, ".running-") as staged:
        for name, text in {**FILES, **changed}.items():
            (staged / name).write_text(made_of + text)
        move_files(staged, folder / "page.json", made_of)


def test_files_are_moved_and_vouched_for(tmp_path):
    folder = tmp_path / "new" / "folder"
    finish(folder)
    assert {path.name for path in folder.iterdir()} == {*FILES, "page.json"}
    assert is_whole(folder / "page.json", folder, "x") and not is_whole(folder / "page.json", folder, "y")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_or_changed_shows(tmp_path, name):
    finish(tmp_path)
    (tmp_path / name).write_text("")
    assert not is_whole(tmp_path / "page.json", tmp_path, "x")
    (tmp_path / name).unlink()
    assert not is_whole(tmp_path / "page.json", tmp_path, "x")
    finish(tmp_path)
    assert is_whole(tmp_path / "page.json", tmp_path, "x")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_of": "x"}', '{"made_of": "x", "files": []}', "[" * 100_000])
def test_a_damaged_manifest_vouches_for_nothing(tmp_path, text):
    finish(tmp_path)
    (tmp_path / "page.json").write_text(text)
    assert not is_whole(tmp_path / "page.json", tmp_path, "x")
    finish(tmp_path)
    assert is_whole(tmp_path / "page.json", tmp_path, "x")


def test_files_that_the_next_run_does_not_write_are_removed(tmp_path):
    (tmp_path / "other.csv").write_text("of another page")
    finish(tmp_path, **{"old.png": "4"})
    assert (tmp_path / "old.png").exists()
    finish(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "page.json", "other.csv"}


def finish_but_die(folder, moves):
    """A process that is killed after so many moves."""
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    replace, done = os.replace, []

    def replace_or_die(*paths):
        if len(done) == moves:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(replace(*paths))

    os.replace = replace_or_die
    finish(folder, "new")
    os._exit(0)


@pytest.mark.parametrize("moves", range(len(FILES) + 1))
def test_after_a_kill_between_moves_nothing_counts_as_current(tmp_path, moves):
    finish(tmp_path, "old")
    assert finish_but_die(tmp_path, moves) == signal.SIGKILL
    assert not any(is_whole(tmp_path / "page.json", tmp_path, made_of) for made_of in ("old", "new"))
    assert list(tmp_path.glob(".running-*"))
    finish(tmp_path, "old")  # the next run cleans up
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "page.json"}
    assert is_whole(tmp_path / "page.json", tmp_path, "old")


def test_a_folder_that_a_process_works_in_stays(tmp_path):
    with staging(tmp_path, ".running-") as first:
        (first / "file").write_text("1")
        with staging(tmp_path, ".running-") as second:
            assert first != second
        assert (first / "file").exists() and not second.exists()
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="its processes are forks")
def test_processes_that_begin_at_once_leave_each_other_alone(tmp_path):
    def work():
        for _ in range(200):
            with staging(tmp_path, ".running-") as staged:
                (staged / "file").write_text("1")
                assert (staged / "file").exists()

    processes = [get_context("fork").Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert not os.listdir(tmp_path)
