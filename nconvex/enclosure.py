"""Numba kernels: a proven bracket of the maximum of γ on a segment, for small networks.

On an interval [ta, tb] let s ∈ [0, 1] run from ta to tb. Weights are linear in s, so a unit's
pre-activation is a polynomial in s, if its inputs are. Each unit, for each sample, is enclosed by
a polynomial in Bernstein form and a radius,

    a(s) ∈ Σ_k c_k B_k,d(s) ± ρ,   B_k,d(s) = binom(d, k) s^k (1 - s)^(d - k),

which lies between its smallest and its largest coefficient. Inputs are constants: d = 0, ρ = 0.

*A layer* multiplies by the linear weights w₀ (1 - s) + w₁ s and raises the degree by one:
c'_k = Σ_i (1 - k/d') w₀ᵢ c_ik + (k/d') w₁ᵢ c_i,k-1, d' = d + 1; ρ' = Σ_i max(|w₀ᵢ|, |w₁ᵢ|) ρᵢ.

*An activation* φ on the range [lo, hi] of its input z is replaced by a line with a radius:
φ(z) ∈ λ z + μ ± e. The polynomial becomes λ c_k + μ, the radius λ ρ + e.
ReLU: the unit is left alone if lo ≥ 0 and is zero if hi ≤ 0; else λ = hi/(hi - lo) and
μ = e = -λ lo/2, the line half way between the chord and the parallel through the kink.
Sigmoid and tanh: the chord, λ = (φ(hi) - φ(lo))/(hi - lo), from which φ departs by at most
max |φ''| (hi - lo)²/8, to one side only where z keeps its sign; or the constant half way, if that
is closer.

*The loss* of the residual r(s) ∈ Σ_k r_k B_k(s) ± ρ: the mean over the samples is taken of the
coefficients, **before** any maximum, which is where the tightness comes from.
Squared: r² ≤ (Σ r_k B_k)² + ρ (2 max|r_k| + ρ), and the square is again a polynomial, of degree
2d. All others are convex and even, so ℓ(r(s)) ≤ Σ_k ℓ(|r_k| + ρ) B_k(s).
The mean's polynomial is one scalar polynomial; its maximum is bounded by repeated halving.

*Settled samples.* Where no ReLU of a sample switches, its loss *is* that polynomial, and halving
the interval cannot improve on it: the polynomial is cut in two instead, which costs nothing, and
the sample is left out from there on. So is one whose bound is off by too little to matter. Most of
the search's intervals are left with a few samples only.

*The search* is branch and bound: an interval with too high a bound is halved, and γ is evaluated
where that bound has its maximum. It goes depth first, the worse half first, so that the lists of
unsettled samples form a stack.

All bounds hold up to rounding, which `rounding` bounds, for sums in any order. But for the sums
over samples and the values at points nothing is reordered; a product and a sum may be fused.

``rows`` (R, tile) is the workspace, a column a sample of the tile. After four rows for passing use
(``LOW`` …) come the inputs, a row each, then for each unit its coefficients and its radius. A
layer's output has its number, from 1, as degree. ``X``, ``Y`` (d, N). Rows are named by their
index, for a slice of an array would cost as much as a pass over it.
"""

import math

import numpy as np

from nconvex.jit import careful_kernel as kernel
from nconvex.jit import careful_part as part
from nconvex.jit import part as sum_part

#: Samples a tile: a longer one repays the cost of beginning a pass over it, a shorter one keeps its
#: rows in the second-level cache, of which ROOM bytes are used. Never fewer than SHORT_TILE.
TILE, SHORT_TILE, ROOM = 512, 256, 2**18

IDENTITY, RELU, SIGMOID, TANH = range(4)
MSE, MAE, HUBER, LOG_COSH = range(4)
HUBER_DELTA = 0.1
LOG_2 = math.log(2.0)

#: What is known of a unit on a tile: zero throughout, a polynomial, or a polynomial with a radius.
OFF, EXACT, LOOSE = range(3)

