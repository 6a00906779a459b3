"""`kernels` for ReLU networks of one input: piece by piece instead of sample by sample.

Such a network is a continuous, piecewise linear function of its input x. A unit's kinks cut the
samples, sorted by x, into pieces on which it is linear, and the next layer's units cut those
further; a 1-4-4-1 network has 25 pieces at most and about ten as a rule. On a piece every unit is
a line, slope x + shift, so that the forward pass carries these two numbers a piece instead of an
activation a sample. Only the last line meets the samples, in the residuals r. Backward, all
samples of a piece share the path on which their loss's derivative s = ℓ'(r) comes down, so that
the sums of s and of s x over the piece stand for all of them:

    dL/dz_k of one sample  = c_k s, c_k constant on the piece,
    sum of dL/dz_k a_i     = slope_i (c_k sum of s x) + shift_i (c_k sum of s).

For the squared error s is linear in x and y as well, and its sums come from running sums over the
samples (`running_sums`): a descent's step takes as long for ten samples as for a million.

What is computed is what `kernels` computes, in another order: weights are multiplied along a path
before they meet x, so that these products, too, must neither overflow nor underflow. Names and
shapes are explained there; what is different:

``X``, ``Y``  (1, N), (d, N), sorted by X
``ranks``     (N + 1,) where in X to look for a number; see `ranked`
``sums``      (N + 2, 2 + 2 d) see `running_sums`; without a row: "go through the samples"
``lines``     (6, layers + 1, widest) workspace, rows of units: slopes and shifts of z, the same of
              the activations, sums of dL/dz and of x dL/dz
``cuts``      (3, layers + 1, widest + 2) int64 workspace: for each layer the first samples of its
              pieces in order, each unit's cut, and whether it is on from there; see `split`
``turns``     (2, layers + 1) int64 workspace: for each layer how many pieces there are, and how
              many have been gone through
"""

import math

import numpy as np

from nconvex.kernels.jit import inlined, inlined_strict, kernel
from nconvex.kernels.parts import MSE, loss_and_slope, rmsprop_step
from nconvex.kernels.vectors import line_residuals

#: A range of x that is shorter is not cut into parts: their number by its length might overflow.
SHORTEST = 1e-290

#: Sums over samples that lie so many quartile ranges from the others lose four digits of sixteen.
FARTHEST = 100.0

#: Rows of `lines`.
SLOPE, SHIFT, ON_SLOPE, ON_SHIFT, SUM, SUM_X = range(6)


