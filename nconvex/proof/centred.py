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

The numbers of a unit on a tile of TILE samples are a *block*: v, D, E, S, one behind the other.
``layers`` (k, 5) int64 is the table of `kernels.samples`.
"""

import math

from nconvex.kernels.jit import inlined, inlined_strict, kernel_strict
from nconvex.kernels.parts import (
    ERROR,
    IDENTITY,
    LEAKY_RELU,
    LEAKY_SLOPE,
    MSE,
    RELU,
    TANH,
    TILE,
    exponential,
    loss_and_slope,
    parabola,
    raise_margin,
    tile_cross_entropy,
)

#: Length of a block.
BLOCK = 4 * TILE

#: Keeps divisions by a reach of zero finite.
TINY = 1e-300

#: What a computed tanh may err by, with room to spare.
TANH_ERROR = 1e-15

#: A bracket is closed where the bound is within this many σ of the highest value.
RESOLUTION = 4.0


# -- Weights of an interval -----------------------------------------------------------------------


@inlined_strict
def mix_weights(theta1, theta2, c, r, layers, labels, weights):
    """Lay out W, dW, |W| and r |dW| for the interval, as the rows of ``weights`` (4, room).

    They stand layer by layer and unit by unit: those of the inputs, a zero for a block that pads,
    and the bias. A classifier's last layer occurs once for each class, from whose weights and bias
    all others are subtracted.
    """
    at = 0
    for layer in range(layers.shape[0]):
        n_in, n_out, first, biases = layers[layer, :4]
        copies = n_out if layer == layers.shape[0] - 1 and labels is not None else 1
        for label in range(copies):
            for j in range(n_out):
                for i in range(n_in + 2):
                    p = first + i * n_out + j if i < n_in else biases + j
                    w = 0.0
                    d = 0.0
                    if i < n_in or (i > n_in and biases >= 0):
                        w = (1.0 - c) * theta1[p] + c * theta2[p]
                        d = theta2[p] - theta1[p]
                        if copies > 1:
                            k = p - j + label
                            w -= (1.0 - c) * theta1[k] + c * theta2[k]
                            d -= theta2[k] - theta1[k]
                    weights[0, at] = w
                    weights[1, at] = d
                    weights[2, at] = abs(w)
                    weights[3, at] = r * abs(d)
                    at += 1


# -- One block from others ------------------------------------------------------------------------


@inlined_strict
def add_input(y, x, w, d):
    """A block y += one input's row x, which does not depend on t."""
    for n in range(TILE):
        y[n] += w * x[n]
        y[TILE + n] += d * x[n]


@inlined_strict
def add_four(y, x, weights, at, i0, i1, i2, i3):
    """A block y += four units' blocks of x, with their weights from `at` on."""
    p0, p1, p2, p3 = at + i0, at + i1, at + i2, at + i3
    w0, w1, w2, w3 = weights[0, p0], weights[0, p1], weights[0, p2], weights[0, p3]
    d0, d1, d2, d3 = weights[1, p0], weights[1, p1], weights[1, p2], weights[1, p3]
    a0, a1, a2, a3 = weights[2, p0], weights[2, p1], weights[2, p2], weights[2, p3]
    e0, e1, e2, e3 = weights[3, p0], weights[3, p1], weights[3, p2], weights[3, p3]
    x0, x1 = x[i0 * BLOCK : (i0 + 1) * BLOCK], x[i1 * BLOCK : (i1 + 1) * BLOCK]
    x2, x3 = x[i2 * BLOCK : (i2 + 1) * BLOCK], x[i3 * BLOCK : (i3 + 1) * BLOCK]
    for n in range(TILE):
        D, E, S = TILE + n, 2 * TILE + n, 3 * TILE + n
        v0, v1, v2, v3 = x0[n], x1[n], x2[n], x3[n]
        y[n] = y[n] + w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3
        slope = y[D] + d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
        y[D] = slope + w0 * x0[D] + w1 * x1[D] + w2 * x2[D] + w3 * x3[D]
        radius = y[E] + a0 * x0[E] + a1 * x1[E] + a2 * x2[E] + a3 * x3[E]
        y[E] = radius + e0 * x0[S] + e1 * x1[S] + e2 * x2[S] + e3 * x3[S]


@inlined_strict
def rectify(y, r, leak):
    """ReLU of a block, with the slope `leak` below zero; tells whether the block is not zero."""
    on = 0
    off = 0
    for n in range(TILE):
        z = y[n]
        S = abs(y[TILE + n]) + y[2 * TILE + n]
        y[3 * TILE + n] = S
        on += 1 if z >= r * S else 0
        off += 1 if -z >= r * S else 0
    if on == TILE:  # no kink is in reach
        return True
    if off == TILE and leak == 0.0:
        for n in range(BLOCK):
            y[n] = 0.0
        return False
    for n in range(TILE):
        z = y[n]
        D = y[TILE + n]
        reach = r * y[3 * TILE + n]
        p = abs(z) / (reach if reach > TINY else TINY)
        w = (1.0 - leak) * (0.5 - 0.5 * (p if p < 1.0 else 1.0))
        top = 1.0 if z > 0.0 else leak + 2.0 * w
        y[n] = leak * z if z < 0.0 else z  # NaN stays
        E = w * abs(D) + top * y[2 * TILE + n]
        D = (top - w) * D
        y[TILE + n] = D
        y[2 * TILE + n] = E
        y[3 * TILE + n] = abs(D) + E
    return True


