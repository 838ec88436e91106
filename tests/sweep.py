"""A sweep of small pairs of networks on the digits, killed once on the way: what is repeated, and how efficient it is.

    python tests/sweep.py --combinations 200 --workers 2

Prints one line of JSON: the combinations, those done before the kill, those that came to the notebook's end twice, and
the networks; the measurements that the store holds, each of one network given another with one number of steps, and how
many were made to their end twice; and, of the part after the kill, the seconds, the share of the workers' time that
combinations ran, with the start of each one's process, and the machine's mean load.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from helpers.project import PROJECT, write_project

PARAMETERS = """
seed: int = 0  # of the first network; the second has the next
steps: int = 1  # of inversion
device: str = "auto"  # auto, cpu, cuda or mps
"""
CODE = """
import stir
from stir.kept import Record

def merge(record, content, keep=Record.merge):
    with open("../../measured", "a") as log:  # what is measured to its end, right before it is kept
        log.write("".join(f"{record.key} {place}\\n" for place in content))
    keep(record, content)

Record.merge = merge
images = stir.load_dataset("digits").test.images[:24]
networks = {f"seed {each}": {"seed": each} for each in (seed, seed + 1)}
models = stir.trained_models(networks, architecture="resnet10", width=8, epochs=2, progress=False)
stir.pairwise(models, images, steps=steps, device=device, progress=False).to_csv("pair.csv", index=False)
with open("../../log", "a") as log:
    log.write(f"{seed} {steps}\\n")
"""
PER_SEED = 20  # combinations that share two networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--combinations", type=int, default=200, help=f"a multiple of {PER_SEED}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep all in this folder; a run that was ended goes on there")
    arguments = parser.parse_args()
    if arguments.combinations < PER_SEED or arguments.combinations % PER_SEED:
        parser.error(f"--combinations={arguments.combinations} must be a multiple of {PER_SEED}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        print(json.dumps(measure(folder, arguments.combinations, arguments.workers)))


def measure(project: Path, combinations: int, workers: int) -> dict[str, object]:
    """Run the sweep in a folder, kill it at a third of it, and run it again."""
    grid = ["--grid", f"seed=0..{combinations // PER_SEED - 1}", "--grid", f"steps=2..{2 * PER_SEED}..2"]
    command = [sys.executable, "-m", "stir", "sweep", "pair", *grid, "--workers", str(workers), "--output", "out"]
    environment = {"STIR_STORE": str(project / "store"), "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
    options: dict[str, Any] = {"cwd": project, "env": os.environ | environment, "text": True}
    log, killed = project / "out" / "log", project / "killed"
    if not killed.exists():
        write_project(project, "pair", PARAMETERS, CODE)
        kill_at(combinations // 3, log, subprocess.Popen(command, stdout=sys.stderr, **options))
        killed.write_text(str(len([*project.glob("out/*/pair.json")])))
    loads, told = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as second:
        for line in second.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            told.append(line)
            loads.append(os.getloadavg()[0])
    if second.returncode:
        raise RuntimeError("the sweep failed after it was killed")
    seconds, share = re.search(r"(\d+) s with \d+ workers?, .* work (\d+)%", "".join(told)).groups()
    measured = Counter((project / "out" / "measured").read_text().splitlines())
    held = {f"{path.stem} {place}" for path in project.glob("store/measured/*.json") for place in pairs_in(path)}
    if held != set(measured):
        raise RuntimeError(f"{len(measured)} measurements were made, and the store holds {len(held)}")
    return {
        "combinations": len([*project.glob("out/*/pair.json")]),
        "done before the kill": int(killed.read_text()),
        "ran twice": sum(count > 1 for count in Counter(log.read_text().splitlines()).values()),
        "networks": len([*project.glob("store/models/*.json")]),
        "measurements": len(held),
        "made twice": sum(count > 1 for count in measured.values()),
        "workers": workers,
        "seconds after the kill": int(seconds),
        "at work": int(share) / 100,
        "load": round(statistics.mean(loads), 1),
        "cores": os.cpu_count(),
    }


def pairs_in(path: Path) -> list[str]:
    """The targets that a record of the store holds rows of; none if it is of something else."""
    card = json.loads(path.read_text())
    return [*card["content"]] if card["made_of"]["kind"] == "pairs" else []


def kill_at(count: int, log: Path, process: subprocess.Popen) -> None:
    """Kill a sweep once its log has so many lines."""
    while not log.exists() or len(log.read_text().splitlines()) < count:
        time.sleep(0.2)
        if process.poll() is not None:
            raise RuntimeError("the sweep ended before it was killed")
    process.kill()
    process.wait()


if __name__ == "__main__":
    main()
