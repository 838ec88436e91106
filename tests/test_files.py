"""The store folder, atomic writes, checksums, and what killed runs leave."""

import hashlib
import json

import pytest
import torch
from filelock import FileLock

from stir.files import (
    abandoned,
    check_card,
    check_made_of,
    digest,
    digest_of,
    key_of,
    read_fields,
    remove_litter,
    store_folder,
    write_atomically,
    write_card,
)


def test_the_store_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("STIR_STORE", str(tmp_path))
    assert store_folder() == tmp_path
    monkeypatch.setenv("STIR_STORE", "")
    assert store_folder().name == "stir"  # the user's cache


def test_the_store_may_be_in_the_users_home_but_not_relative(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STIR_STORE", "~/networks")
    assert store_folder() == tmp_path / "networks"
    for wrong in ("networks", "./networks", "~nobody-of-this-name/networks"):
        monkeypatch.setenv("STIR_STORE", wrong)
        with pytest.raises(ValueError, match=f"STIR_STORE='{wrong}' must be an absolute path; here '/.*' may be meant"):
            store_folder()


def test_litter_in_use_is_left(tmp_path):
    for name in ("used", "free"):
        (tmp_path / f"{name}.safetensors.1.partial").write_text("")

    def find():
        return sorted(tmp_path.glob("*.partial"))

    with FileLock(tmp_path / "used.lock"):
        assert [path.name for path in abandoned(find)] == ["free.safetensors.1.partial"]
        remove_litter(find)
        assert [path.name for path in find()] == ["used.safetensors.1.partial"]
    remove_litter(find)
    assert find() == []


def test_what_is_finished_meanwhile_is_no_litter(tmp_path):
    path, calls = tmp_path / "a.safetensors", []
    path.write_text("finished")

    def find():
        calls.append(1)
        return [path] if len(calls) == 1 else []

    remove_litter(find)
    assert path.exists()


def test_the_digest_of_tensors_sees_all():
    one = {"a": torch.arange(4.0), "b": torch.ones(1)}
    digests = {
        digest_of(one),
        digest_of(one, "text"),
        digest_of(one, "te", "xt"),
        digest_of({"a": one["a"]}),
        digest_of({"b": one["a"], "a": one["b"]}),
        digest_of({**one, "a": one["a"].reshape(2, 2)}),
        digest_of({**one, "a": one["a"].view(torch.int32)}),
    }
    assert len(digests) == 7 and digest_of(dict(reversed(one.items()))) in digests


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


def test_a_card_is_whole_or_damaged(tmp_path):
    path, card = tmp_path / "card.json", {"made_of": {"seed": 0, "layers": ("a", "b")}, "value": 0.1}
    for indent in (None, 1):
        written = write_card(path, card, indent)
        found = read_fields(path, {"made_of": dict, "value": float, "sha256": str})
        assert found == json.loads(json.dumps(written))
        check_card(found)
        check_made_of(found["made_of"], card["made_of"], "thing")
    with pytest.raises(ValueError, match="its card is of another thing"):
        check_made_of(found["made_of"], {"seed": 1}, "thing")
    with pytest.raises(ValueError, match="its checksum is wrong"):
        check_card(found | {"value": 0.2})
    with pytest.raises(ValueError, match="its card lacks curve"):
        read_fields(path, {"curve": list})
    with pytest.raises(ValueError, match="its card has value of another kind"):
        read_fields(path, {"value": str})
    path.write_text("[]")
    with pytest.raises(ValueError, match="its card lacks value"):
        read_fields(path, {"value": float})


def test_the_key_is_that_of_all_settings():
    keys = {key_of(settings) for settings in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": None})}
    assert len(keys) == 4 and key_of({"b": [1], "a": 2}) == key_of({"a": 2, "b": (1,)})
