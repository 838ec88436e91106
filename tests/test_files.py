"""The store folder, and atomic writes."""

import hashlib

import pytest

from stir.files import digest, store_folder, write_atomically


def test_the_store_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("STIR_STORE", str(tmp_path))
    assert store_folder() == tmp_path
    monkeypatch.setenv("STIR_STORE", "")
    assert store_folder().name == "stir"  # the user's cache


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, "what was there"])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, before, error):
    path = tmp_path / "new" / "file"

    def half(partial):
        partial.write_text("half of")
        raise error

    if before:
        write_atomically(path, lambda partial: partial.write_text(before))
    with pytest.raises(error):
        write_atomically(path, half)
    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == ([("file", before)] if before else [])


def test_a_write_replaces(tmp_path):
    path = tmp_path / "file"
    for text in ("first", "second"):
        write_atomically(path, lambda partial, text=text: partial.write_text(text))
    assert path.read_text() == "second" and list(tmp_path.iterdir()) == [path]


def test_the_digest_is_that_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert digest(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
