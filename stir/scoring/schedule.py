"""Schedule of inversions: the draws of many references, several at a time on a CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

from torch import nn
from tqdm.auto import tqdm

from stir.computing.devices import resolve_device
from stir.computing.parallel import is_picklable, side_by_side
from stir.scoring.draws import Draws, draw
from stir.scoring.question import Question


def draw_all(questions: Sequence[Question], models: Mapping[str, nn.Module]) -> list[list[Draws]]:
    """The draws for each question: of each reference for all targets, or, in the worst case, for each other target.

    Args:
        questions: those of one table, which differ in their layers alone.
        models: name -> network.
    """
    first, worst = questions[0], questions[0].worst_case
    tasks: list[tuple[Question, str, list[str]]] = []
    for question, name in product(questions, models):
        others = [[other] for other in models if other != name]
        tasks += [(question, name, targets) for targets in (others if worst else [[*models]])]
    arguments = [
        (question, models[name], models[targets[0]] if worst else None, (name, targets[0]))
        for question, name, targets in tasks
    ]
    # Starting processes takes about as long as two inversions of a small network.
    at_least = 4 if is_picklable((models, first.measures)) else math.inf
    running = side_by_side(draw, arguments, resolve_device(first.options.device), at_least=at_least)
    bar = tqdm(
        running,
        total=len(tasks),
        desc="pairs" if worst else "references",
        unit="inversion",
        disable=not first.options.progress,
        leave=False,
    )
    # All before any is scored: a network cannot be used here while it is being sent to another process.
    draws = [Draws(name, targets, inversions) for (_, name, targets), inversions in zip(tasks, bar, strict=True)]
    return [
        [each for (asked, *_), each in zip(tasks, draws, strict=True) if asked is question] for question in questions
    ]