#: Rows of the workspace that are not a unit's; the first unit's are at FIRST.
LOW, HIGH, SHIFT, EXTRA, FIRST = range(5)
SLACK, MASK, TARGET = SHIFT, EXTRA, LOW

#: Largest |φ''|: 4/(3√3) = 0.7698 for tanh, √3/18 = 0.0962 for sigmoid, rounded upwards.
TANH_BEND = 0.77
SIGMOID_BEND = 0.0963

#: Added to the computed largest |φ''|, which errs by less than 64 u = 7.2e-15: times a long range's
#: square that would not be small.
BEND_ERROR = 1e-14

#: Intervals of t are not halved below this: their ends stay exact, and nothing is gained any more.
SHORTEST = 2.0**-40

#: Open intervals that the search can hold: one more for each halving of one of two.
STACK = 48

#: Pieces that a polynomial is cut into to bound it.
PIECES = 8

#: A sample is settled if its bound is off by less than this share of what the bracket may be wide.
NEGLIGIBLE = 1.0 / 32.0


# -- Rows of samples ------------------------------------------------------------------------------


@part
def combine(rows, y, width, bias, weights, sources, terms):
    """Row y = bias + sum over the terms of weights[m] rows[sources[m]], four terms a pass.

    Not more, for LLVM checks that the rows of a pass are apart, and gives up at nine of them.
    """
    for m in range(terms, terms + 4):  # fill the last pass up with zeros
        weights[m] = 0.0
        sources[m] = FIRST
    for m in range(0, max(terms, 1), 4):
        w0, w1, w2, w3 = weights[m], weights[m + 1], weights[m + 2], weights[m + 3]
        x0, x1, x2, x3 = sources[m], sources[m + 1], sources[m + 2], sources[m + 3]
        if m == 0:
            for n in range(width):
                rows[y, n] = (
                    bias + w0 * rows[x0, n] + w1 * rows[x1, n] + w2 * rows[x2, n] + w3 * rows[x3, n]
                )
        else:
            for n in range(width):
                rows[y, n] = (
                    rows[y, n]
                    + w0 * rows[x0, n]
                    + w1 * rows[x1, n]
                    + w2 * rows[x2, n]
                    + w3 * rows[x3, n]
                )


@sum_part
def total(rows, x, width):
    """Sum of row x."""
    result = 0.0
    for n in range(width):
        result += rows[x, n]
    return result


@sum_part
def dot(rows, x, y, width):
    """Sum of row x times row y."""
    result = 0.0
    for n in range(width):
        result += rows[x, n] * rows[y, n]
    return result


# -- Activations ----------------------------------------------------------------------------------


@part
def exponential(x):
    """exp x for x <= 0, within 2 u of its value down to x = -700; exp(-700) below. NaN stays.

    x = n log 2 + r with |r| <= 0.35, log 2 in two pieces of which n times the first is exact;
    exp r by its series to r¹³/13!, which leaves 4e-18; 2ⁿ is put together from its bits.
    """
    x = -700.0 if x < -700.0 else x
    m = x * 1.4426950408889634 - 0.5
    n = np.int32(m if m > -1100.0 else 0.0)  # NaN has no integer
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * np.int64((np.int64(n) + 1023) << 52).view(np.float64)


@part
def activate(rows, y, width, activation):
    """Row y = s(y), for one point of t. NaN stays NaN."""
    if activation == RELU:
        for n in range(width):
            z = rows[y, n]
            rows[y, n] = 0.0 if z < 0.0 else z
    elif activation == SIGMOID:
        for n in range(width):
            z = rows[y, n]
            e = exponential(-abs(z))
            rows[y, n] = (e if z < 0.0 else 1.0) / (1.0 + e)
    elif activation == TANH:
        for n in range(width):
            z = rows[y, n]
            e = exponential(-2.0 * abs(z))
            size = (1.0 - e) / (1.0 + e)
            rows[y, n] = -size if z < 0.0 else size


