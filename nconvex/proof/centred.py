"""How high γ can rise on an interval of t, by the centred form; and branch and bound.

*The claim.* Let I = {t : |t - c| ≤ r} and s = t - c. For each unit and each sample three numbers
v, D, E are computed, so that the unit's value at Θ(θ₁, θ₂, t) is

    a(t) = v + s q(t)   with   D - E ≤ q(t) ≤ D + E   for all t in I.            (*)

v is the value at the centre c, and q is the *slope* of a from there. S = |D| + E is the largest
size of the slope, and S r the largest change of a. (*) passes from layer to layer.

*Inputs* do not depend on t: v = x, D = E = 0.

*A linear layer* has the weights W(t) = W + s dW with W = W(c) and dW = W(θ₂) - W(θ₁), and so have
the biases. From W(t) a(t) - W v = s (W q + dW v + s dW q) follow

    v' = W v + b,   D' = W D + dW v + db,   E' = |W| E + r |dW| S.

*An activation* φ. Its input moves by at most S r from z = v. Let all its slopes from there,
(φ(z + h) - φ(z)) / h for 0 < |h| ≤ S r, lie in [m - w, m + w] with 0 ≤ w ≤ m. Then

    v' = φ(z),   D' = m D,   E' = w |D| + (m + w) E,

for (m ± w) (D ± E) lies within w |D| + (m + w) E of m D. Let p = min(|z| / (S r), 1).
  *ReLU* has slopes in [p, 1] for z > 0, and else in [0, 1 - p]. If the kink is out of reach, these
  are exact: 1 or 0. *Leaky ReLU* with slope l below zero has l + (1 - l) times these.
  *Tanh*: φ' is even and falls with |z|. The smallest slope is that over the whole reach away from
  zero, (φ(|z| + S r) - φ(|z|)) / (S r). Towards zero slopes rise. If S r ≤ |z|, the largest is
  (φ(|z|) - φ(|z| - S r)) / (S r). If not, consider an interval that contains zero and has a length
  of at least |z|: its mean of φ' is at most that of the interval of length |z| about zero, which is
  φ(|z|/2) / (|z|/2). *Sigmoid* is (1 + tanh(z/2)) / 2: it has a quarter of tanh's slopes at z/2.

*The loss* of a residual ρ(t) = ρ + s q(t). Since ℓ is even, convex and does not fall away from 0,

    mean ℓ(ρ(t)) ≤ mean ℓ(|ρ + s D| + |s| E) =: U(s),

which is convex in s. So it is highest at s = r or s = -r: two sums over the samples. For
*cross-entropy* the same holds with log Σ_k exp(v_k + s D_k + |s| E_k), where v_k(t) is the logit of
class k less that of the label. The last layer's weights are subtracted, before it is bounded. A
sample is surely *right* on all of I if v_k + s D_k + |s| E_k < 0 at both ends for each k that is
not its label. The share of the other samples bounds the share of errors.
A *penalty* ½ Σ κ Θ(t)² is a convex quadratic in s: U(s) starts from it, and stays convex.

*The error* of (*) falls with the square of r: w is at most proportional to r, so E is, too, and E
is multiplied by r once more. So few intervals are enough.

*Branch and bound.* The interval with the highest bound is halved first. So c and r are dyadic
fractions, and c ± r are exact. The highest γ(c) seen is the lower bound. The highest U of an
interval that is left is the upper bound.

All this holds up to rounding, which `rounding` bounds. Sums over samples may be reordered.

`blocks` computes (*). ``layers`` (k, 5) int64 is the table of `kernels.samples`.
"""

import math

from nconvex.kernels.jit import inlined, inlined_strict, kernel_strict
from nconvex.kernels.parts import (
    ERROR,
    IDENTITY,
    MSE,
    TILE,
    loss_and_slope,
    parabola,
    raise_margin,
    tile_cross_entropy,
)
from nconvex.proof.blocks import (
    BLOCK,
    activate,
    add_inputs,
    add_live,
    clear,
    mix_weights,
    set_between,
    set_biases,
)

#: A bracket is closed where the bound is within this many σ of the highest value.
RESOLUTION = 4.0


# -- Losses of a tile -----------------------------------------------------------------------------


