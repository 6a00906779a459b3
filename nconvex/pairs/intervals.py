"""Confidence intervals: Wilson's for shares, Student's t for means.

Wilson's interval for k successes of n, with z the normal quantile,

    (k + z²/2 ± z √(k (n - k)/n + z²/4)) / (n + z²)

stays inside [0, 1] and does not shrink to a point where k is 0 or n. The t interval, mean ± t s/√n,
holds for means of many pairs; with few of them and a skewed distribution it is rough.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

#: Of all intervals.
CONFIDENCE = 0.95


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Bound the share behind `successes` of `trials`, with 95 % confidence; (0, 1) without any."""
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + 0.5 * CONFIDENCE)
    centre = successes + 0.5 * z * z
    half = z * math.sqrt(successes * (trials - successes) / trials + 0.25 * z * z)
    lower = 0.0 if successes == 0 else (centre - half) / (trials + z * z)
    upper = 1.0 if successes == trials else (centre + half) / (trials + z * z)
    return lower, upper


def mean(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of values (n,) and its t interval; not a number where there is none."""
    n = len(values)
    if n == 0:
        return math.nan, math.nan, math.nan
    with np.errstate(all="ignore"):  # an infinite value has a mean, but no interval
        middle = float(np.mean(values))
        if n == 1:
            return middle, math.nan, math.nan
        half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return middle, middle - half, middle + half


def t_quantile(freedom: int) -> float:
    """Return t with P(|T| ≤ t) = 95 % for Student's T with `freedom` degrees, by bisection."""
    low, high = 0.0, 100.0
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        if _within(middle, freedom) < CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| ≤ t), the finite sum over powers of cos² θ, tan θ = t/√freedom."""
    theta = math.atan(t / math.sqrt(freedom))
    square = math.cos(theta) ** 2
    odd = freedom % 2
    term, total = 1.0, 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= square * k / (k + 1)
    if odd:
        return 2.0 / math.pi * (theta + math.sin(theta) * math.cos(theta) * total)
    return math.sin(theta) * total
