"""Bars, and what they tell to another process."""

import pytest

from stir.computing import progress


@pytest.fixture
def told(tmp_path, monkeypatch):
    monkeypatch.setenv("STIR_PROGRESS", str(tmp_path))
    monkeypatch.setattr(progress, "INTERVAL", 0)
    return lambda: progress.lines(tmp_path)


def test_a_computation_is_told_while_it_runs(told):
    assert told() == []
    with progress.progress_bar(total=3, desc="outer", show=False) as outer:
        outer.update()
        seen = [told() for _ in progress.progress_bar(range(2), total=2, desc="inner", show=False)]
        assert seen == [["outer: 1 of 3", "inner: 0 of 2"], ["outer: 1 of 3", "inner: 1 of 2"]]
        assert told() == ["outer: 1 of 3"]
    with progress.progress_bar(total=4_000, initial=1_000, desc="many", show=False) as many:
        many.update(1_000)
        many.set_postfix(loss="0.1")
        assert told() == ["many: 50%"]
    with progress.telling("waiting"):
        assert told() == ["waiting"]
    assert told() == []


def test_an_error_ends_what_is_told(told):
    with pytest.raises(RuntimeError), progress.progress_bar(total=3, desc="outer", show=False):
        raise RuntimeError
    assert told() == []


def test_without_a_watcher_there_is_a_bar_if_it_is_to_be_shown(capsys, monkeypatch):
    monkeypatch.delenv("STIR_PROGRESS", raising=False)
    assert list(progress.progress_bar(range(2), desc="silent", show=False)) == [0, 1]
    assert capsys.readouterr().err == ""
    assert list(progress.progress_bar(range(2), desc="shown", show=True)) == [0, 1]
    assert "shown" in capsys.readouterr().err
    with progress.telling("waiting"):
        assert capsys.readouterr().err == "waiting\n"


def test_a_folder_that_is_gone_stops_nothing(told, monkeypatch, tmp_path):
    monkeypatch.setenv("STIR_PROGRESS", str(tmp_path / "gone"))
    assert list(progress.progress_bar(range(2), desc="x", show=False)) == [0, 1]