@inlined
def add_squares(y, target, r, count, sums):
    """Add the squared errors of an output's block, at the centre and at both ends."""
    centre, left, right = 0.0, 0.0, 0.0
    for n in range(count):
        v = y[n] - target[n]
        D = r * y[TILE + n]
        E = r * y[2 * TILE + n]
        centre += v * v
        a = abs(v - D) + E
        b = abs(v + D) + E
        left += a * a
        right += b * b
    sums[0] += centre
    sums[1] += left
    sums[2] += right


@inlined_strict
def add_losses(y, target, r, count, loss, sums):
    """Add the losses of another kind, likewise."""
    for n in range(count):
        v = y[n] - target[n]
        D = r * y[TILE + n]
        E = r * y[2 * TILE + n]
        sums[0] += loss_and_slope(v, loss)[0]
        sums[1] += loss_and_slope(abs(v - D) + E, loss)[0]
        sums[2] += loss_and_slope(abs(v + D) + E, loss)[0]


@inlined_strict
def upper_logits(above, classes, s, v):
    """v_k + s D_k + |s| E_k of a classifier's last blocks, class by class."""
    for k in range(classes):
        y = above[k * BLOCK : (k + 1) * BLOCK]
        row = v[k * TILE : (k + 1) * TILE]
        for n in range(TILE):
            row[n] = y[n] + s * y[TILE + n] + abs(s) * y[2 * TILE + n]


@inlined_strict
def add_cross_entropies(above, r, classes, label, count, margin, logits, lines, sums):
    """Add cross-entropies at the centre and at both ends, and the errors there; see `enclose`."""
    worst = lines[2]
    for at in range(3):
        upper_logits(above, classes, (0.0, -r, r)[at], logits)
        if at != 2:  # both ends together
            for n in range(TILE):
                worst[n] = -math.inf
        raise_margin(logits, classes, label, worst)
        if at == 0:
            for n in range(count):
                sums[3] += 1.0 if worst[n] >= margin else 0.0
        sums[at] += tile_cross_entropy(logits, classes, count, lines[0], lines[1])
    for n in range(count):
        sums[4] += 0.0 if worst[n] < -margin else 1.0


# -- An interval ----------------------------------------------------------------------------------


@inlined_strict
def enclose(
    c, r, theta1, theta2, layers, loss, inputs, first1, first2, targets, labels, counts, decay,
    margin, weights, planes, four, live, logits, lines, sums,
):  # fmt: skip
    """γ(c), and a bound of γ on [c - r, c + r], both summed over the samples.

    See `search` for the arguments. A sample counts as an error at c if it is wrong by more than the
    `margin`, and as right on the interval if it is right by more than that.
    """
    mix_weights(theta1, theta2, c, r, layers, inputs is not None, labels, weights)
    last = layers.shape[0] - 1
    outputs = layers[last, 1]
    for k in range(sums.size):
        sums[k] = parabola(decay, c + (0.0, -r, r)[k]) if k < 3 else 0.0
    for tile in range(counts.size):
        at = 0  # where in `weights` the layer begins
        if inputs is not None:
            at = add_inputs(planes[0], inputs[tile], weights, layers[0, 0], layers[0, 1])
        for layer in range(1, last + 1):
            n_in, n_out, activation = layers[layer, 0], layers[layer, 1], layers[layer - 1, 4]
            if labels is not None and layer == last:
                at += labels[tile] * n_out * (n_in + 2)
            below = planes[(layer + 1) % 2]
            above = planes[layer % 2]
            set_biases(above, weights, at, n_in, n_out)
            found = 0
            for i in range(n_in):
                y = below[i * BLOCK : (i + 1) * BLOCK]
                if layer == 1 and first1 is not None:
                    y = below[:BLOCK]
                    ends = slice(i * TILE, (i + 1) * TILE)
                    set_between(y, first1[tile, ends], first2[tile, ends], c)
                if activate(y, four[found * BLOCK : (found + 1) * BLOCK], r, activation):
                    live[found] = i
                    found += 1
                if found == 4 or (found > 0 and i == n_in - 1):
                    add_live(above, four, live, found, weights, at, n_in, n_out)
                    found = 0
            at += n_out * (n_in + 2)
        above = planes[last % 2]
        if layers[last, 4] != IDENTITY:
            above = planes[(last + 1) % 2]
            for j in range(outputs):
                y = planes[last % 2, j * BLOCK : (j + 1) * BLOCK]
                x = above[j * BLOCK : (j + 1) * BLOCK]
                if not activate(y, x, r, layers[last, 4]):
                    clear(x)
        count = counts[tile]
        if labels is not None:
            add_cross_entropies(above, r, outputs, labels[tile], count, margin, logits, lines, sums)
        if targets is not None:
            for j in range(outputs):
                y = above[j * BLOCK : (j + 1) * BLOCK]
                target = targets[tile, j * TILE : (j + 1) * TILE]
                if loss == MSE:
                    add_squares(y, target, r, count, sums)
                else:
                    add_losses(y, target, r, count, loss, sums)
    if loss == ERROR:
        return sums[3], sums[4]
    return sums[0], max(sums[1], sums[2])