@part
def lowest_and_highest(rows, first, degree, width):
    """Rows LOW and HIGH = the smallest and the largest coefficient, less or plus the radius."""
    radius = first + degree + 1
    for n in range(width):
        rows[LOW, n] = math.inf
        rows[HIGH, n] = -math.inf
    for k in range(first, radius):
        for n in range(width):
            low = rows[k, n] - rows[radius, n]
            high = rows[k, n] + rows[radius, n]
            rows[LOW, n] = rows[LOW, n] if rows[LOW, n] < low else low
            rows[HIGH, n] = rows[HIGH, n] if rows[HIGH, n] > high else high


@part
def relu_line(lo, hi):
    """The line that replaces max(z, 0) on [lo, hi]: λ, and μ = e."""
    slope = hi / (hi - lo)
    slope = 1.0 if lo >= 0.0 else slope
    slope = 0.0 if hi <= 0.0 else slope
    half = -0.5 * slope * lo
    return slope, (0.0 if lo >= 0.0 else half)


@part
def enclose_relu(rows, first, degree, width):
    """Replace max(z, 0) by a line with a radius; returns what is known of the unit then.

    The two degrees of a net with two hidden layers take one pass, not six.
    """
    on = 0
    off = 0
    if degree == 1:
        for n in range(width):
            c0 = rows[first, n]
            c1 = rows[first + 1, n]
            radius = rows[first + 2, n]
            lo = (c1 if c1 < c0 else c0) - radius
            hi = (c1 if c1 > c0 else c0) + radius
            slope, shift = relu_line(lo, hi)
            rows[first, n] = slope * c0 + shift
            rows[first + 1, n] = slope * c1 + shift
            rows[first + 2, n] = slope * radius + shift
            on += 1 if lo >= 0.0 else 0
            off += 1 if hi <= 0.0 else 0
    elif degree == 2:
        for n in range(width):
            c0 = rows[first, n]
            c1 = rows[first + 1, n]
            c2 = rows[first + 2, n]
            radius = rows[first + 3, n]
            lo = c1 if c1 < c0 else c0
            hi = c1 if c1 > c0 else c0
            lo = (c2 if c2 < lo else lo) - radius
            hi = (c2 if c2 > hi else hi) + radius
            slope, shift = relu_line(lo, hi)
            rows[first, n] = slope * c0 + shift
            rows[first + 1, n] = slope * c1 + shift
            rows[first + 2, n] = slope * c2 + shift
            rows[first + 3, n] = slope * radius + shift
            on += 1 if lo >= 0.0 else 0
            off += 1 if hi <= 0.0 else 0
    else:
        lowest_and_highest(rows, first, degree, width)
        for n in range(width):
            lo = rows[LOW, n]
            hi = rows[HIGH, n]
            rows[HIGH, n], rows[SHIFT, n] = relu_line(lo, hi)
            on += 1 if lo >= 0.0 else 0
            off += 1 if hi <= 0.0 else 0
        put_line(rows, first, degree, width, HIGH, SHIFT, SHIFT)
    return EXACT if on == width else (OFF if off == width else LOOSE)


@part
def put_line(rows, first, degree, width, slope, shift, extra):
    """c_k = λ c_k + μ, ρ = λ ρ + e, for rows of λ, μ and e."""
    radius = first + degree + 1
    for k in range(first, radius):
        for n in range(width):
            rows[k, n] = rows[slope, n] * rows[k, n] + rows[shift, n]
    for n in range(width):
        rows[radius, n] = rows[slope, n] * rows[radius, n] + rows[extra, n]


