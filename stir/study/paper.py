"""The paper's questions, as claims, and its authors' set-up, beside a finding's own measurements.

The authors' set-up is what their public code, their checkpoints' names and the paper's abstract tell; none of their
figures is quoted. The book's page "The paper and this book" has the same facts in full.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stir.study import cards
from stir.study.cards import chip, interval, text
from stir.study.conclusions import as_markdown, by_finding
from stir.study.naming import loss_name, radius, solver_name


@dataclass(frozen=True)
class Claim:
    """A claim that a finding tests.

    Attributes:
        says: the claim.
        tested_by: words of which each hypothesis that tests it holds one.
        source: who asks; the paper, unless a hypothesis is another's or our own.
        either_way: True if the claim is that two means differ, so that hypotheses which are contradicted bear it out.
    """

    says: str
    tested_by: Sequence[str]
    source: str = "The paper"
    either_way: bool = False


OWN = "Our own"
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "initialization": (
        Claim(
            "Two networks that differ only in their seed look alike to CKA but share far fewer invariances",
            ["look more alike than they share"],
        ),
        Claim("Adversarial training closes that gap", ["narrows that gap"]),
    ),
    "architecture": (
        Claim("Across architectures STIR falls further than CKA does", ["STIR falls further"]),
        Claim("Among robust networks it stays high", ["robust networks share more than standard"]),
        Claim("Networks with skip connections share more with each other", ["skip connections"]),
    ),
    "loss": (
        Claim(
            "Robust losses share invariances with each other more than with standard training",
            ["different robust losses", "STIR falls further"],
        ),
        Claim("The two directions differ", ["than the reverse"], either_way=True),
    ),
    "dataset": (
        Claim(
            "Networks trained on different data share fewer invariances",
            ["trained on the same data share more"],
        ),
        Claim(
            "Robust networks are affected less",
            ["cost standard networks more", "robust ones share more"],
        ),
        Claim("On images of other data the same networks share less", ["other data set"], OWN),
    ),
    "robustness": (
        Claim(
            "The more robust a network is trained to be, the more it resembles every other network",
            ["largest radius"],
            "Jones et al. (2022), about another measure",
        ),
    ),
    "updates": (
        Claim(
            "Successive versions of a network look more alike than they share; late updates keep more than early ones, "
            "and those of robust networks more than others",
            ["version", "update", "Update"],
            f"{OWN}, on a question of the paper",
        ),
    ),
}


def beside(judged: pd.DataFrame, table: pd.DataFrame) -> str:
    """HTML of each claim beside the verdicts on the hypotheses that test it, and of why these may differ from it.

    Args:
        judged: table that `stir.study.conclusions.conclude` returns.
        table: the finding's measured pairs.
    """
    finding = str(judged.finding.iloc[0])
    claims = CLAIMS.get(finding, ())
    rows = "".join(f"<tr><td>{_said(claim)}</td><td>{_measured(claim, judged)}</td></tr>" for claim in claims)
    listed = (
        '<table class="beside"><thead><tr><th scope="col">claimed</th><th scope="col">measured here</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    if not rows:
        return "<p>The paper makes no such claim; its authors’ code has a loss that finds such images.</p>"
    reasons = "".join(f"<li><em>{topic}.</em> {text(said)}.</li>" for topic, said in differences(judged, table))
    why = "<p>Besides chance, these differences may explain why a measurement disagrees with a claim:</p>"
    return f"{listed}{why}<ul>{reasons}</ul>"


def on_claims(judged: pd.DataFrame) -> str:
    """HTML of the verdicts at each scale on the hypotheses that test each claim, of all findings.

    Args:
        judged: table that `stir.study.scales.at_scales` returns.
    """
    scales = {scale: scale for scale in dict.fromkeys(judged["scale"])}
    parts = []
    for finding, claims in CLAIMS.items():
        for number, claim in enumerate(claims):
            rows = tests_of(claim, judged.loc[judged.finding == finding])
            says = f"{claim.says} (whichever way: ✗ bears it out too)" if claim.either_way else claim.says
            parts.append(rows.assign(finding=f"{finding} {number}", question=f"{claim.source}: {says}"))
    together = pd.concat(parts)
    caption = "Differences that a hypothesis says are above zero; an empty cell was not measured at that scale."
    return cards.grid(together, scales, by="scale", caption=caption) + cards.legend(together.verdict)


def set_up(judged: pd.DataFrame, replicas: Mapping[str, int]) -> dict[str, str]:
    """Set-up of the measurements of one scale, in words, finding by finding where they differ.

    Args:
        judged: table that `stir.study.conclusions.read_verdicts` returns.
        replicas: finding -> its number of networks of a kind.

    Returns:
        Topic of the page on the paper -> Markdown.
    """
    firsts = judged.groupby("finding", sort=False).first()
    recipes = {str(finding): json.loads(recipe) for finding, recipe in firsts.recipe.dropna().items()}
    images = {str(finding): str(count) for finding, count in firsts.images.items()}

    def grouped(values: Mapping[str, str]) -> str:
        return by_finding(values, "; ")

    def settings(**names: str) -> str:
        texts = [(words, {key: _listed(each, name) for key, each in recipes.items()}) for name, words in names.items()]
        return ". ".join(f"{words}: {grouped(values)}" for words, values in texts)

    losses = grouped({key: _robust(each) for key, each in recipes.items()})
    texts = {
        "images": f"Test images of {_name(judged.dataset.mode().iloc[0])}: {grouped(images)}",
        "networks": settings(architecture="Architectures", width="Channels of the first stage"),
        "replicas": grouped({finding: str(count) for finding, count in replicas.items()}),
        "training": settings(
            epochs="Epochs",
            batch_size="Images a step",
            learning_rate="Highest learning rate",
            weight_decay="Weight decay",
            augmentation="Augmentation",
        ),
        "robust training": f"Losses: {losses}. {settings(epsilon='Radii', attack_steps='Steps of the attack')}",
        "data sets": str(firsts.dataset.get("dataset", "not measured")),
    }
    return {topic: as_markdown(text) for topic, text in texts.items()}


def _name(dataset: str) -> str:
    """Name of a data set without the number of its images: "CIFAR-10 (JPEG), 20000 images"."""
    return dataset.partition(", ")[0]


def tests_of(claim: Claim, judged: pd.DataFrame) -> pd.DataFrame:
    """The rows of the hypotheses that test a claim."""
    return judged.loc[[any(words in each for words in claim.tested_by) for each in judged.claim]]


def _said(claim: Claim) -> str:
    return f"<strong>{text(claim.source)}</strong>: {text(claim.says)}."


def _measured(claim: Claim, judged: pd.DataFrame) -> str:
    lines = [
        f"<li>{chip(row.verdict)} {text(row.claim)}: {interval(row)}"
        f"{'; so they differ, the other way' if claim.either_way and row.verdict == 'contradicted' else ''}</li>"
        for _, row in tests_of(claim, judged).iterrows()
    ]
    return f"<ul>{''.join(lines)}</ul>"


def differences(judged: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Topics in which the set-up of a claim's authors differs from that of these measurements, each with both in words.

    Args:
        judged, table: as in `beside`.
    """
    recipe: Mapping[str, Any] = json.loads(table.recipe.iloc[0])
    first = table.iloc[0]
    if judged.finding.iloc[0] == "robustness":
        yield from _from_jones(recipe, first)
        return
    dataset = _name(str(judged.dataset.iloc[0]))
    images = f"{judged.images.max()} test images of {dataset}"
    yield (
        "Images",
        f"The authors measure on training images of CIFAR-10; here on {images}",
    )
    yield (
        "Networks",
        "Theirs are ResNet18, ResNet34, VGG16 and VGG19 of 64 channels in the first stage; here "
        f"{_listed(recipe, 'architecture')} of {_listed(recipe, 'width')} channels",
    )
    yield (
        "Training",
        "Theirs: 150 epochs at a rate of 0.1 that falls tenfold every 50, weight decay 0.0005, batches of 128; "
        f"here {_listed(recipe, 'epochs')} epochs on a one-cycle schedule up to {_listed(recipe, 'learning_rate')}, "
        f"weight decay {_listed(recipe, 'weight_decay')}, batches of {_listed(recipe, 'batch_size')}",
    )
    if "attack_steps" in recipe:
        yield (
            "Robust training",
            "Theirs is within an L2 ball of radius 1, with 7 steps of attack, for TRADES and MART too; here "
            f"{_robust(recipe)}; radius: {_listed(recipe, 'epsilon')}; steps of attack: "
            f"{_listed(recipe, 'attack_steps')}",
        )
    if judged.finding.iloc[0] == "dataset":
        yield "Data sets", f"They compare CIFAR-10 with CIFAR-100; here {dataset}"
    if judged.finding.iloc[0] == "updates":
        sizes = ", ".join(map(str, sorted(set(table.reference_size))))
        yield "Updates", f"They add 5,000 images at a time, up to 45,000; here the sets hold {sizes} images"
    yield (
        "Inversion",
        "They take the best of 1,000 normalized gradient steps of length 0.5, with gradients that pass some ReLUs of "
        f"ResNets unchanged; here {_descent(first)}, with the network’s own gradients",
    )
    yield "Error bars", "Their code gives none; each verdict here rests on an interval over networks and images"


