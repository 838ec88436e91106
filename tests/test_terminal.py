"""The line that follows a running notebook."""

import io
import time

import nbformat
import pytest

from stir.book import terminal

NEW = nbformat.v4
CELLS = [
    NEW.new_markdown_cell("# Title\n\nText"),
    NEW.new_code_cell("1"),
    NEW.new_markdown_cell("## The networks"),
    NEW.new_code_cell("2"),
    NEW.new_code_cell("3"),
]


def step(coroutine):
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_the_line_tells_cell_time_and_computation(tmp_path):
    status = terminal.Status("own", CELLS, tmp_path)
    assert status.text == "own | starting | 0 s"
    (tmp_path / "1-000000").write_text("training: 1 of 6")
    for index, place in enumerate(["starting", "cell 1 of 3", "cell 1 of 3", *("cell 2 of 3", "cell 3 of 3")]):
        step(status.cell_starts(CELLS[index], index))
        heading = ["", " (setting up)", " (setting up)", " (The networks)", " (The networks)"][index]
        assert status.text == f"own | {place}{heading} | 0 s | training: 1 of 6"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_terminal_has_one_line_which_goes_and_a_log_has_lines(tmp_path, monkeypatch, stream):
    monkeypatch.setattr(terminal, "REFRESH", 0.01)
    monkeypatch.setattr(terminal, "REPORT", 0.01)
    monkeypatch.setenv("COLUMNS", "20")
    shown = stream()
    with terminal.following("own", CELLS, tmp_path / "told", shown) as hooks:
        assert (tmp_path / "told").is_dir()
        step(hooks["on_cell_start"](cell=CELLS[1], cell_index=1))
        time.sleep(0.1)
    text = shown.getvalue()
    assert "cell 1 of 3" in text or "cell 1" in text
    if shown.isatty():
        assert "\n" not in text and {len(part) for part in text.split("\r") if part} == {19}
        assert text.endswith(f"\r{' ' * 19}\r")
    else:
        assert "\r" not in text and text.endswith("\n")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_note_is_there_while_it_is_true_and_only_in_a_terminal(stream):
    shown = stream()
    with terminal.noted("starting", shown):
        during = shown.getvalue()
    assert (during, shown.getvalue()) == (("starting", f"starting\r{' ' * 8}\r") if shown.isatty() else ("", ""))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1:00 min"), (605, "10:05 min"), (3599.6, "1:00:00 h"), (7385, "2:03:05 h")],
)
def test_times_in_words(seconds, text):
    assert terminal.duration(seconds) == text