@part
def enclose_smooth(rows, first, degree, width, activation):
    """Replace tanh or sigmoid by its chord, or by a constant, with a radius."""
    lowest_and_highest(rows, first, degree, width)
    for n in range(width):
        lo = rows[LOW, n]
        hi = rows[HIGH, n]
        span = hi - lo
        # T = tanh(z) or tanh(z/2): |tanh''| = 2 |T| (1 - T²), |sigmoid''| = |T| (1 - T²)/4
        scale = 2.0 if activation == TANH else 1.0
        e_lo = exponential(-scale * abs(lo))
        e_hi = exponential(-scale * abs(hi))
        size_lo = (1.0 - e_lo) / (1.0 + e_lo)
        size_hi = (1.0 - e_hi) / (1.0 + e_hi)
        largest = size_hi if size_hi > size_lo else size_lo
        smallest = size_lo if size_hi > size_lo else size_hi
        smallest = 0.0 if lo < 0.0 < hi else smallest
        bend = largest * (1.0 - smallest * smallest)
        bend *= 2.0 if activation == TANH else 0.25
        most = TANH_BEND if activation == TANH else SIGMOID_BEND
        bend = (bend if bend < most else most) + BEND_ERROR
        sag = bend * span * span * 0.125
        f_lo = -size_lo if lo < 0.0 else size_lo
        f_hi = -size_hi if hi < 0.0 else size_hi
        f_lo = 0.5 + 0.5 * f_lo if activation == SIGMOID else f_lo
        f_hi = 0.5 + 0.5 * f_hi if activation == SIGMOID else f_hi
        slope = (f_hi - f_lo) / (span if span > 0.0 else 1.0)
        slope = 1.0 if slope > 1.0 else slope  # which only the rounding over a tiny range makes it
        side = 0.5 if lo >= 0.0 else 0.0  # concave above 0
        side = -0.5 if hi <= 0.0 else side
        radius = sag if side == 0.0 else 0.5 * sag
        centre = f_lo - slope * lo + side * sag
        flat = 0.5 * (f_hi - f_lo)
        flat = 0.0 if flat < 0.0 else flat  # which rounding alone makes it
        chord = radius <= flat
        rows[LOW, n] = slope if chord else 0.0
        rows[SHIFT, n] = centre if chord else 0.5 * (f_hi + f_lo)
        rows[EXTRA, n] = radius if chord else flat
    put_line(rows, first, degree, width, LOW, SHIFT, EXTRA)


# -- The network ----------------------------------------------------------------------------------


@part
def enclose(theta_a, theta_b, layers, X, members, width, rows, weights, sources, known):
    """Enclose all units for a tile of samples, X[:, members]; returns the output's first row.

    The tile is filled up to `width` with its last sample. known (units,) holds what is known of
    each: OFF units and the radii of EXACT ones are left out of the sums.
    """
    count = members.size
    for i in range(X.shape[0]):
        for n in range(count):
            rows[FIRST + i, n] = X[i, members[n]]
        for n in range(count, width):
            rows[FIRST + i, n] = rows[FIRST + i, count - 1]
        known[i] = EXACT
    base_in = FIRST
    known_in = 0
    stride_in = 1
    base = FIRST + X.shape[0]
    degree = 0
    for layer in range(layers.shape[0]):
        n_in = layers[layer, 0]
        n_out = layers[layer, 1]
        biases = layers[layer, 3]
        activation = layers[layer, 4]
        degree += 1
        stride = degree + 2
        for j in range(n_out):
            first = base + j * stride
            loose = False
            for k in range(degree + 2):  # the coefficients, then the radius
                terms = 0
                bias = 0.0
                if k <= degree:
                    right = k / degree
                    left = 1.0 - right
                    if biases >= 0:
                        bias = left * theta_a[biases + j] + right * theta_b[biases + j]
                    for i in range(n_in):
                        if known[known_in + i] == OFF:
                            continue
                        w = layers[layer, 2] + i * n_out + j
                        source = base_in + i * stride_in + k
                        if k < degree:
                            weights[terms] = left * theta_a[w]
                            sources[terms] = source
                            terms += 1
                        if k > 0:
                            weights[terms] = right * theta_b[w]
                            sources[terms] = source - 1
                            terms += 1
                else:
                    for i in range(n_in):
                        if known[known_in + i] == LOOSE:
                            w = layers[layer, 2] + i * n_out + j
                            size_a = abs(theta_a[w])
                            size_b = abs(theta_b[w])
                            weights[terms] = size_a if size_a > size_b else size_b
                            sources[terms] = base_in + (i + 1) * stride_in - 1
                            terms += 1
                    loose = terms > 0
                combine(rows, first + k, width, bias, weights, sources, terms)
            found = LOOSE if loose else EXACT
            if activation == RELU:
                relu = enclose_relu(rows, first, degree, width)
                found = found if relu == EXACT else relu
            elif activation != IDENTITY:
                enclose_smooth(rows, first, degree, width, activation)
                found = LOOSE
            known[known_in + n_in + j] = found
        base_in = base
        known_in += n_in
        stride_in = stride
        base += n_out * stride
    return base_in