def _from_jones(recipe: Mapping[str, Any], first: pd.Series) -> Iterator[tuple[str, str]]:
    """As `differences`, from the set-up of Jones et al. (2022)."""
    yield (
        "Measure",
        "Jones et al. compare both networks on the inverted images, S(m₁(X′), m₂(X′)); STIR compares the target on the "
        "images and on the inverted ones",
    )
    yield (
        "Networks",
        "They compare networks of different architectures; here all are "
        f"{_listed(recipe, 'architecture')} of {_listed(recipe, 'width')} channels",
    )
    yield "Seed images", f"They begin from images of another label; here the seed images are “{first.seeds}”"
    yield "Inversion", f"They make 2,000 steps of size 1/8 with momentum; here {_descent(first)}"


def _descent(first: pd.Series) -> str:
    """The inversion of a row of a table of pairs, in words."""
    return f"{solver_name(first.solver)} makes {first.steps:.0f} steps towards the image nearest to the seed"


def _robust(recipe: Mapping[str, Any]) -> str:
    """Names of a recipe's losses but the standard one."""
    losses = recipe.get("loss", [])
    names = [loss_name(loss) for loss in ([losses] if isinstance(losses, str) else losses) if loss != "standard"]
    return ", ".join(names) or "none"


def _listed(recipe: Mapping[str, Any], setting: str) -> str:
    value = recipe.get(setting, "none")
    values = value if isinstance(value, list) else [value]
    written = radius if setting == "epsilon" else str
    return ", ".join(written(str(each)) for each in values)
