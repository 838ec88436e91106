"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import Any

import pandas as pd
import torch
from torch import nn

from stir.data.deferred import DeferredImages
from stir.data.images import Images, gather_images
from stir.inversion.options import InversionOptions, with_changes
from stir.scoring.cautions import warn_of_one_seed, warn_of_refusals, warn_of_scores
from stir.scoring.draws import Draws, draw
from stir.scoring.evaluation import Evaluation
from stir.scoring.kept_pairs import KeptPairs, can_be_kept
from stir.scoring.question import Layer, Question
from stir.scoring.result import COLUMNS, REFUSED, StirResult
from stir.scoring.schedule import Task, draw_all, in_groups
from stir.similarity.measures import Measure

Rows = dict[tuple[int, str, str], list[dict[str, Any]]]  # by the number of the question, reference and target


def score(
    target: nn.Module,
    *,
    given: nn.Module,
    images: Images,
    layer: str | None = None,
    given_layer: str | None = None,
    measure: str | Measure = "linear-cka",
    draws: int = 1,
    worst_case: bool = False,
    options: InversionOptions | None = None,
    **changes,
) -> StirResult:
    """STIR(target | given): how far `target` shares the invariances of `given`, its reference.

    Args:
        target: the network whose invariances are looked at, m2.
        given: the reference m1, which X' is made for. Both take images [N, C, H, W] in [0, 1].
        images: X, at least 5: a tensor, a data set or a data loader; the batches play no part.
        layer: of both, as in `stir.inversion.representation.Representation`: dotted name of a submodule; None or
            "penultimate" for the input of the last linear layer.
        given_layer: the reference's layer, where that is another one.
        measure: S, a name from `stir.similarity.MEASURES` or a function of two feature matrices
            [N, P] and [N, Q] to a number of at most 1, which raises a ValueError where it cannot compare them.
        draws: how many times X' is drawn.
        worst_case: take the X' of `stir.controversial`, which look as different to `target` as
            the reference's invariances allow: a lower end to what the average over X' hides.
        options: of the inversion; None for the defaults of `stir.InversionOptions`.
        **changes: fields of `options` that differ: seeds, seed, within, solver (not in the worst case), steps,
            tolerance, pool, precision, device, batch_size, progress.

    Returns:
        The score with all that tells how far to trust it.

    Raises:
        ValueError: an argument out of its range, or features of X that a measure with a name cannot compare, before any
            work; or features of X' that the measure cannot compare.
        TypeError: an argument that is no option of an inversion.

    Warns:
        UserWarning: the inversion came out too poor to trust the value: a ceiling below 0.95, or fewer than half of the
            images within the tolerance, or than 90% if `worst_case`; the interval includes or lies below the floor or
            a baseline, unless `worst_case`; it leaves out that of the seed (gaussian-shared, one draw); a network's
            features depend on the batch size or on chance; or a measure of the user's own returned NaN.
    """
    question = Question(
        images=gather_images(images),
        layer=layer,
        given_layer=layer if given_layer is None else given_layer,
        measure=measure,
        draws=draws,
        worst_case=worst_case,
        options=with_changes(options, changes),
    )
    warn_of_one_seed(question.options, draws)
    question.check_target("target", target)
    question.check_reference("reference", given)
    inversions = draw(question, given, target if worst_case else None)
    draws_of_reference = Draws("reference", ["target"], inversions)
    evaluation = Evaluation(question, ["target"])
    (result,) = evaluation.scores([draws_of_reference], {"reference": given}, {"target": target})
    warn_of_scores(result.to_frame(), question.measure, worst_case, question.options.tolerance)
    return result


