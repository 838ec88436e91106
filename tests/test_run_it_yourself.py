"""Every snippet of the page "Run it yourself", in its order, in one project whose scale `digits` is smaller."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from helpers.processes import ENVIRONMENT
from helpers.project import LITTLE, PROJECT

from stir.cli import main

PAGE = (PROJECT / "book" / "run-it-yourself.md").read_text()
SNIPPET = re.compile(r"(?:^<!-- (needs|file): ([^\n]+) -->\n)?^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a machine may lack: snippets marked with one of these in the page's source are not run.
NEEDS = {
    "a clone and minutes",
    "the images of CIFAR-10 and hours",
    "an hour",
    "several machines",
    "SLURM",
    "a network to download by",
}
ELSEWHERE = ("sweep", "book")  # commands of `stir` that start processes which find their own way to the package


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of all that is not executed, the current folder."""
    for name in ("notebooks", "book"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("runs", "evidence"))
    shutil.copy(PROJECT / "_config.yml", tmp_path)
    (tmp_path / "notebooks" / "scales" / "digits.yml").write_text(yaml.safe_dump(LITTLE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # `stir compare` looks for modules in the current folder first
    yield tmp_path
    sys.modules.pop("mine", None)


def run(line):
    """A line of a shell; those of `stir` in this process, which has loaded all that they need."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["stir"] and words[1] not in ELSEWHERE:
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, (line, result.output)
        return result.output
    if words[:1] == ["stir"]:
        line = shlex.join([sys.executable, "-m", *words])
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"
    done = subprocess.run(line, shell=True, env=ENVIRONMENT | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def test_what_a_machine_may_lack_is_named():
    marks = [(kind, what) for kind, what, _, _ in SNIPPET.findall(PAGE) if kind]
    assert {what for kind, what in marks if kind == "needs"} == NEEDS
    assert len(SNIPPET.findall(PAGE)) == PAGE.count("\n```bash") + PAGE.count("\n```python") > len(marks) + 10


def test_every_snippet_runs_as_it_stands(project):
    told: dict[str, str] = {}
    for kind, what, language, text in SNIPPET.findall(PAGE):
        if kind == "file":
            (project / what).write_text(text)
        elif kind != "needs" and language == "python":
            exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})
        elif kind != "needs":
            told |= {line: run(line) for line in text.splitlines()}
    everything = "".join(told.values())
    assert "page     runs/digits/loss-seeds=0+1,n_images=100/loss.ipynb" in everything
    assert "2 combinations: 1 done, 1 to run" in everything
    assert (project / "_build" / "own" / "index.html").exists()
    for made in ("loss.csv", "runs/digits/loss-seeds=0+1-by-n_images=50+100-difference_value-n_images.png"):
        assert (project / made).exists()