# -- Branch and bound -----------------------------------------------------------------------------


@kernel_strict
def search(
    theta1, theta2, layers, loss, inputs, first1, first2, targets, labels, counts, decay,
    samples, L0, gap, sigma, margin, resolution, shortest, splits, state, nodes,
    weights, planes, four, live, logits, lines, sums,
):  # fmt: skip
    """Bracket the maximum of γ until it is decided or `splits` intervals are halved.

    It is decided if upper ≤ L₀, or if lower > L₀ and upper ≤ lower + gap |lower|, but no closer
    than `resolution`. Returns whether it is. Another call goes on where the last one stopped.

    ``theta1, theta2``    (P,) the ends, finite
    ``loss``              the loss's code
    ``inputs``            (T, d_in TILE) the test set's inputs in tiles, or None, and then
    ``first1, first2``    (T, h TILE) both ends' first layers before activation
    ``targets``           (T, d_out TILE), or None, and then
    ``labels``            (T,) each tile's label
    ``counts``            (T,) how many of a tile's samples are no copies; `samples` is their sum
    ``decay``             (3,) what weight decay adds to the samples' sum; see `parabola`
    ``sigma, margin``     what rounding may add to a loss, and to a difference of logits
    ``state``             (4,) open intervals, t*, γ(t*), 1 once both ends were evaluated
    ``nodes``             (most, 3) each open interval's bound, centre and radius
    ``weights`` (4, room), ``planes`` (2, widest BLOCK), ``four`` (4 BLOCK,), ``live`` (4,)
    int64, ``logits`` (outputs TILE,), ``lines`` (3, TILE) and ``sums`` (5,) are workspaces.
    """
    while True:
        top = int(state[0])
        lower = state[2] - sigma
        here = 0
        centre = 0.25
        radius = 0.25
        if top > 0:
            for node in range(1, top):
                here = node if not nodes[node, 0] <= nodes[here, 0] else here
            allowed = max(L0, lower + RESOLUTION * sigma)
            if lower > L0:
                allowed = lower + max(gap * abs(lower), resolution)
            bound = nodes[here, 0]
            if bound + sigma <= allowed or nodes[here, 2] < shortest:
                return True
            if splits == 0 or top + 1 > nodes.shape[0]:
                return False
            splits -= 1
            radius = 0.5 * nodes[here, 2]
            centre = nodes[here, 1] - radius
        # Both halves; and once both ends, if only a bracket will do.
        pending = 4 if state[3] == 0.0 and -math.inf == L0 else 2
        for k in range(pending):
            c = float(k - 2) if k >= 2 else centre + 2.0 * k * radius
            value, bound = enclose(
                c, 0.0 if k >= 2 else radius, theta1, theta2, layers, loss, inputs, first1, first2,
                targets, labels, counts, decay, margin, weights, planes, four, live, logits, lines,
                sums,
            )  # fmt: skip
            value /= samples
            bound /= samples
            if value > state[2]:
                state[1] = c
                state[2] = value
            if k < 2:
                node = here if k == 0 else max(top, 1)
                nodes[node, 0] = bound if bound == bound else math.inf
                nodes[node, 1] = c
                nodes[node, 2] = radius
        state[0] = max(top, 1) + 1
        state[3] = 1.0 if pending == 4 else state[3]
