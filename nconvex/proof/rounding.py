"""A bound of the rounding error of `centred`, computed once for a segment.

It is added to every upper bound and subtracted from every value of γ. So both hold in exact
arithmetic.

Assumptions
    IEEE 754 double precision, round to nearest; u = 2⁻⁵³. A product and a sum may be fused, which
    rounds less. exp, tanh and log1p err by at most 8 u relative to the larger of 1 and the result.
    c and r are dyadic fractions, so t and 1 - t are exact; r ≤ 1/4. If anything can overflow, the
    bound is infinite. A product that underflows errs by at most 2⁻¹⁰⁷⁴, or by 2⁻¹⁰²² if the process
    flushes such results (not such inputs) to zero. ν = 2⁻⁹⁶⁰ exceeds the sum of all of these that
    fit in memory.

Notation
    γ_n = n u / (1 - n u): n roundings change a product or the sum of n terms, in whatever order,
    by at most γ_n times the sum of the terms' absolute values (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1). With the *computed* v, D, E, S the invariant is, for all
    samples, all intervals and all t of an interval,

        a(t) ∈ v + s [D - E, D + E] ± ε,   |v| ≤ V,   r S ≤ H

    where a(t) is the unit's exact value on the exact path between the stored θ₁ and θ₂. Inputs:
    ε = H = 0, V = max |x|.

A linear layer
    Let W = max(|θ₁|, |θ₂|), elementwise, B likewise for the biases, P = Σ W V + B and Q = Σ W H.
    On an interval |W(t)| ≤ |W(c)| + r |dW| ≤ W, and r |dW| ≤ W/2. With r multiplied into D' and E',
    the terms of v' sum up to at most P, those of D' to P + Q, those of E' to Q, all taken
    absolutely. None of them suffers more than n = 2 n_in + 16 roundings: three for a weight at c,
    one for a difference, two for S, the products, and a sum of at most 2 n_in + 1 terms. Inherited
    errors pass through the weights. So

        ε' = Σ W ε + 2 γ_n (P + Q) + ν (1 + Σ (1 + V + H)),
        V' = 1.01 P + ν,   H' = 1.01 (P + Q) + ν

    (1.01 covers the roundings themselves: γ_n is far below 0.01 for all n that fit in memory).
    First layers that are kept for both ends, z₁ and z₂, err by γ_n P each; v = (1 - c) z₁ + c z₂
    and r D = r (z₂ - z₁) by no more than 2 γ_n P together, with the same n.

An activation
    Its slopes lie in [0, 1], so that an inherited ε remains ε, and H does not grow. An error δ of
    m, w or m + w moves a(t) by at most δ r S.
    *ReLU*: |z| / (r S), at most 1, errs by 5 u; m, w and m + w by 8 u; with the products less than
    28 u (V + H) in all. *Leaky ReLU*: (1 - l) and its product with w, l + 2 w and what is formed
    of them add 5 u to each of m, w, m + w; l z errs by u V: another 16 u (V + H).
    *Tanh, sigmoid*: values err by 8 u. Differences of two of them, whose arguments err by at most
    2 u (V + H), are divided by the reach r S and multiplied by it: 17 u + 4 u (V + H) for each of
    m, w, m + w, and 4 u H for their own roundings; less than 96 u + 28 u (V + H) in all. A reach
    below 10⁻³⁰⁰ moves a(t) by less than ν. V' = 1.01.

The loss
    With R = V + H + max |y| and e = ε + 4 u R, a mean of losses of |ρ + s D| + |s| E errs by at
    most ℓ'(R + e) e from its arguments: for the squared loss 2 (R + e) e; for Huber's δ e, else e.
    Its own sums err by 4 γ_n ℓ(R), n counting N additions for each output and some for each term.
    exp and log1p add 32 u (1 + R). The sum over the samples, N ℓ(R), must not overflow.

Cross-entropy
    Differences of logits have weights of at most 2 W, so that their errors are at most 2 ε with the
    largest ε of a logit, and 2 (V + H) ≤ 2 R bounds them; 3 ε + 32 u R with their evaluation: the
    *margin* within which the sign of a difference is not known. log Σ exp moves by at most as much
    as the largest difference does. Its own: the sum of exponentials, of which eight are multiplied
    before the logarithm, 16 u (classes + 16); the mean over the samples, 2 γ_n (log classes + 4 R).

Weight decay
    With p(θ) = ½ Σ κ θ² the penalty at Θ(t) is (1 - t)² A + 2 t (1 - t) B + t² C, where A = p(θ₁),
    C = p(θ₂) and B = ½ Σ κ θ₁ θ₂, |B| ≤ ½ Σ κ |θ₁ θ₂| ≤ (A + C) / 2: on [0, 1] all its terms sum
    up to at most the larger of A and C, taken absolutely. P + 16 roundings at most, of products, a
    sum of P terms, N times it, and its evaluation: it errs by γ_n max(A, C) with n = P + 16. A
    product κ θ that underflows is multiplied by a θ once more: ν (1 + max |θ|). Its addition to
    the sum over the samples is among the "some" roundings there.

An activation or a loss that is not treated here gets an infinite bound: nothing is proven of it.

All this is computed in float64, too, with a relative error far below 1e-6. So the result is
multiplied by 1.01, and ν is added.
"""

import math

import numpy as np

