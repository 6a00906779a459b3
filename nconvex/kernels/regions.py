"""Losses, gradients and descents of ReLU networks of one input, by linear regions.

Such a network is a continuous, piecewise linear function of its input x. The samples are sorted by
x. The kinks of a layer's units cut them into regions on which these units are linear, and the next
layer cuts these further. A 1-4-4-1 network has at most 25 regions, and mostly about ten. On a
region every unit is a line, slope x + shift: the forward pass computes these two numbers a region
instead of an activation a sample. Only the last line meets the samples, in the residuals r.
Backward, let s = ℓ'(r). All samples of a region share one path through the network, so that the
sums of s and of s x over the region are enough:

    dL/dz_k of one sample  = c_k s, with c_k constant on the region,
    Σ dL/dz_k a_i          = slope_i (c_k Σ s x) + shift_i (c_k Σ s).

For the squared error s is linear in x and y, and its sums are differences of running sums over the
samples (`running_sums`). Then a step takes as long for ten samples as for a million.

The results are those of `samples`, but for rounding. Weights are multiplied along a path before
they meet x, so these products must neither overflow nor underflow. Names and shapes are explained
there. What is different:

``X``, ``Y``  (1, N), (d, N), sorted by X
``ranks``     (N + 1,) where in X the search for a number begins; see `ranked`
``sums``      (N + 2, 2 + 2 d) see `running_sums`; with no row, each sample is visited
``train``, ``test``  tuples: X, Y, ranks and sums
``lines``     (6, layers + 1, widest) workspace, rows of units: slopes and shifts of z, the same of
              the activations, sums of dL/dz and of x dL/dz
``cuts``      (3, layers + 1, widest + 2) int64 workspace: for each layer the first samples of its
              regions in order, each unit's cut, and whether it is on from there; see `split`
``workspace``  tuple: lines, cuts and turns
``turns``     (2, layers + 1) int64 workspace: for each layer how many regions there are, and how
              many have been visited
"""

import math

import numpy as np

from nconvex.kernels.jit import inlined, inlined_strict
from nconvex.kernels.parts import MSE, kernels_of, loss_and_slope
from nconvex.kernels.vectors import line_residuals, once_a_thread

#: A shorter range of x is not cut into cells: N divided by its length might overflow.
SHORTEST = 1e-290

#: Samples that lie so many quartile ranges from the median cost running sums four digits of 16.
FARTHEST = 100.0

#: Rows of `lines`.
SLOPE, SHIFT, ON_SLOPE, ON_SHIFT, SUM, SUM_X = range(6)