# -- The loss -------------------------------------------------------------------------------------


@part
def convex_loss(r, loss):
    """The loss of one residual r >= 0."""
    if loss == MAE:
        return r
    if loss == HUBER:
        return HUBER_DELTA * (r - 0.5 * HUBER_DELTA) if r > HUBER_DELTA else 0.5 * r * r
    return r + math.log1p(math.exp(-2.0 * r)) - LOG_2


@part
def subtract_targets(rows, first, degree, Y, j, members):
    """c_k = c_k - y: coefficients of the residual."""
    count = members.size
    for n in range(count):
        rows[TARGET, n] = Y[j, members[n]]
    for k in range(first, first + degree + 1):
        for n in range(count):
            rows[k, n] -= rows[TARGET, n]


@part
def add_slack(rows, first, degree, loss, width):
    """Add to row SLACK how far the samples' bounds may be off; no bound depends on it.

    For the squared loss the radius is replaced by ρ (2 max|r_k| + ρ).
    """
    radius = first + degree + 1
    lowest_and_highest(rows, first, degree, width)
    for n in range(width):
        rho = rows[radius, n]
        lo = rows[LOW, n]
        hi = rows[HIGH, n]
        size = hi if hi > -lo else -lo  # max |r_k| + ρ
        spread = hi - lo
        crossing = -lo if -lo < hi else hi  # Jensen's loss at the kink of |r|
        crossing = crossing if crossing > 0.0 else 0.0
        if loss == MSE:
            rows[radius, n] = rho * (2.0 * size - rho)
            rows[SLACK, n] += rows[radius, n]
        elif loss == MAE:
            rows[SLACK, n] += rho + crossing
        else:
            rows[SLACK, n] += rho + 0.125 * spread * spread


@part
def add_loss(rows, first, degree, loss, width, some, shares, whole, settled):
    """Add one output's Bernstein coefficients, summed over a tile, to `whole` and `settled`.

    Row MASK is 1.0 for the samples that are settled; `some` tells whether there are any.
    """
    radius = first + degree + 1
    if loss == MSE:
        for i in range(degree + 1):
            if some:
                for n in range(width):
                    rows[LOW, n] = rows[MASK, n] * rows[first + i, n]
            for j in range(i, degree + 1):
                share = shares[i, j]
                whole[i + j] += share * dot(rows, first + i, first + j, width)
                if some:
                    settled[i + j] += share * dot(rows, LOW, first + j, width)
        whole_radius = total(rows, radius, width)
        settled_radius = dot(rows, MASK, radius, width) if some else 0.0
        for k in range(2 * degree + 1):
            whole[k] += whole_radius
            settled[k] += settled_radius
    else:
        for k in range(degree + 1):
            if loss == MAE:
                for n in range(width):
                    rows[LOW, n] = abs(rows[first + k, n]) + rows[radius, n]
            else:
                for n in range(width):
                    r = abs(rows[first + k, n]) + rows[radius, n]
                    rows[LOW, n] = convex_loss(r, loss)
            whole[k] += total(rows, LOW, width)
            if some:
                settled[k] += dot(rows, MASK, LOW, width)


# -- One point of t -------------------------------------------------------------------------------


