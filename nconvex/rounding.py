"""How far rounding can move what `enclosure` computes: an a-priori bound, one for a segment.

It is added to every upper bound and taken from every value of γ, so that both hold in exact
arithmetic.

Assumptions
    IEEE 754 double precision, round to nearest; u = 2⁻⁵³. A product and a sum may be fused, which
    rounds less. exp, tanh and log1p err by at most 8 u relative to the larger of 1 and the result.
    Ends of intervals are dyadic fractions, hence t and 1 - t are exact. Where anything might
    overflow, the bound is infinite. A product that underflows errs by at most 2⁻¹⁰⁷⁴, or by
    2⁻¹⁰²² where the process flushes such results (not such inputs) to zero; ν = 2⁻⁹⁶⁰ stands for
    any number of them that fits in memory.

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
    end, (1 - t) θ₁ + t θ₂, takes 3 roundings; a share k/d or 1 - k/d errs by at most u, the whole
    being 1; with both products and a sum of at most 2 n_in + 1 terms every term, its share left
    out, suffers less than n = 2 n_in + 16 of them. The same holds for the radius. So both together
    err by 2 γ_n T; inherited errors pass through the weights, as |w(s)| ≤ max(|w(0)|, |w(1)|) ≤ W:

        ε_z = Σ_i W_i ε_i + 2 γ_n T + ν Σ_i (1 + M_i) + ν,   M_z = 1.01 T + ν

    (1.01 covers the roundings themselves: γ_n is far below 0.01 for all n that fit in memory).

An activation
    z = p(s) + δ with p the computed polynomial and |δ| ≤ ρ̂ + ε_z. With δ cut to ±ρ̂ it is z̃ in the
    range [lo, hi], up to 4 u M_z, and |z - z̃| ≤ ε_z. Since φ's slopes lie in [0, 1], φ(z) is within
    ε_z of φ(z̃), which the line and its radius enclose; λ ρ̂ is in the new radius.
    *ReLU*: λ, μ and the new coefficients and radius take at most 24 roundings of quantities
    ≤ M_z. c' + ρ' ≤ hi and ρ' - c' ≤ -λ lo, so M does not grow but by roundings.
    *Sigmoid, tanh*: φ(lo), φ(hi) err by 8 u each, hence the chord, over its range, by 32 u, also
    where λ is cut to 1; the sag, at most 2 wherever it is used, and all sums of quantities ≤ 4 by
    64 u more; λ c and λ lo by 8 u M_z. The result lies within |c'| + ρ' ≤ 4.

        ε = ε_z + 28 u M_z (+ 96 u) + ν (1 + M_z),   M = 1.01 M_z + ν or 4

The loss
    With R = M + max |y| and ε_r = ε + 2 u R, a mean of losses of |r| + ρ̂ errs by at most
    ℓ'(R + ε_r) ε_r from its arguments: for the squared loss (|r| + ρ̂ + ε_r)² - (|r| + ρ̂)², with
    ℓ' = 2 (R + ε_r); for Huber ℓ' = δ, else 1. Its own sums err by 4 γ_n ℓ(R), coefficients and
    radius together: n counts N additions for each output, the shares, at most 48 additions to what
    is kept of settled samples, and 2 d averages of two for each of at most 48 halvings of the
    scalar polynomial. exp and log1p add 32 u (1 + R). The sum over the samples, N ℓ(R), must not
    overflow. Two roundings of the result, when the bound is added to it, are within the 1.01 below.

Cells
    (see `cells`). A layer is affine in the place v within a cell, and a ReLU's line is one for all
    of it: what holds at both ends, for the computed c_k and d_k, holds with the same ε between
    them. Let R ≥ |c| + ρ + |y| as above. x - x_left and its share v of the cell err by u and 3 u of
    themselves, and v is in [0, 1]. Sums over a cell's samples are compensated, and err by less than
    4 u of their terms' absolute values, as long as N² u is below 1: so v̄ errs by less than 8 u,
    S_vv by 32 u n, S_vy by 48 u n R, and what the means leave of sums that they should make zero is
    at most 12 u n of v and 12 u n R of y. With |d - c| ≤ 2 R all of this moves a cell's Σ (p - y)²,
    as m² + h² + D, by less than 512 u n R², and evaluating it by less than 64 u n R² more: κ n with
    κ = 1024 u R², the `blur`, is added to V² before its root is taken, for after it an error of
    nothing at all could be large. Sums over all cells, of which there are at most N: Σ (p - y)² ≤
    n R² for lines through any c_k, d_k, hence |m_i m_j|, |h_i h_j| and D are at most n R² and the
    slack is at most 3 n R². So they err by 8 γ_n R² with the n above, and 2 κ covers the rest.

Cross-entropy
    is log Σ_c exp v_c of differences v_c = z_c - z_label, which are bounded by the differences of
    computed coefficients plus Σ_i max|w_ic - w_i,label| ρ̂_i. With R and ε the largest M and ε of a
    logit, both logits' errors and that of this sum, of which the weights are at most 2 W, come to
    3 ε; |v_c| ≤ 4 R, and the last additions to 32 u R. log Σ exp moves by at most as much as the
    largest v_c does. Its own: the sum of exponentials, of which eight are multiplied before the
    logarithm, 16 u (classes + 16); the mean over the samples, 2 γ_n (log classes + 4 R).

Everything above is summed up in float64 itself, with a relative error far below 1e-6: the result
is multiplied by 1.01, and ν is added. What is not a number counts as infinite.
"""