@once_a_thread
def workspace(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make `lines`, `cuts` and `turns`, for a network's sizes."""
    layers, widest = len(sizes), max(sizes)
    return (
        np.zeros((6, layers, widest)),
        np.zeros((3, layers, widest + 2), dtype=np.int64),
        np.zeros((2, layers), dtype=np.int64),
    )


def _cells_per_length(x: np.ndarray) -> float:
    """As `crossing` computes it, too; 0 puts all samples into one cell."""
    with np.errstate(over="ignore"):
        length = x[-1] - x[0]
    return float(x.size / length) if SHORTEST < length < math.inf else 0.0


def ranked(x: np.ndarray) -> np.ndarray:
    """Return `ranks` for x (N,), which is sorted: where `crossing` begins to search.

    The range of x is cut into N equal cells; ranks[k] samples come before cell k. If x is spread
    evenly, a cell holds one or two samples. Otherwise the search goes on by bisection.
    """
    scale = _cells_per_length(x)
    cell_of = np.zeros(x.size, dtype=np.int64)
    if scale > 0.0:
        cell_of = np.minimum((x - x[0]) * scale, x.size - 1).astype(np.int64)
    return np.searchsorted(cell_of, np.arange(x.size + 1))


def running_sums(x: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return `sums` for x (N,) and Y (d, N): row n holds sums over the first n samples.

    The columns are x, x², and for each output y and x y. x and y are measured from their medians,
    so that an offset costs no digits. The last row holds the medians: that of x, 0, and for each
    output its own and 0. There is no row if an x lies more than `FARTHEST` quartile ranges from the
    median, which would cost digits, or if a sum overflows.
    """
    outputs, samples = Y.shape
    middles = np.zeros(2 + 2 * outputs)
    middles[0] = x[samples // 2]
    middles[2::2] = np.median(Y, axis=1)
    terms = np.empty((2 + 2 * outputs, samples))
    sums = np.zeros((samples + 2, 2 + 2 * outputs))
    sums[-1] = middles
    with np.errstate(over="ignore", invalid="ignore"):
        from_middle = terms[0] = x - middles[0]
        terms[2::2] = Y - middles[2::2, None]
        terms[1::2] = terms[::2] * from_middle
        sums[1:-1] = np.cumsum(terms, axis=1).T
        quartiles = x[3 * samples // 4] - x[samples // 4]
        farthest = max(x[-1] - middles[0], middles[0] - x[0])
        exact = farthest <= FARTHEST * quartiles and np.isfinite(sums).all()
    return sums if exact else sums[:0]


# -- Regions: where lines change their sign -------------------------------------------------------


@inlined_strict
def crossing(slope, shift, x, first, last, ranks):
    """The sample in (first, last] from which on slope x + shift has another sign than at first.

    The signs at first and last differ. As for ReLU, 0 counts as negative.
    """
    cells = x.size
    length = x[cells - 1] - x[0]
    scale = cells / length if SHORTEST < length < math.inf else 0.0
    cell = (-shift / slope - x[0]) * scale
    k = np.int64(cell) if 0.0 < cell < cells else (cells - 1 if cell > 0.0 else 0)
    k = min(k, cells - 1)
    low = max(first + 1, min(ranks[k], last))
    high = max(low, min(ranks[k + 1], last))
    while low < high:
        middle = (low + high) // 2
        if (slope * x[middle] + shift > 0.0) == (slope > 0.0):
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def insert(starts, count, cut):
    """Insert a cut into the sorted first samples of `count` regions; returns the new count."""
    at = count
    while starts[at - 1] > cut:
        starts[at] = starts[at - 1]
        at -= 1
    starts[at] = cut
    return count + 1


@inlined_strict
def split(slopes, shifts, x, start, end, ranks, starts, cuts, rises):
    """Cut the samples [start, end) where one of a layer's units changes its sign.

    `starts` becomes the first sample of each region in order, followed by `end`; returns the number
    of regions, of which some may be empty. If `rises[k]`, unit k is on (z_k > 0) from its sample
    `cuts[k]` on, else before it. Units that are NaN are on.
    """
    starts[0] = start
    count = 1
    for k in range(slopes.size):
        slope = slopes[k]
        shift = shifts[k]
        cut = start
        rise = not slope * x[start] + shift <= 0.0
        if rise != (not slope * x[end - 1] + shift <= 0.0):
            cut = crossing(slope, shift, x, start, end - 1, ranks)
            rise = not rise
            count = insert(starts, count, cut)
        cuts[k] = cut
        rises[k] = rise
    starts[count] = end
    return count


# -- Losses of the residuals r = slope x + shift - y of a region ----------------------------------


@inlined
def residual_losses(x, y, start, end, slope, shift, loss):
    """Sums over the samples [start, end) of the losses, of their derivatives s, and of s x."""
    if loss == MSE:
        result, total, moment = line_residuals(x, y, start, end, slope, shift)
        return result, 2.0 * total, 2.0 * moment
    result = 0.0
    total = 0.0
    moment = 0.0
    for n in range(start, end):
        value, s = loss_and_slope(slope * x[n] + shift - y[n], loss)
        result += value
        total += s
        moment += s * x[n]
    return result, total, moment


@inlined
def residual_sums(sums, start, end, slope, shift, k):
    """Sums of s = 2 r and of s x over the samples [start, end) of output k, by running sums."""
    y = 2 + 2 * k
    medians = sums.shape[0] - 1
    x_middle = sums[medians, 0]
    count = float(end - start)
    sum_x = sums[end, 0] - sums[start, 0]
    sum_xx = sums[end, 1] - sums[start, 1]
    sum_y = sums[end, y] - sums[start, y]
    sum_xy = sums[end, y + 1] - sums[start, y + 1]
    level = shift + slope * x_middle - sums[medians, y]
    total = slope * sum_x + level * count - sum_y
    moment = slope * sum_xx + level * sum_x - sum_xy + x_middle * total
    return 2.0 * total, 2.0 * moment


# -- The network ----------------------------------------------------------------------------------


@inlined
def forward(theta, layers, layer, lines):
    """A layer's z as lines, from the lines of the activations below, on one region."""
    n_in, n_out, weights, biases = layers[layer, :4]
    slopes = lines[SLOPE, layer + 1]
    shifts = lines[SHIFT, layer + 1]
    for k in range(n_out):
        slopes[k] = 0.0
        shifts[k] = theta[biases + k] if biases >= 0 else 0.0
    for i in range(n_in):
        slope = lines[ON_SLOPE, layer, i]
        shift = lines[ON_SHIFT, layer, i]
        row = theta[weights + i * n_out : weights + (i + 1) * n_out]
        for k in range(n_out):
            slopes[k] += row[k] * slope
            shifts[k] += row[k] * shift


@inlined
def backward(layers, theta, layer, lines, start, cuts, rises, gradient):
    """Add a region's share to the gradient of a layer, and to the sums of the layer below.

    The region begins at sample `start`; `cuts` and `rises` are of the units below, see `split`.
    """
    n_in, n_out, weights, biases = layers[layer, :4]
    total = lines[SUM, layer + 1]
    moment = lines[SUM_X, layer + 1]
    if biases >= 0:
        for k in range(n_out):
            gradient[biases + k] += total[k]
    for i in range(n_in):
        if layer > 0 and (start >= cuts[i]) != rises[i]:
            continue  # the unit is off
        slope = lines[ON_SLOPE, layer, i]
        shift = lines[ON_SHIFT, layer, i]
        row = theta[weights + i * n_out : weights + (i + 1) * n_out]
        slopes = gradient[weights + i * n_out : weights + (i + 1) * n_out]
        below = 0.0
        below_x = 0.0
        for k in range(n_out):
            slopes[k] += slope * moment[k] + shift * total[k]
            below += row[k] * total[k]
            below_x += row[k] * moment[k]
        lines[SUM, layer, i] += below
        lines[SUM_X, layer, i] += below_x


@inlined
def mean_loss(theta, layers, loss, X, Y, ranks, sums, lines, cuts, turns, gradient):
    """As in `samples`, by regions; with `sums` the gradient alone, of the squared error.

    The tree of regions, cut by layer after layer, is visited depth first.
    """
    samples = X.shape[1]
    by_sums = sums.shape[0] > 0
    x = X[0]
    last = layers.shape[0]
    for p in range(gradient.size):
        gradient[p] = 0.0
    result = 0.0
    lines[ON_SLOPE, 0, 0] = 1.0
    lines[ON_SHIFT, 0, 0] = 0.0
    cuts[0, 0, 0] = 0
    cuts[0, 0, 1] = samples
    turns[0, 0] = 1
    turns[1, 0] = 0
    level = 0  # of the regions that are visited; the input, level 0, has one
    while True:
        turn = turns[1, level]
        if turn == turns[0, level]:  # all visited: so is the region that they are cut from
            if level == 0:
                break
            level -= 1
            if gradient.size > 0:
                start = cuts[0, level, turns[1, level] - 1]
                backward(
                    layers, theta, level, lines, start, cuts[1, level], cuts[2, level], gradient
                )
            continue
        turns[1, level] = turn + 1
        start = cuts[0, level, turn]
        end = cuts[0, level, turn + 1]
        if start == end:
            continue
        if level > 0:
            for k in range(layers[level - 1, 1]):
                on = (start >= cuts[1, level, k]) == cuts[2, level, k]
                lines[ON_SLOPE, level, k] = lines[SLOPE, level, k] if on else 0.0
                lines[ON_SHIFT, level, k] = lines[SHIFT, level, k] if on else 0.0
        forward(theta, layers, level, lines)
        level += 1
        units = layers[level - 1, 1]
        turns[1, level] = 0
        if level < last:
            turns[0, level] = split(
                lines[SLOPE, level][:units], lines[SHIFT, level][:units], x, start, end, ranks,
                cuts[0, level], cuts[1, level], cuts[2, level],
            )  # fmt: skip
            for k in range(units):
                lines[SUM, level, k] = 0.0
                lines[SUM_X, level, k] = 0.0
        else:
            turns[0, level] = 0
            for k in range(units):
                slope = lines[SLOPE, level, k]
                shift = lines[SHIFT, level, k]
                if by_sums:
                    total, moment = residual_sums(sums, start, end, slope, shift, k)
                else:
                    value, total, moment = residual_losses(x, Y[k], start, end, slope, shift, loss)
                    result += value
                lines[SUM, level, k] = total
                lines[SUM_X, level, k] = moment
    for p in range(gradient.size):
        gradient[p] /= samples
    return result / samples


loss_and_gradient, mean_losses, rmsprop = kernels_of(mean_loss)