@inlined_strict
def tanh_of(x):
    """Tanh of x >= 0."""
    e = exponential(-2.0 * x)
    return (1.0 - e) / (1.0 + e)


@inlined_strict
def squash(y, r, scale):
    """Tanh (scale 1) or sigmoid (scale 1/2) of a block."""
    for n in range(TILE):
        z = scale * y[n]
        D = y[TILE + n]
        E = y[2 * TILE + n]
        reach = scale * (abs(D) + E) * r
        size = abs(z)
        value = tanh_of(size)
        far = tanh_of(size + reach)
        crosses = reach > size
        near = tanh_of(0.5 * size if crosses else size - reach)
        share = 1.0 / (reach if reach > TINY else TINY)
        low = (far - value) * share
        high = (value - near) * share
        high = (near + TANH_ERROR) / (0.5 * size) if crosses else high
        high = high if high > 0.0 else 0.0
        high = high if high < 1.0 else 1.0
        low = low if low > 0.0 else 0.0
        low = low if low < high else high
        w = 0.5 * scale * scale * (high - low)
        top = scale * scale * high
        value = value if z >= 0.0 else -value
        value = z if z != z else value
        y[n] = value if scale == 1.0 else 0.5 + 0.5 * value
        D2 = (top - w) * D
        E2 = w * abs(D) + top * E
        y[TILE + n] = D2
        y[2 * TILE + n] = E2
        y[3 * TILE + n] = abs(D2) + E2


@inlined_strict
def activate(y, r, activation):
    """Pass a block through its unit's activation; tells whether it is not zero."""
    if activation in (RELU, LEAKY_RELU):
        return rectify(y, r, LEAKY_SLOPE if activation == LEAKY_RELU else 0.0)
    if activation != IDENTITY:
        squash(y, r, 1.0 if activation == TANH else 0.5)
    else:
        for n in range(TILE):
            y[3 * TILE + n] = abs(y[TILE + n]) + y[2 * TILE + n]
    return True


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
    margin, weights, planes, live, logits, lines, sums,
):  # fmt: skip
    """γ(c), and a bound of γ on [c - r, c + r], both summed over the samples.

    See `search` for the arguments. A sample counts as an error at c if it is wrong by more than the
    `margin`, and as right on the interval if it is right by more than that.
    """
    mix_weights(theta1, theta2, c, r, layers, labels, weights)
    depth = layers.shape[0]
    for k in range(sums.size):
        sums[k] = parabola(decay, c + (0.0, -r, r)[k]) if k < 3 else 0.0
    for tile in range(counts.size):
        at = 0
        found = 0
        for layer in range(depth):
            n_in, n_out, activation = layers[layer, 0], layers[layer, 1], layers[layer, 4]
            below = planes[layer % 2]
            above = planes[(layer + 1) % 2]
            span = n_in + 2
            if labels is not None and layer == depth - 1:
                at += labels[tile] * n_out * span
            terms = found
            if layer > 0:
                for n in range(BLOCK):
                    below[n_in * BLOCK + n] = 0.0
                for i in range(terms, terms + 3):
                    live[layer % 2, i] = n_in
            found = 0
            for j in range(n_out):
                y = above[j * BLOCK : (j + 1) * BLOCK]
                bias = weights[0, at + n_in + 1]
                slope = weights[1, at + n_in + 1]
                if layer == 0 and first1 is not None:
                    z1 = first1[tile, j * TILE : (j + 1) * TILE]
                    z2 = first2[tile, j * TILE : (j + 1) * TILE]
                    for n in range(TILE):
                        y[n] = (1.0 - c) * z1[n] + c * z2[n]
                        y[TILE + n] = z2[n] - z1[n]
                        y[2 * TILE + n] = 0.0
                else:
                    for n in range(TILE):
                        y[n] = bias
                        y[TILE + n] = slope
                        y[2 * TILE + n] = 0.0
                if layer == 0:
                    if inputs is not None:
                        for i in range(n_in):
                            x = inputs[tile, i * TILE : (i + 1) * TILE]
                            add_input(y, x, weights[0, at + i], weights[1, at + i])
                else:
                    for m in range(0, terms, 4):
                        i0, i1 = live[layer % 2, m], live[layer % 2, m + 1]
                        i2, i3 = live[layer % 2, m + 2], live[layer % 2, m + 3]
                        add_four(y, below, weights, at, i0, i1, i2, i3)
                if activate(y, r, activation):
                    live[(layer + 1) % 2, found] = j
                    found += 1
                at += span
        above = planes[depth % 2]
        outputs = layers[depth - 1, 1]
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
    weights, planes, live, logits, lines, sums,
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
    ``weights`` (4, room), ``planes`` (2, (widest + 1) BLOCK), ``live`` (2, widest + 4) int64,
    ``logits`` (outputs TILE,), ``lines`` (3, TILE) and ``sums`` (5,) are workspaces.
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
                targets, labels, counts, decay, margin, weights, planes, live, logits, lines, sums,
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
