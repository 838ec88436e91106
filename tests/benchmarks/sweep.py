"""A sweep of small pairs of networks on the digits, killed once on the way: what is repeated, and how efficient it is.

    python tests/benchmarks/sweep.py --combinations 200 --workers 2

Prints one line of JSON: the combinations, those done before the kill, those that came to the notebook's end twice, the
networks, the measurements that were made twice, and, of the part after the kill, the seconds and the share of the
workers' time that combinations ran, with the start of each one's process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nbformat

PARAMETERS = """
seed: int = 0  # of the first network; the second has the next
steps: int = 1  # of inversion
device: str = "auto"  # auto, cpu, cuda or mps
"""
CODE = """
import stir

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
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), arguments.combinations, arguments.workers)))


def measure(project: Path, combinations: int, workers: int) -> dict[str, object]:
    """Run the sweep in a folder, kill it at a third of it, and run it again."""
    write(project)
    grid = ["--grid", f"seed=0..{combinations // PER_SEED - 1}", "--grid", f"steps=2..{2 * PER_SEED}..2"]
    command = [sys.executable, "-m", "stir", "sweep", "pair", *grid, "--workers", str(workers), "--output", "out"]
    environment = os.environ | {"STIR_STORE": str(project / "store"), "PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen(command, cwd=project, env=environment, stdout=sys.stderr)
    log = project / "out" / "log"
    while not log.exists() or len(log.read_text().splitlines()) < combinations // 3:
        time.sleep(0.2)
        if first.poll() is not None:
            raise RuntimeError("the sweep ended before it was killed")
    first.kill()
    first.wait()
    load = os.getloadavg()[0]
    second = subprocess.run(command, cwd=project, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    used = [json.loads(path.read_text()) for path in project.glob("out/*/pair-used.json")]
    measured = Counter(name for each in used for name, word in each.items() if word == "measured")
    done = int(re.search(r"(\d+) done", second.stdout)[1])
    seconds, share = re.search(r"(\d+) s with \d+ workers, .* work (\d+)%", second.stdout).groups()
    return {
        "combinations": len(used),
        "done before the kill": done,
        "ran twice": sum(count > 1 for count in Counter(log.read_text().splitlines()).values()),
        "networks": len([*project.glob("store/models/*.json")]),
        "measured twice": sum(count > 1 for count in measured.values()),
        "workers": workers,
        "seconds after the kill": int(seconds),
        "at work": int(share) / 100,
        "load at the kill": round(load, 1),
        "cores": os.cpu_count(),
    }


def write(project: Path) -> None:
    """Write a project with one notebook, `pair`."""
    (project / "notebooks" / "scales").mkdir(parents=True)
    (project / "notebooks" / "scales" / "digits.yml").write_text("")
    cells = [
        nbformat.v4.new_markdown_cell("# A pair of networks"),
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(CODE),
    ]
    python = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=python)
    nbformat.write(notebook, project / "notebooks" / "pair.ipynb")


if __name__ == "__main__":
    main()
