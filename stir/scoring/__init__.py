"""STIR scores, with intervals, baselines and diagnostics (Nanda et al. 2022, eq. 2)."""