from nconvex.kernels.jit import kernel_strict
from nconvex.kernels.parts import (
    CROSS_ENTROPY,
    HUBER,
    HUBER_DELTA,
    IDENTITY,
    LEAKY_RELU,
    LOG_COSH,
    MAE,
    MSE,
    RELU,
    SIGMOID,
    TANH,
)

U = 2.0**-53
NU = 2.0**-960

#: Beyond this, sums of products, or differences of two weights, might overflow.
HUGE = 1e300


@kernel_strict
def bound(layers, theta1, theta2, loss, samples, largest_input, largest_target, workspace):
    """Bound the rounding error of `centred.search` on one segment: of γ, and of a margin.

    ``layers``          (k, 5)  int64, as for the kernels
    ``theta1, theta2``  (P,)    the ends
    ``largest_input``   (d_in,), ``largest_target`` (d_out,): max over the samples of |x| and |y|
    ``workspace``       (2, 3, widest layer)  V, H, ε of the units below and above
    """
    below = 0
    for i in range(largest_input.size):
        workspace[0, 0, i] = largest_input[i]
        workspace[0, 1, i] = 0.0
        workspace[0, 2, i] = 0.0
    for layer in range(layers.shape[0]):
        n_in, n_out = layers[layer, 0], layers[layer, 1]
        weights, biases, activation = layers[layer, 2], layers[layer, 3], layers[layer, 4]
        if activation not in (IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH):
            return math.inf, math.inf
        n = 2.0 * n_in + 16.0
        gamma_n = n * U / (1.0 - n * U)
        above = 1 - below
        for j in range(n_out):
            P = 0.0
            Q = 0.0
            e = NU
            if biases >= 0:
                P = max(abs(theta1[biases + j]), abs(theta2[biases + j]))
            largest = P
            for i in range(n_in):
                w = weights + i * n_out + j
                W = max(abs(theta1[w]), abs(theta2[w]))
                largest = max(largest, W)
                V, H = workspace[below, 0, i], workspace[below, 1, i]
                P += W * V
                Q += W * H
                e += W * workspace[below, 2, i] + NU * (1.0 + V + H)
            e += 2.0 * gamma_n * (P + Q)
            if not (P + Q < HUGE and largest < HUGE and e < HUGE):
                return math.inf, math.inf  # before anything becomes NaN
            V = 1.01 * P + NU
            H = 1.01 * (P + Q) + NU
            if activation != IDENTITY:
                e += 28.0 * U * (V + H) + NU * (1.0 + V + H)
                H = 1.01 * H + NU
            if activation == LEAKY_RELU:
                e += 16.0 * U * (V + H)
            if activation in (SIGMOID, TANH):
                e += 96.0 * U
                V = 1.01
            workspace[above, 0, j] = V
            workspace[above, 1, j] = H
            workspace[above, 2, j] = e
        below = above
    outputs = layers[-1, 1]
    if loss >= CROSS_ENTROPY:
        R = 0.0
        e = 0.0
        for c in range(outputs):
            R = max(R, workspace[below, 0, c] + workspace[below, 1, c])
            e = max(e, workspace[below, 2, c])
        n = 64.0 + samples
        gamma_n = n * U / (1.0 - n * U)
        margin = 3.0 * e + 32.0 * U * R
        own = 16.0 * U * (outputs + 16.0) + 2.0 * gamma_n * (math.log(outputs) + 4.0 * R)
        result = 1.01 * (margin + own) + NU if samples * R < HUGE else math.inf
        return result, (1.01 * margin + NU if result < math.inf else math.inf)
    n = 128.0 + samples * outputs
    gamma_n = n * U / (1.0 - n * U)
    result = 0.0
    whole = 0.0
    for j in range(outputs):
        R = workspace[below, 0, j] + workspace[below, 1, j] + largest_target[j]
        e = workspace[below, 2, j] + 4.0 * U * R
        whole += 2.0 * R * R if loss == MSE else 2.0 * R
        if loss == MSE:
            result += 2.0 * (R + e) * e + 4.0 * gamma_n * R * R
        elif loss == HUBER:
            result += HUBER_DELTA * (e + 4.0 * gamma_n * R)
        elif loss in (MAE, LOG_COSH):
            result += e + 4.0 * gamma_n * R + 32.0 * U * (1.0 + R)
        else:
            return math.inf, 0.0
    result = 1.01 * result + NU if samples * whole < HUGE else math.inf
    return result, 0.0


@np.errstate(over="ignore", invalid="ignore")
def parabola(
    weight_decay: np.ndarray, theta1: np.ndarray, theta2: np.ndarray, samples: int
) -> tuple[np.ndarray, float]:
    """N times A, B and C of a penalty between two θ, and a bound of its rounding error, once."""
    pairs = (theta1, theta1), (theta1, theta2), (theta2, theta2)
    half = [0.5 * float(np.sum(weight_decay * one * two)) for one, two in pairs]
    n = weight_decay.size + 16.0
    gamma_n = n * U / (1.0 - n * U)
    largest, weight = max(half[0], half[2]), max(np.max(np.abs(t)) for t in (theta1, theta2))
    if not samples * largest < HUGE:  # also NaN
        return np.zeros(3), math.inf
    return samples * np.array(half), float(1.01 * gamma_n * largest + 2.0 * NU * (1.0 + weight))
