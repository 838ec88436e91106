"""A measurement is found again whole, in the store or the evidence, or not at all."""

import json
import shutil
from importlib.metadata import version

import pytest
import torch

from stir import kept
from stir.files import remove_litter
from stir.kept import Record, circumstances

MADE_OF = {"kind": "pairs", "steps": 3, "images": "ab", "layers": ["x", None], "tolerance": 0.1}
CONTENT = {"a": [{"stir": 0.1 + 0.2, "name": "ü", "nothing": None}]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("STIR_EVIDENCE", raising=False)
    return tmp_path / "store" / kept.FOLDER


def test_what_is_kept_is_found(folder):
    record = Record(MADE_OF)
    assert record.find() is None
    tensors = {"x": torch.rand(2, 3), "y": torch.tensor([True, False])}
    record.keep(CONTENT, tensors, how=circumstances("a machine", inversion=1.5))
    found = Record(dict(reversed(MADE_OF.items()))).find()  # whatever the order of the settings
    assert found.content == CONTENT
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert found.how["hardware"] == "a machine" and found.how["seconds"] == {"inversion": 1.5}
    assert found.how["versions"]["torch"] == version("torch")
    assert sorted(path.suffix for path in folder.iterdir() if path.suffix != ".lock") == [".json", ".safetensors"]
    assert Record(MADE_OF | {"steps": 4}).find() is None


def test_a_new_version_of_measuring_finds_nothing_old(monkeypatch):
    Record(MADE_OF).keep(CONTENT)
    monkeypatch.setattr(kept, "MEASURING_VERSION", kept.MEASURING_VERSION + 1)
    assert Record(MADE_OF).find() is None


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "empty"])
def test_damage_is_told_and_nothing_of_it_is_believed(suffix, harm, folder):
    record = Record(MADE_OF)
    record.keep(CONTENT, {"x": torch.rand(5)})
    path = folder / f"{record.key}.{suffix}"
    whole = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"flip": flipped, "truncate": whole[:middle], "empty": b""}[harm])
    if (suffix, harm) == ("json", "remove"):
        assert record.find() is None  # nothing was kept, as far as can be known
    else:
        with pytest.warns(UserWarning, match="is damaged"):
            assert record.find() is None
    record.keep(CONTENT, {"x": torch.rand(5)})
    assert record.find().content == CONTENT


def test_a_record_under_anothers_name_is_refused(folder):
    one, other = Record(MADE_OF), Record(MADE_OF | {"steps": 4})
    one.keep(CONTENT)
    shutil.copy(folder / f"{one.key}.json", folder / f"{other.key}.json")
    with pytest.warns(UserWarning, match="of another measurement"):
        assert other.find() is None


def test_the_evidence_is_looked_up_after_the_store(folder, tmp_path, monkeypatch):
    record = Record(MADE_OF)
    record.keep({"from": "evidence"})
    shutil.move(folder.parent, tmp_path / "evidence")
    assert record.find() is None
    monkeypatch.setenv("STIR_EVIDENCE", str(tmp_path / "evidence"))
    assert record.find().content == {"from": "evidence"}
    record.keep({"from": "store"})
    assert record.find().content == {"from": "store"}
    monkeypatch.setenv("STIR_FRESH", "1")
    assert record.find() is None


def test_a_run_lists_what_it_has_used(tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("STIR_USED", str(log))
    record = Record(MADE_OF)
    record.find()
    record.keep(CONTENT)
    record.find()
    assert log.read_text().splitlines() == [f"{word}\tmeasured/{record.key}.json" for word in ("measured", "kept")]


def test_what_cannot_be_kept_is_told(folder):
    folder.parent.write_text("a file where the store should be")
    with pytest.warns(UserWarning, match=r"could not be kept .* set \$STIR_STORE"):
        Record(MADE_OF).keep(CONTENT)


def test_the_record_is_plain_json(folder):
    record = Record(MADE_OF)
    record.keep(CONTENT)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    json.loads((folder / f"{record.key}.json").read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("text", ["null", "1", "[]", '"x"', "{}"])
def test_json_that_is_no_record_is_damage(text, folder):
    record = Record(MADE_OF)
    record.keep(CONTENT)
    (folder / f"{record.key}.json").write_text(text)
    with pytest.warns(UserWarning, match="is damaged"):
        assert record.find() is None


def test_entries_are_kept_beside_those_of_others():
    record = Record(MADE_OF)
    record.merge({"a": 1, "b": 1})
    record.merge({"b": 2, "c": 2})
    assert record.find().content == {"a": 1, "b": 2, "c": 2}


def test_a_full_disk_ends_no_run(folder, monkeypatch):
    monkeypatch.setenv("STIR_USED", "/dev/full")
    Record(MADE_OF).keep(CONTENT)
    assert Record(MADE_OF).find().content == CONTENT


def test_what_killed_runs_left_is_litter(folder):
    Record(MADE_OF).keep(CONTENT, {"x": torch.rand(2)})
    assert kept.litter() == []
    for name in ("a.json.1.partial", "b.safetensors"):
        (folder / name).write_text("")
    assert [path.name for path in kept.litter()] == ["a.json.1.partial", "b.safetensors"]


@pytest.mark.parametrize("writer", ["save_file", "write_card"])
def test_what_is_being_written_is_no_litter_to_others(writer, monkeypatch):
    """The order of two processes: one has written a file, the other removes litter, the first goes on."""
    write = getattr(kept, writer)

    def write_among_others(*arguments):
        if writer == "write_card":
            remove_litter(kept.litter)
        written = write(*arguments)
        remove_litter(kept.litter)
        return written

    monkeypatch.setattr(kept, writer, write_among_others)
    record = Record(MADE_OF)
    record.keep(CONTENT, {"x": torch.ones(2)})
    assert torch.equal(record.find().tensors["x"], torch.ones(2))
