"""An independent answer to the inversion of a linear network."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize


def nearest_in_box(matrix, images, seeds):
    """The x' in [0, 1] nearest to each seed with Ax' = Ax, by SciPy's sequential quadratic programming."""
    a = matrix.double().numpy()
    nearest = []
    for x, z in zip(images.flatten(1).double().numpy(), seeds.flatten(1).double().numpy(), strict=True):
        answer = minimize(
            lambda v, z=z: ((v - z) @ (v - z) / 2, v - z),
            x,
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * len(x),
            constraints={"type": "eq", "fun": lambda v, x=x: a @ (v - x), "jac": lambda v: a},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert answer.success
        nearest.append(answer.x)
    return torch.from_numpy(np.stack(nearest)).float().reshape(images.shape)