def workspace(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make `lines`, `cuts` and `turns` for a network."""
    layers, widest = len(sizes), max(sizes)
    return (
        np.zeros((6, layers, widest)),
        np.zeros((3, layers, widest + 2), dtype=np.int64),
        np.zeros((2, layers), dtype=np.int64),
    )


def _parts_per_length(x: np.ndarray) -> float:
    """What `crossing` computes, too; 0 puts all samples into one part."""
    with np.errstate(over="ignore"):
        length = x[-1] - x[0]
    return float(x.size / length) if SHORTEST < length < math.inf else 0.0


def ranked(x: np.ndarray) -> np.ndarray:
    """Return `ranks` for x (N,), which is sorted: where `crossing` begins to search.

    The range of x is cut into N equal parts; ranks[k] samples come before the k-th. Where x is
    spread evenly a part holds one or two samples; else the search goes on by halves.
    """
    parts = x.size
    scale = _parts_per_length(x)
    part_of = np.zeros(parts, dtype=np.int64)
    if scale > 0.0:
        part_of = np.minimum((x - x[0]) * scale, parts - 1).astype(np.int64)
    return np.searchsorted(part_of, np.arange(parts + 1))


def running_sums(x: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return `sums` for x (N,) and Y (d, N): row n sums up the first n samples.

    The columns are x, x², and for each output y and x y, all measured from their medians, so that
    differences of sums lose nothing to an offset. The last row holds these: that of x, 0, and for
    each output its own and 0. Where they would lose digits, because a few x lie further than
    `FARTHEST` quartile ranges away, or where a sum overflows, no row is returned.
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


# -- Where a line changes its sign ----------------------------------------------------------------


@inlined_strict
def crossing(slope, shift, x, first, last, ranks):
    """The sample in (first, last] from which slope x + shift has another sign than at first.

    The signs at first and last are not the same. As for ReLU, 0 belongs to the negative ones.
    """
    parts = x.size
    length = x[parts - 1] - x[0]
    scale = parts / length if SHORTEST < length < math.inf else 0.0
    place = (-shift / slope - x[0]) * scale
    k = np.int64(place) if 0.0 < place < parts else (parts - 1 if place > 0.0 else 0)
    k = min(k, parts - 1)
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
def insert(pieces, count, cut):
    """Put a cut among the first samples of `count` pieces, in order; returns how many now."""
    at = count
    while pieces[at - 1] > cut:
        pieces[at] = pieces[at - 1]
        at -= 1
    pieces[at] = cut
    return count + 1


@inlined_strict
def split(slopes, shifts, x, start, end, ranks, pieces, places, rises):
    """Cut the samples [start, end) where one of a layer's units changes its sign.

    `pieces` becomes the first sample of each piece in order, and `end` after them; the number of
    pieces is returned, of which some may be empty. A unit k is on, that is z_k > 0, before its
    `places[k]` or, if `rises[k]`, from there on. Units that are not a number are on.
    """
    pieces[0] = start
    count = 1
    for k in range(slopes.size):
        slope = slopes[k]
        shift = shifts[k]
        place = start
        rise = not slope * x[start] + shift <= 0.0
        if rise != (not slope * x[end - 1] + shift <= 0.0):
            place = crossing(slope, shift, x, start, end - 1, ranks)
            rise = not rise
            count = insert(pieces, count, place)
        places[k] = place
        rises[k] = rise
    pieces[count] = end
    return count


# -- Losses of the residuals r = slope x + shift - y of a piece -----------------------------------


@inlined
def residual_losses(x, y, start, end, slope, shift, loss):
    """Sums over the samples [start, end): of the losses, of their derivatives s, and of s x."""
    result = 0.0
    total = 0.0
    moment = 0.0
    if loss == MSE:
        result, total, moment = line_residuals(x, y, start, end, slope, shift)
        total *= 2.0
        moment *= 2.0
    else:
        for n in range(start, end):
            value, s = loss_and_slope(slope * x[n] + shift - y[n], loss)
            result += value
            total += s
            moment += s * x[n]
    return result, total, moment


@inlined
def residual_sums(sums, start, end, slope, shift, k):
    """Sums of s = 2 r and of s x over the samples [start, end), output k, by running sums."""
    middles = sums.shape[0] - 1
    x_middle = sums[middles, 0]
    count = float(end - start)
    sum_x = sums[end, 0] - sums[start, 0]
    sum_xx = sums[end, 1] - sums[start, 1]
    sum_y = sums[end, 2 + 2 * k] - sums[start, 2 + 2 * k]
    sum_xy = sums[end, 3 + 2 * k] - sums[start, 3 + 2 * k]
    level = shift + slope * x_middle - sums[middles, 2 + 2 * k]
    total = slope * sum_x + level * count - sum_y
    moment = slope * sum_xx + level * sum_x - sum_xy + x_middle * total
    return 2.0 * total, 2.0 * moment


# -- The network ----------------------------------------------------------------------------------


@inlined
def forward(theta, layers, layer, lines):
    """A layer's z as lines, from the lines of the activations below, on one piece."""
    n_in = layers[layer, 0]
    n_out = layers[layer, 1]
    weights = layers[layer, 2]
    biases = layers[layer, 3]
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
def backward(layers, theta, layer, lines, places, rises, start, gradient):
    """Add a piece's share to the gradient of a layer, and to the sums of the layer below.

    The piece begins at sample `start`; places and rises are of the units below, see `split`.
    """
    n_in = layers[layer, 0]
    n_out = layers[layer, 1]
    weights = layers[layer, 2]
    biases = layers[layer, 3]
    total = lines[SUM, layer + 1]
    moment = lines[SUM_X, layer + 1]
    if biases >= 0:
        for k in range(n_out):
            gradient[biases + k] += total[k]
    for i in range(n_in):
        if layer > 0 and (start >= places[i]) != rises[i]:
            continue  # a unit that is off hands nothing down, and gets nothing
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
    """As in `kernels`, by pieces; with `sums` the gradient alone, of the squared error.

    The layers' pieces are gone through depth first.
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
    level = 0  # whose pieces are gone through: 0 is the input, of one piece
    while True:
        turn = turns[1, level]
        if turn == turns[0, level]:  # all done: so is the piece below that they are cut from
            if level == 0:
                break
            level -= 1
            if gradient.size > 0:
                start = cuts[0, level, turns[1, level] - 1]
                backward(
                    layers, theta, level, lines, cuts[1, level], cuts[2, level], start, gradient
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
                lines[SLOPE, level][:units],
                lines[SHIFT, level][:units],
                x,
                start,
                end,
                ranks,
                cuts[0, level],
                cuts[1, level],
                cuts[2, level],
            )
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


@kernel
def loss_and_gradient(theta, layers, loss, X, Y, ranks, lines, cuts, turns, gradient):
    """L(X, θ), with dL/dθ left in `gradient` (P,)."""
    sums = lines[0][:0]
    return mean_loss(theta, layers, loss, X, Y, ranks, sums, lines, cuts, turns, gradient)


# -- Descent: steps 1 and 3 of the algorithm ------------------------------------------------------


@kernel
def rmsprop(
    theta,
    mean_square,
    layers,
    loss,
    X,
    Y,
    ranks,
    sums,
    X_test,
    Y_test,
    ranks_test,
    target,
    learning_rate,
    shrink,
    decay,
    epsilon,
    check_every,
    first_step,
    last_step,
    lines,
    cuts,
    turns,
    gradient,
):
    """As in `kernels`; `sums` are the training set's, or empty: then steps go through samples."""
    step = first_step  # a multiple of check_every
    looked = False
    while True:
        look = not looked and (step % check_every == 0 or step == last_step)
        reached = mean_loss(
            theta,
            layers,
            loss,
            X_test if look else X,
            Y_test if look else Y,
            ranks_test if look else ranks,
            sums[:0] if look else sums,
            lines,
            cuts,
            turns,
            gradient[:0] if look else gradient,
        )
        looked = look
        if look:
            if not (target < reached < math.inf) or step == last_step:
                return step, reached
            continue
        rate = learning_rate * shrink**step
        rmsprop_step(theta, mean_square, gradient, 1.0, rate, decay, epsilon)
        step += 1


# -- The loss of many networks --------------------------------------------------------------------


@kernel
def mean_losses(thetas, layers, loss, X, Y, ranks, lines, cuts, turns, losses):
    """losses[q] = L(X, thetas[q]) for thetas (T, P): γ on the points of a line, equation (2)."""
    sums = lines[0][:0]
    for q in range(thetas.shape[0]):
        none = thetas[q][:0]
        losses[q] = mean_loss(thetas[q], layers, loss, X, Y, ranks, sums, lines, cuts, turns, none)
