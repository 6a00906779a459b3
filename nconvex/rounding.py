"""How far rounding can move what `enclosure` computes: an a-priori bound, one for a segment.

It is added to every upper bound and taken from every value of γ, so that both hold in exact
arithmetic.

Assumptions
    IEEE 754 double precision, round to nearest; u = 2⁻⁵³. A product and a sum may be fused, which
    rounds less. exp, tanh and log1p err by at most 8 u relative to the larger of 1 and the result.
    No overflow; a bound that is not finite counts as infinite. Ends of intervals are dyadic
    fractions, hence t and 1 - t are exact.

Notation
    γ_n = n u / (1 - n u): n roundings change a product or the sum of n terms, in whatever order,
    by at most γ_n times the sum of the terms' absolute values (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1). The invariant is

        a(s) ∈ Σ_k ĉ_k B_k(s) ± (ρ̂ + ε)   and   |ĉ_k| + ρ̂ ≤ M, |a(s)| ≤ M

    for the *computed* coefficients ĉ_k and radius ρ̂ of a unit, all samples and all intervals,
    where a(s) is the unit's exact value on the exact path between the stored θ₁ and θ₂. Inputs:
    ε = 0, M = max |x|. A point of t is an interval of no length.

A layer
    Let W = max(|θ₁|, |θ₂|), elementwise, and T = Σ_i W_i M_i + W_bias. A weight at an interval's
    end, (1 - t) θ₁ + t θ₂, takes 3 roundings; a share k/d 2; with both products and a sum of at
    most 2 n_in + 1 terms every term suffers less than n = 2 n_in + 16 of them. The same holds for
    the radius. So both together err by 2 γ_n T; inherited errors pass through the weights, since
    |w(s)| ≤ max(|w(0)|, |w(1)|) ≤ W:

        ε_z = Σ_i W_i ε_i + 2 γ_n T,   M_z = 1.01 T

    (1.01 covers the roundings themselves: γ_n is far below 0.01 for all n that fit in memory).

An activation
    z may leave the computed range [lo, hi] by x = ε_z + 4 u M_z, the latter for the rounding of
    the range. φ and the line λ z + μ both have slopes in [0, 1], so outside of the range they part
    by at most x more than inside. The line is applied to the computed polynomial, from which z
    departs by ρ̂ + ε_z: λ ρ̂ is in the new radius, λ ε_z ≤ ε_z is not. Together 2 x + ε_z at most.
    *ReLU*: λ, μ and the new coefficients and radius take at most 16 roundings of quantities
    ≤ M_z. From 0 ≤ λ ≤ 1: |c'| + ρ' ≤ 2 M_z.
    *Sigmoid, tanh*: φ(lo), φ(hi) err by 8 u each, hence the chord, over its range, by 32 u, also
    where λ is cut to 1; the sag, at most 2 wherever it is used, and all sums of quantities ≤ 4 by
    64 u more; λ c and λ lo by 8 u M_z. The result lies within |c'| + ρ' ≤ 4.

        ε = 3 ε_z + 28 u M_z (+ 96 u),   M = 2 M_z or 4

The loss
    With R = M + max |y| and ε_r = ε + 2 u R, a mean of losses of |r| + ρ̂ errs by at most
    ℓ'(R + ε_r) ε_r from its arguments: for the squared loss (|r| + ρ̂ + ε_r)² - (|r| + ρ̂)², with
    ℓ' = 2 (R + ε_r); for Huber ℓ' = δ, else 1. Its own sums err by 4 γ_n ℓ(R), coefficients and
    radius together: n counts N additions for each output, the shares, and 2 d averages of two for
    each of at most 48 halvings of the scalar polynomial. exp and log1p add 32 u (1 + R).

Everything above is summed up in float64 itself, with a relative error far below 1e-6: the result
is multiplied by 1.01. What is not a number counts as infinite.
"""

import math

from nconvex.jit import careful_kernel as kernel

U = 2.0**-53

IDENTITY, RELU = range(2)
MSE, MAE, HUBER = range(3)
HUBER_DELTA = 0.1


@kernel
def bound(layers, theta1, theta2, loss, samples, largest_input, largest_target, size, error):
    """Bound the rounding error of `enclosure.bracket` on one segment; see the derivation.

    ``layers``          (k, 5)  int64, as for the kernels
    ``theta1, theta2``  (P,)    the ends
    ``largest_input``   (d_in,), ``largest_target`` (d_out,): max over the samples of |x| and |y|
    ``size, error``     (2, widest layer)  workspace: M and ε of the units below and above
    """
    below = 0
    for i in range(largest_input.size):
        size[0, i] = largest_input[i]
        error[0, i] = 0.0
    for layer in range(layers.shape[0]):
        n_in, n_out = layers[layer, 0], layers[layer, 1]
        weights, biases, activation = layers[layer, 2], layers[layer, 3], layers[layer, 4]
        n = 2.0 * n_in + 16.0
        gamma_n = n * U / (1.0 - n * U)
        above = 1 - below
        for j in range(n_out):
            T = 0.0
            inherited = 0.0
            if biases >= 0:
                T = max(abs(theta1[biases + j]), abs(theta2[biases + j]))
            for i in range(n_in):
                w = weights + i * n_out + j
                W = max(abs(theta1[w]), abs(theta2[w]))
                T += W * size[below, i]
                inherited += W * error[below, i]
            e = inherited + 2.0 * gamma_n * T
            M = 1.01 * T
            if activation != IDENTITY:
                e = 3.0 * e + 28.0 * U * M
            if activation == RELU:
                M *= 2.0
            elif activation != IDENTITY:
                e += 96.0 * U
                M = 4.0
            size[above, j] = M
            error[above, j] = e
        below = above
    n = 64.0 + samples * largest_target.size + 200.0 * layers.shape[0]
    gamma_n = n * U / (1.0 - n * U)
    result = 0.0
    for j in range(largest_target.size):
        R = size[below, j] + largest_target[j]
        e = error[below, j] + 2.0 * U * R
        if loss == MSE:
            result += 2.0 * (R + e) * e + 4.0 * gamma_n * R * R
        elif loss == HUBER:
            result += HUBER_DELTA * (e + 4.0 * gamma_n * R)
        else:
            result += e + 4.0 * gamma_n * R + 32.0 * U * (1.0 + R)
    result *= 1.01
    return result if result == result else math.inf
