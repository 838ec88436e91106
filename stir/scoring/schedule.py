"""Schedule of inversions: the draws of many references, several at a time on a CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from stir.computing.devices import resolve_device
from stir.computing.parallel import is_picklable, side_by_side
from stir.computing.progress import progress_bar
from stir.scoring.draws import Draws, draw
from stir.scoring.question import Question

Task = tuple[int, str, tuple[str, ...]]  # number of a question, a reference, and the targets to be scored on its X'


def draw_all(questions: Sequence[Question], tasks: Sequence[Task], models: Mapping[str, nn.Module]) -> list[Draws]:
    """The draws for each task.

    Args:
        questions: those of one table, which differ in their layers alone.
        tasks: in the worst case with one target each.
        models: name -> network.
    """
    first, worst = questions[0], questions[0].worst_case
    arguments = [
        (questions[number], models[name], models[targets[0]] if worst else None, (name, targets[0]))
        for number, name, targets in tasks
    ]
    # Starting processes takes about as long as two inversions of a small network.
    at_least = 4 if is_picklable((models, first.measures)) else math.inf
    running = side_by_side(draw, arguments, resolve_device(first.options.device), at_least=at_least)
    bar = progress_bar(
        running,
        total=len(tasks),
        desc="pairs" if worst else "references",
        unit="inversion",
        show=first.options.progress,
    )
    # All before any is scored: a network cannot be used here while it is being sent to another process.
    return [Draws(name, targets, inversions) for (_, name, targets), inversions in zip(tasks, bar, strict=True)]


def in_groups(tasks: Sequence[Task], device: str | torch.device) -> list[Sequence[Task]]:
    """Divide tasks into groups whose scores are kept together; small ones, since a killed run loses its group.

    On a CPU several are inverted at a time, and need to be more than the cores to keep all of these busy.
    """
    size = max(4, 2 * torch.get_num_threads()) if resolve_device(device).type == "cpu" else 1
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]
