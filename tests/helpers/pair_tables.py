"""Tables of pairs of networks whose scores are known."""

import pandas as pd


def pairs(effects, stir=0.5, cka=0.9, width=0.02, measure="linear-cka"):
    """All ordered pairs of networks, each with itself too; a pair's STIR is `stir` plus both networks' effects."""
    rows = [
        {
            "reference": a, "target": b, "measure": measure, "n_images": 100, "reference_layer": "penultimate",
            "converged": 1.0, "pixels": 0.3, "steps": 200,
            "stir": stir + effects[a] + effects[b], "cka": cka,
            "stir_low": stir - width, "stir_high": stir + width, "cka_low": cka - width, "cka_high": cka + width,
        }
        for a in effects for b in effects
    ]  # fmt: skip
    return pd.DataFrame(rows)


def kinds_of(effects):
    """Attributes of networks by the letter and the number in their names."""
    return {name: {"kind": name[0], "seed": int(name[1:])} for name in effects}