def pairwise(
    models: Mapping[str, nn.Module],
    images: Images,
    *,
    layers: Sequence[Layer] | Mapping[str, str | None] = (None,),
    given_layer: Layer = None,
    measure: str | Measure = "linear-cka",
    also: Sequence[str | Measure] = (),
    draws: int = 1,
    worst_case: bool = False,
    options: InversionOptions | None = None,
    **changes,
) -> pd.DataFrame:
    """STIR of every ordered pair of networks, each with itself among them, at every layer.

    Each reference is inverted once for each layer and draw, several references at a time on a CPU (see
    `stir.computing.parallel.side_by_side`), and all targets are scored on that.

    Args:
        models: name -> network.
        images, measure, draws, options, changes: as in `score`.
        layers: each is used on both sides. One of them may be a mapping from the networks' names to their layers, as in
            `[{"resnet": "layer3", "vit": "encoder.ln"}]`; a mapping alone is one layer.
        given_layer: the reference's layer, where that is another one than each of `layers`.
        worst_case: as in `score`; then there are X' for each pair, and no pairs of a network with itself.
        also: further measures, of the same X', each with another name: of a function its `__name__`, or "custom" where
            it has none, as `functools.partial` has none. Their rows have baselines, but no floor and no intervals,
            which would take nearly all the time.

    Raises:
        ValueError, TypeError: as `score`; or no network or layer is given, or a single text for `layers` or `also`;
            before any work.

    Returns:
        One row for each ordered pair, layer and measure, with the columns of `stir.scoring.result.COLUMNS`.

    Warns:
        UserWarning: as `score`, each once for all pairs, with the worst of them; or one of `also` refuses pairs, whose
            rows it then lacks.
    """
    for argument, value in (("layers", layers), ("also", also)):
        if isinstance(value, str):  # a sequence too, of its letters, and "1" and "0" may well be layers
            raise ValueError(f"{argument}={value!r} must be a list, such as [{value!r}]")
    sides = _layers_of_sides(models, layers, given_layer)
    if worst_case and len(models) < 2:
        raise ValueError("models holds one network; worst_case=True compares at least two")
    options = with_changes(options, changes)
    images = images if isinstance(images, DeferredImages) else gather_images(images)
    settings: dict[str, Any] = dict(measure=measure, also=tuple(also), draws=draws, worst_case=worst_case)
    unseen = torch.empty(len(images), 0)
    for both in sides:
        Question(unseen, *both, options=options, **settings)  # checks
    warn_of_one_seed(options, draws)
    tasks = _tasks(len(sides), [*models], worst_case)
    kept = KeptPairs(models, images, settings, options) if can_be_kept(models, measure, *also) else None
    rows = _kept_rows(kept, sides, models)
    if not all(pair in rows for pair in _pairs(tasks)):
        rows = _measure_rows(models, images, sides, tasks, settings, options, kept)
    all_rows = [row for pair in _pairs(tasks) for row in rows[pair]]
    table = pd.DataFrame([row for row in all_rows if REFUSED not in row], columns=[*COLUMNS])
    warn_of_refusals(table, measure, also, [row for row in all_rows if REFUSED in row])
    warn_of_scores(table, measure, worst_case, options.tolerance)
    return table


def _layers_of_sides(
    models: Mapping[str, nn.Module], layers: Sequence[Layer] | Mapping[str, str | None], given_layer: Layer
) -> list[tuple[Layer, Layer]]:
    """The target's and the reference's layer of each question that `pairwise` is asked.

    Raises:
        ValueError: there are no networks or no layers, or layers by name are not of these networks.
    """
    if not models:
        raise ValueError("models is empty; give at least one network")
    if not layers:
        raise ValueError("layers is empty; give at least one layer, or None for the penultimate one")
    layers = [layers] if isinstance(layers, Mapping) else layers
    for layer in [*layers, given_layer]:
        if isinstance(layer, Mapping) and set(layer) != set(models):
            raise ValueError(f"layers names {sorted(layer)}; it must name each of the networks, {sorted(models)}")
    return [(layer, layer if given_layer is None else given_layer) for layer in layers]


def _tasks(questions: int, names: Sequence[str], worst_case: bool) -> list[Task]:
    """Each network as a reference in each question, with all targets, or in the worst case with one at a time."""
    tasks: list[Task] = []
    for number, name in product(range(questions), names):
        others = [(other,) for other in names if other != name] if worst_case else [tuple(names)]
        tasks += [(number, name, targets) for targets in others]
    return tasks


def _kept_rows(kept: KeptPairs | None, sides: Sequence[tuple[Layer, Layer]], models: Iterable[str]) -> Rows:
    """All kept rows, for each pair of a target's and a reference's layer and for each reference."""
    rows: Rows = {}
    if kept is not None:
        for (number, both), name in product(enumerate(sides), models):
            rows |= {(number, name, target): each for target, each in kept.find(*both, name).items()}
    return rows