@part
def evaluate(theta, layers, X, start, count, rows, weights, sources):
    """Run a tile of samples through the network, a row a unit; returns the output's first row."""
    for i in range(X.shape[0]):
        for n in range(count):
            rows[FIRST + i, n] = X[i, start + n]
    filled = FIRST + X.shape[0]
    for layer in range(layers.shape[0]):
        n_in = layers[layer, 0]
        n_out = layers[layer, 1]
        biases = layers[layer, 3]
        for j in range(n_out):
            for i in range(n_in):
                weights[i] = theta[layers[layer, 2] + i * n_out + j]
                sources[i] = filled - n_in + i
            bias = theta[biases + j] if biases >= 0 else 0.0
            combine(rows, filled + j, count, bias, weights, sources, n_in)
            activate(rows, filled + j, count, layers[layer, 4])
        filled += n_out
    return filled - layers[layers.shape[0] - 1, 1]


@sum_part
def residual_losses(rows, y, Y, j, start, count, loss):
    """Sum of one output unit's losses over a tile; row y has its values."""
    result = 0.0
    if loss == MSE:
        for n in range(count):
            r = rows[y, n] - Y[j, start + n]
            result += r * r
    else:
        for n in range(count):
            result += convex_loss(abs(rows[y, n] - Y[j, start + n]), loss)
    return result


@part
def total_loss(theta, layers, loss, X, Y, rows, weights, sources):
    """N L(X, θ), rounded no worse than on an interval; see `rounding`."""
    samples = X.shape[1]
    result = 0.0
    for start in range(0, samples, rows.shape[1]):
        count = min(rows.shape[1], samples - start)
        output = evaluate(theta, layers, X, start, count, rows, weights, sources)
        for j in range(Y.shape[0]):
            result += residual_losses(rows, output + j, Y, j, start, count, loss)
    return result


# -- One scalar polynomial ------------------------------------------------------------------------


@part
def halve(c, left, right):
    """Cut a polynomial at s = 1/2: its Bernstein coefficients on both halves (de Casteljau)."""
    for k in range(c.size):
        right[k] = c[k]
    left[0] = c[0]
    for k in range(1, c.size):  # right's entry d - k is final in round k
        for i in range(c.size - k):
            right[i] = 0.5 * (right[i] + right[i + 1])
        left[k] = right[0]


@part
def bound_polynomial(c, work):
    """Bound max over s of sum c_k B_k(s) by the coefficients on PIECES pieces.

    Returns the bound and where it comes from: an end of a piece, or else its middle. work
    (2 PIECES, d + 1) is a heap of halves: those of row p are rows 2p and 2p + 1.
    """
    for k in range(c.size):
        work[1, k] = c[k]
    for row in range(1, PIECES):
        halve(work[row], work[2 * row], work[2 * row + 1])
    highest = -math.inf
    place = 0.0
    for piece in range(PIECES):
        for k in range(c.size):
            height = work[PIECES + piece, k]
            if not height <= highest:  # NaN comes through, as infinity
                highest = height if height == height else math.inf
                place = piece + (0.0 if k == 0 else (1.0 if k == c.size - 1 else 0.5))
    return highest, place / PIECES


# -- Branch and bound -----------------------------------------------------------------------------


@part
def interpolate(theta1, theta2, t, theta):
    """Equation (1)."""
    for p in range(theta.size):
        theta[p] = (1.0 - t) * theta1[p] + t * theta2[p]


@part
def swap(x, i, j):
    """Exchange two rows."""
    for k in range(x.shape[1]):
        x[i, k], x[j, k] = x[j, k], x[i, k]