import math

from nconvex.jit import careful_kernel as kernel
from nconvex.jit import careful_part as part

U = 2.0**-53
NU = 2.0**-960

#: Beyond this, sums of products might overflow.
HUGE = 1e300

IDENTITY, RELU = range(2)
MSE, MAE, HUBER = range(3)
HUBER_DELTA = 0.1


@part
def propagate(layers, theta1, theta2, largest_input, size, error):
    """Carry M and ε through the layers; returns the row of `size` and `error` they end in."""
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
            inherited = NU
            if biases >= 0:
                T = max(abs(theta1[biases + j]), abs(theta2[biases + j]))
            for i in range(n_in):
                w = weights + i * n_out + j
                W = max(abs(theta1[w]), abs(theta2[w]))
                T += W * size[below, i]
                inherited += W * error[below, i] + NU * (1.0 + size[below, i])
            e = inherited + 2.0 * gamma_n * T if T < HUGE else math.inf
            M = 1.01 * T + NU
            if activation != IDENTITY:
                e += 28.0 * U * M + NU * (1.0 + M)
            if activation == RELU:
                M = 1.01 * M + NU
            elif activation != IDENTITY:
                e += 96.0 * U
                M = 4.0
            size[above, j] = M
            error[above, j] = e
        below = above
    return below


@kernel
def bound(layers, theta1, theta2, loss, samples, largest_input, largest_target, size, error):
    """Bound the rounding error of `enclosure.bracket` on one segment; see the derivation.

    ``layers``          (k, 5)  int64, as for the kernels
    ``theta1, theta2``  (P,)    the ends
    ``largest_input``   (d_in,), ``largest_target`` (d_out,): max over the samples of |x| and |y|
    ``size, error``     (2, widest layer)  workspace: M and ε of the units below and above
    """
    row = propagate(layers, theta1, theta2, largest_input, size, error)
    n = 128.0 + samples * largest_target.size + 200.0 * layers.shape[0]
    gamma_n = n * U / (1.0 - n * U)
    result = 0.0
    whole = 0.0
    for j in range(largest_target.size):
        R = size[row, j] + largest_target[j]
        e = error[row, j] + 2.0 * U * R
        whole += 2.0 * R * R if loss == MSE else 2.0 * R
        if loss == MSE:
            result += 2.0 * (R + e) * e + 4.0 * gamma_n * R * R
        elif loss == HUBER:
            result += HUBER_DELTA * (e + 4.0 * gamma_n * R)
        else:
            result += e + 4.0 * gamma_n * R + 32.0 * U * (1.0 + R)
    result = 1.01 * result + NU if samples * whole < HUGE else math.inf
    return result if result == result else math.inf


@kernel
def bound_cells(layers, theta1, theta2, samples, largest_input, largest_target, size, error):
    """Bound the rounding error of `cells.bracket` on one segment, and its `blur`.

    Arguments as for `bound`; the squared loss.
    """
    row = propagate(layers, theta1, theta2, largest_input, size, error)
    n = 128.0 + samples * largest_target.size + 200.0 * layers.shape[0]
    gamma_n = n * U / (1.0 - n * U)
    result = 0.0
    blur = 0.0
    whole = 0.0
    for j in range(largest_target.size):
        R = size[row, j] + largest_target[j]
        e = error[row, j] + 2.0 * U * R
        whole += 6.0 * R * R
        blur = max(blur, 1024.0 * U * R * R)
        result += 2.0 * (R + e) * e + 8.0 * gamma_n * R * R + 2048.0 * U * R * R
    compensated = n * n * U < 1.0  # as are the sums over a cell's samples
    result = 1.01 * result + NU if samples * whole < HUGE and compensated else math.inf
    blur = 1.01 * blur + NU
    return (result if result == result else math.inf), (blur if blur == blur else math.inf)


@kernel
def bound_classifier(layers, theta1, theta2, samples, largest_input, size, error):
    """Bound the rounding errors of `wide.gammas` and `wide.enclose`: of γ, and of a margin.

    Arguments as for `bound`; cross-entropy and the share of wrong labels.
    """
    row = propagate(layers, theta1, theta2, largest_input, size, error)
    classes = layers[-1, 1]
    R = 0.0
    e = 0.0
    for c in range(classes):
        R = max(R, size[row, c])
        e = max(e, error[row, c])
    n = 64.0 + samples
    gamma_n = n * U / (1.0 - n * U)
    margin = 3.0 * e + 32.0 * U * R
    loss = margin + 16.0 * U * (classes + 16.0) + 2.0 * gamma_n * (math.log(classes) + 4.0 * R)
    loss = 1.01 * loss + NU
    margin = 1.01 * margin + NU
    return (loss if loss == loss else math.inf), (margin if margin == margin else math.inf)
