"""Weight decay: a penalty ½ Σₚ κₚ θₚ² that is a part of the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nconvex.definitions import NconvexError, numbers, require_finite


def factors(given: float | ArrayLike, size: int) -> np.ndarray:
    """Check κ: one number for all parameters, or (P,); returns (P,), or (0,) if all are zero.

    Raises:
        NconvexError: κ has another shape, or is negative or not finite.
    """
    kappa = numbers("weight_decay", given)
    if kappa.shape not in ((), (size,)):
        raise NconvexError(
            f"weight_decay has shape {kappa.shape}; give one number, or one for each of the "
            f"{size} parameters"
        )
    require_finite("weight_decay", kappa)
    if (kappa < 0.0).any():
        raise NconvexError(f"weight_decay must be at least 0, not {kappa.min():g}")
    return np.full(size, kappa) if kappa.any() else np.empty(0)


def penalty(kappa: np.ndarray, theta: np.ndarray) -> float:
    """½ Σₚ κₚ θₚ²; its gradient is κ θ."""
    return 0.5 * float(np.sum(kappa * theta * theta)) if kappa.size else 0.0