def _measure_rows(
    models: Mapping[str, nn.Module],
    images: torch.Tensor | DeferredImages,
    sides: Sequence[tuple[Layer, Layer]],
    tasks: Sequence[Task],
    settings: dict[str, Any],
    options: InversionOptions,
    kept: KeptPairs | None,
) -> Rows:
    """The rows of all tasks: those that were kept, and those that are measured now."""
    networks = dict(models)  # reads the weights, if they were not read
    if kept is not None and kept.has_retrained:  # some were gone, and trained again
        kept = KeptPairs(kept.models, images, settings, options)
    rows = _kept_rows(kept, sides, models)
    questions = [Question(gather_images(images), *both, options=options, **settings) for both in sides]
    _measure_missing(rows, tasks, networks, questions, kept)
    return rows


def _measure_missing(
    rows: Rows,
    tasks: Sequence[Task],
    models: Mapping[str, nn.Module],
    questions: Sequence[Question],
    kept: KeptPairs | None,
) -> None:
    """Measure the rows of the tasks that are missing from `rows`, add them, and keep them."""
    for question in questions:
        for name, model in models.items():
            question.check_reference(name, model)
            if question.given_layer != question.layer:  # else that was all that a target must fulfil
                question.check_target(name, model)
    order = list(dict.fromkeys(target for _, _, target in _pairs(tasks)))
    evaluations = [Evaluation(question, order) for question in questions]
    missing = _without(rows, tasks)
    if kept is None:
        _measure(missing, models, questions, evaluations, rows, None)
        return
    groups = in_groups(missing, questions[0].options.device)
    for wait in (False, True):  # what another process measures meanwhile comes last, and is then found
        busy = []
        for group in groups:
            references = dict.fromkeys((number, name) for number, name, _ in group)
            with kept.claimed([(questions[number].given_layer, name) for number, name in references], wait) as claimed:
                if not claimed:
                    busy.append(group)
                    continue
                for number, name in references:
                    sides = questions[number].layer, questions[number].given_layer
                    rows |= {(number, name, target): each for target, each in kept.find(*sides, name).items()}
                _measure(_without(rows, group), models, questions, evaluations, rows, kept)
        groups = busy


def _without(rows: Rows, tasks: Sequence[Task]) -> list[Task]:
    """The tasks with missing rows, each with only the targets of these rows."""
    left = [
        (number, name, tuple(each for each in targets if (number, name, each) not in rows))
        for number, name, targets in tasks
    ]
    return [task for task in left if task[2]]


def _measure(
    tasks: Sequence[Task],
    models: Mapping[str, nn.Module],
    questions: Sequence[Question],
    evaluations: Sequence[Evaluation],
    rows: Rows,
    kept: KeptPairs | None,
) -> None:
    """Add the rows of the tasks to `rows`, and keep them."""
    if not tasks:
        return
    start = time.perf_counter()
    drawn = draw_all(questions, tasks, models)
    inverted = time.perf_counter()
    pairs = [*_pairs(tasks)]
    for number, evaluation in enumerate(evaluations):
        draws = [each for (asking, *_), each in zip(tasks, drawn, strict=True) if asking == number]
        results = evaluation.scores(draws, models, models)
        for (name, target), some in groupby(results, key=lambda result: (result.reference, result.target)):
            scored = [result.as_row() for result in some]
            rows[number, name, target] = [*scored, *evaluation.refusals.get((name, target), [])]
    if kept is not None:
        end = time.perf_counter()
        seconds = {"inversion": (inverted - start) / len(pairs), "scores": (end - inverted) / len(pairs)}
        for number, name, targets in tasks:
            measured = {target: rows[number, name, target] for target in targets}
            kept.keep(questions[number].layer, questions[number].given_layer, name, measured, **seconds)


def _pairs(tasks: Sequence[Task]) -> Iterator[tuple[int, str, str]]:
    """Number of the question, reference and target of each pair."""
    return ((number, name, target) for number, name, targets in tasks for target in targets)