@kernel
def bracket(
    theta1, theta2, L0, gap, sigma, splits, layers, loss, X, Y, shares,
    state, nodes, kept, spans, lists,
    rows, weights, sources, known, work, whole, settled, theta_a, theta_b,
):  # fmt: skip
    """Search for the maximum of γ until it is bracketed or `splits` intervals were halved.

    Bracketed: upper + σ <= lower + gap |lower|, with lower = γ(t*) - σ, and upper + σ <= L0 or
    lower > L0; but no tighter than 4 σ, which is all that can be asked for. L0 or gap may be
    infinite, and σ if nothing can be said. The search can go on from where it stopped.

    ``shares``  (d+1, d+1)  binom(d, i) binom(d, j) / binom(2d, i + j), twice that for i < j: what
                            the product of two coefficients weighs in the square's
    ``state``   (4,)        open intervals, t*, γ(t*), the highest bound of those that are closed
    ``nodes``   (STACK, 4)  of each open interval: bound (infinite at first), both ends, and where
                            γ is to be evaluated (NaN if it was)
    ``kept``    (STACK, D)  the polynomial of the samples that are settled on it
    ``spans``   (STACK, 2)  where in `lists` the others begin and end; lists[:N] has all (uint32:
                            an index that cannot be negative need not be checked for it)
    """
    samples = X.shape[1]
    size = kept.shape[1]
    top = int(state[0]) if sigma < math.inf else 0
    while top > 0:
        here = top - 1
        bound, left, right, peak = nodes[here, 0], nodes[here, 1], nodes[here, 2], nodes[here, 3]
        lower = state[2] - sigma
        allowed = lower
        if lower > -math.inf:
            allowed += max(gap * abs(lower), 4.0 * sigma) if gap < math.inf else math.inf
            if lower <= L0 < allowed:
                allowed = max(L0, lower + 4.0 * sigma)
            if bound + sigma <= allowed or right - left < SHORTEST or lower == math.inf:
                state[3] = max(state[3], bound)
                top -= 1
                continue
        if peak == peak:
            interpolate(theta1, theta2, peak, theta_a)
            height = total_loss(theta_a, layers, loss, X, Y, rows, weights, sources) / samples
            height = height if height == height else math.inf
            if height > state[2]:
                state[1] = peak
                state[2] = height
            nodes[here, 3] = math.nan
            continue
        if splits == 0:
            break
        splits -= 1
        begin, end = spans[here, 0], spans[here, 1]
        middle = 0.5 * (left + right)
        free = samples
        for place in range(top):
            free = max(free, spans[place, 1])
        halve(kept[here], work[0], work[1])
        for k in range(size):
            kept[here, k] = work[0, k]
            kept[here + 1, k] = work[1, k]
        degree = layers.shape[0]
        negligible = NEGLIGIBLE * (allowed - lower)
        for place in range(here, here + 2):  # one place for both, for much is inlined below
            a = left if place == here else middle
            b = middle if place == here else right
            interpolate(theta1, theta2, a, theta_a)
            interpolate(theta1, theta2, b, theta_b)
            for k in range(size):
                whole[k] = 0.0
                settled[k] = 0.0
            listed = free
            for tile in range(begin, end, rows.shape[1]):
                count = min(rows.shape[1], end - tile)
                members = lists[tile : tile + count]
                width = (count + 7) // 8 * 8
                output = enclose(
                    theta_a, theta_b, layers, X, members, width, rows, weights, sources, known
                )
                for n in range(count):
                    rows[SLACK, n] = 0.0
                for j in range(Y.shape[0]):
                    first = output + j * (degree + 2)
                    subtract_targets(rows, first, degree, Y, j, members)
                    add_slack(rows, first, degree, loss, count)
                unsettled = 0
                for n in range(count):
                    is_open = not rows[SLACK, n] <= negligible
                    rows[MASK, n] = 0.0 if is_open else 1.0
                    lists[listed + unsettled] = members[n]
                    unsettled += 1 if is_open else 0
                listed += unsettled
                for j in range(Y.shape[0]):
                    first = output + j * (degree + 2)
                    some = unsettled < count
                    add_loss(rows, first, degree, loss, count, some, shares, whole, settled)
            for k in range(size):
                whole[k] = kept[place, k] + whole[k] / samples
                kept[place, k] += settled[k] / samples
            nodes[place, 0], s = bound_polynomial(whole, work)
            nodes[place, 1] = a
            nodes[place, 2] = b
            nodes[place, 3] = a + (b - a) * s
            spans[place, 0] = free
            spans[place, 1] = listed
            free = listed
        if nodes[here, 0] > nodes[here + 1, 0]:  # the worse half is taken first
            swap(nodes, here, here + 1)
            swap(kept, here, here + 1)
            swap(spans, here, here + 1)
        top += 1
    state[0] = top
    return top == 0
