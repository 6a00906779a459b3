"""Numba kernels of a wide classifier: sparse inputs, softmax cross-entropy, minibatches.

Handwritten digits are four fifths paper, so inputs are kept sparse: of sample n the pixels
``indices[starts[n] : starts[n + 1]]`` have the ``values`` there, and a first layer is a sum of the
weights' rows of those pixels only, forward and backward. Descents on inputs that are mostly not
zero multiply them whole.

*The first layer is linear in t.* Its pre-activations at Θ(t) are Z(t) = (1 - t) Z(θ₁) + t Z(θ₂),
whatever the depth. They are computed once for each model, in float64, and γ at any t costs the
later, much smaller layers only.

Training works in float32 on one flat vector in which the first layer's weights stand in blocks of
TILE units, (blocks, n_in, TILE), filled up with zeros, and every other layer lies transposed
(``w[offset + k n_in + i]``), so that all sums are over contiguous rows. Losses that decide anything
are float64.

For γ and its bounds samples are **sorted by label and laid out in tiles** of TILE, units-major: a
tile of all h units is one flat vector, unit j in ``[j TILE, (j + 1) TILE)``. Tiles hold one label
each and are filled up with copies; ``counts`` says how many of a tile's samples count.

``layers`` is the table of `kernels`.
"""

import math

import numpy as np

from nconvex.kernels.jit import careful_kernel, careful_part, kernel, part
from nconvex.kernels.parts import (
    RELU,
    TILE,
    activate,
    activate_backward,
    add_scaled,
    exponential,
    raise_margin,
    rmsprop_step,
    tile_cross_entropy,
)
from nconvex.kernels.vectors import add_rows

#: Units of which a batch's first-layer slopes are kept together, for the first-level cache.
PANEL = 64


# -- Sums over a layer's units, for a tile, in float64 and float32 --------------------------------


@careful_part
def add_twenty(y, x, w, at, i, k):
    """Five outputs' rows y += w times four inputs' rows x; of w, inputs are i apart, outputs k."""
    w00, w01, w02, w03, w04 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    at += i
    w10, w11, w12, w13, w14 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    at += i
    w20, w21, w22, w23, w24 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    at += i
    w30, w31, w32, w33, w34 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    for n in range(TILE):
        x0 = x[n]
        x1 = x[TILE + n]
        x2 = x[2 * TILE + n]
        x3 = x[3 * TILE + n]
        y[n] = y[n] + w00 * x0 + w10 * x1 + w20 * x2 + w30 * x3
        y[TILE + n] = y[TILE + n] + w01 * x0 + w11 * x1 + w21 * x2 + w31 * x3
        y[2 * TILE + n] = y[2 * TILE + n] + w02 * x0 + w12 * x1 + w22 * x2 + w32 * x3
        y[3 * TILE + n] = y[3 * TILE + n] + w03 * x0 + w13 * x1 + w23 * x2 + w33 * x3
        y[4 * TILE + n] = y[4 * TILE + n] + w04 * x0 + w14 * x1 + w24 * x2 + w34 * x3


@careful_part
def add_four(y, x, w, at, stride):
    """One output's row y += w times four inputs' rows x."""
    w0, w1, w2, w3 = w[at], w[at + stride], w[at + 2 * stride], w[at + 3 * stride]
    for n in range(TILE):
        y[n] = y[n] + w0 * x[n] + w1 * x[TILE + n] + w2 * x[2 * TILE + n] + w3 * x[3 * TILE + n]


@careful_part
def add_block(y, x4, w, at, step_in, step_out, n_out):
    """Rows y (n_out) += w times four inputs' rows."""
    for k in range(0, n_out - n_out % 5, 5):
        rows = y[k * TILE : (k + 5) * TILE]
        add_twenty(rows, x4, w, at + k * step_out, step_in, step_out)
    for k in range(n_out - n_out % 5, n_out):
        add_four(y[k * TILE : (k + 1) * TILE], x4, w, at + k * step_out, step_in)


@careful_part
def add_row(y, x, w, at, step_out, n_out):
    """Rows y (n_out) += w times one input's row."""
    for k in range(n_out):
        row = y[k * TILE : (k + 1) * TILE]
        v = w[at + k * step_out]
        for n in range(TILE):
            row[n] += v * x[n]


@careful_part
def add_first_products(y, z1, z2, s, activation, x4, w, n_in, n_out):
    """Rows y += wᵀ a((1 - s) z1 + s z2), four units at a time, which stay in the cache."""
    floor = 0.0 if activation == RELU else -math.inf  # ReLU at once, which saves a pass
    for i in range(0, n_in, 4):
        units = min(4, n_in - i)
        a = z1[i * TILE : (i + units) * TILE]
        b = z2[i * TILE : (i + units) * TILE]
        for n in range(units * TILE):
            z = (1.0 - s) * a[n] + s * b[n]
            x4[n] = 0.0 if z < floor else z
        if activation != RELU:
            activate(x4[: units * TILE], activation)
        if units == 4:
            add_block(y, x4, w, i * n_out, n_out, 1, n_out)
        else:
            for j in range(units):
                row = x4[j * TILE : (j + 1) * TILE]
                add_row(y, row, w, (i + j) * n_out, 1, n_out)


@careful_part
def add_products(y, x, w, step_in, step_out, n_in, n_out):
    """Rows y (n_out) += wᵀ times rows x (n_in): y_k += sum_i w[i step_in + k step_out] x_i."""
    for i in range(0, n_in - n_in % 4, 4):
        x4 = x[i * TILE : (i + 4) * TILE]
        add_block(y, x4, w, i * step_in, step_in, step_out, n_out)
    for i in range(n_in - n_in % 4, n_in):
        add_row(y, x[i * TILE : (i + 1) * TILE], w, i * step_in, step_out, n_out)


@careful_part
def add_all_products(y, x, w, step_in, step_out, n_in, n_out):
    """As `add_products`, five outputs at a time: for rows that do not fit the cache together."""
    for k in range(0, n_out, 5):
        outputs = min(5, n_out - k)
        rows = y[k * TILE : (k + outputs) * TILE]
        for i in range(0, n_in - n_in % 4, 4):
            at = k * step_out + i * step_in
            x4 = x[i * TILE : (i + 4) * TILE]
            if outputs == 5:
                add_twenty(rows, x4, w, at, step_in, step_out)
            else:
                for j in range(outputs):
                    add_four(rows[j * TILE : (j + 1) * TILE], x4, w, at + j * step_out, step_in)
        for i in range(n_in - n_in % 4, n_in):
            at = k * step_out + i * step_in
            add_row(rows, x[i * TILE : (i + 1) * TILE], w, at, step_out, outputs)


@careful_part
def fill(y, b, n_out):
    """Row k of y = b[k]."""
    for k in range(n_out):
        for n in range(TILE):
            y[k * TILE + n] = b[k]


# -- Descent: steps 1 and 3, in float32 -----------------------------------------------------------


@part
def whole_tiles(units):
    """Units, rounded up to a multiple of TILE."""
    return (units + TILE - 1) // TILE * TILE


@part
def transpose(source, target, rows, columns, stride):
    """target[c stride + r] = source[r TILE + c], sixteen rows at a time: they stay cached."""
    for first in range(0, rows, 16):
        last = min(first + 16, rows)
        for c in range(columns):
            for r in range(first, last):
                target[np.uintp(c * stride + r)] = source[np.uintp(r * TILE + c)]


@part
def sparse_first(w, first, layers, starts, indices, values, samples, rows):
    """The first layer's activations of at most TILE samples, each the sum of its pixels' rows."""
    h = layers[0, 1]
    biases = layers[0, 3]
    for n in range(samples.size):
        sample = samples[n]
        for block in range(first.shape[0]):
            row = (block * TILE + n) * TILE
            z = rows[row : row + min(TILE, h - block * TILE)]
            for k in range(z.size):
                z[k] = w[biases + block * TILE + k]
            add_rows(z, first[block], indices, values, starts[sample], starts[sample + 1])
            activate(z, layers[0, 4])


@part
def dense_first(w, first, layers, X, samples, inputs, rows):
    """The same for inputs that are mostly not zero, which are copied to ``inputs`` (TILE n_in,)."""
    n_in, h = layers[0, 0], layers[0, 1]
    biases = layers[0, 3]
    for n in range(samples.size):
        x = X[samples[n]]
        for i in range(n_in):
            inputs[n * n_in + i] = x[i]
    for block in range(first.shape[0]):
        tile = rows[block * TILE * TILE : (block + 1) * TILE * TILE]
        for n in range(samples.size):
            for k in range(TILE):
                tile[n * TILE + k] = np.float32(0.0)
            for k in range(min(TILE, h - block * TILE)):
                tile[n * TILE + k] = w[biases + block * TILE + k]
        add_all_products(tile, first[block].reshape(-1), inputs, 1, n_in, n_in, samples.size)
        activate(tile[: samples.size * TILE], layers[0, 4])


@part
def later_layers(w, layers, width, rows, planes):
    """Run `width` samples through the later layers; returns where in `planes` logits begin.

    ``planes`` holds every layer's activations, units-major, each in whole tiles; ``rows`` those of
    the first layer the other way round, TILE units a tile.
    """
    h = layers[0, 1]
    for block in range(0, h, TILE):
        units = min(TILE, h - block)
        transpose(rows[block * TILE :], planes[block * TILE :], width, units, TILE)
    begin = 0
    for layer in range(1, layers.shape[0]):
        n_in, n_out = layers[layer, 0], layers[layer, 1]
        x = planes[begin : begin + n_in * TILE]
        begin += whole_tiles(n_in) * TILE
        y = planes[begin : begin + n_out * TILE]
        fill(y, w[layers[layer, 3] : layers[layer, 3] + n_out], n_out)
        weights = w[layers[layer, 2] : layers[layer, 2] + n_in * n_out]
        add_products(y, x, weights, 1, n_in, n_in, n_out)
        activate(y, layers[layer, 4])
    return begin


@part
def cross_entropies(logits, classes, labels, samples, lines, slope):
    """Sum of -log softmax(logits)[label]; slope becomes softmax - one-hot, the derivatives."""
    highest = lines[0]
    total = lines[1]
    for n in range(TILE):
        highest[n] = logits[n]
        total[n] = 0.0
    for c in range(1, classes):
        row = logits[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            highest[n] = highest[n] if row[n] <= highest[n] else row[n]  # NaN comes through
    for c in range(classes):
        row = logits[c * TILE : (c + 1) * TILE]
        e = slope[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            value = exponential(np.float64(row[n]) - highest[n])
            total[n] += value
            e[n] = value
    for n in range(TILE):
        lines[2, n] = 1.0 / total[n]
    for c in range(classes):
        e = slope[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            e[n] *= np.float32(lines[2, n])
    result = 0.0
    product = 1.0
    for n in range(samples.size):
        chosen = labels[samples[n]] * TILE + n
        slope[chosen] -= np.float32(1.0)
        result += highest[n] - np.float64(logits[chosen])
        product *= total[n]  # from 1 to the number of classes
        if n % 8 == 7:
            result += math.log(product)
            product = 1.0
    return result + math.log(product)


@part
def errors(logits, classes, labels, samples):
    """How many samples' labels have not the one highest logit."""
    count = 0.0
    for n in range(samples.size):
        label = labels[samples[n]]
        wrong = 0.0
        for c in range(classes):
            if c != label and not logits[c * TILE + n] < logits[label * TILE + n]:
                wrong = 1.0
        count += wrong
    return count


@part
def sum_rows(sums, x, width):
    """sums[k] += the sum of the first `width` of row k of x."""
    for k in range(sums.size):
        total = np.float32(0.0)
        for n in range(width):
            total += x[k * TILE + n]
        sums[k] += total


@part
def backward(w, layers, rows, planes, logits, width, deltas, product, gradient, slopes, at):
    """Add a tile's share to the later layers' gradients; its first layer's dL/dz go to slopes.

    deltas[0] holds dL/dlogits on entry. With d = dL/dz: dL/dW_ik = sum_n d_kn a_in,
    dL/db_k = sum_n d_kn, dL/da_in = sum_k W_ik d_kn.

    ``slopes`` (panels, batch, units of a panel), of which the tile's samples begin at ``at``.
    """
    above = 0
    begin = logits
    for layer in range(layers.shape[0] - 1, 0, -1):
        n_in, n_out = layers[layer, 0], layers[layer, 1]
        begin -= whole_tiles(n_in) * TILE
        d = deltas[above]
        weights = layers[layer, 2]
        sum_rows(gradient[layers[layer, 3] : layers[layer, 3] + n_out], d, width)
        for block in range(0, n_in, TILE):
            units = min(TILE, n_in - block)
            turned = rows[block * TILE : (block + TILE) * TILE]
            if layer > 1:
                turned = deltas[2][: TILE * TILE]
                transpose(planes[begin + block * TILE :], turned, units, width, TILE)
            for n in range(n_out * TILE):
                product[n] = np.float32(0.0)
            add_products(product, turned, d, 1, TILE, width, n_out)
            for k in range(n_out):
                row = weights + k * n_in + block
                add_scaled(
                    gradient[row : row + units],
                    np.float32(1.0),
                    product[k * TILE : k * TILE + units],
                )
        a = planes[begin : begin + n_in * TILE]
        below = deltas[1 - above][: n_in * TILE]
        for n in range(below.size):
            below[n] = np.float32(0.0)
        add_products(below, d, w[weights : weights + n_in * n_out], n_in, 1, n_out, n_in)
        activate_backward(below, a, layers[layer - 1, 4])
        above = 1 - above
    h = layers[0, 1]
    d = deltas[above]
    sum_rows(gradient[layers[0, 3] : layers[0, 3] + h], d, width)
    panels, _, size = slopes.shape
    for panel in range(panels):
        units = min(size, h - panel * size)
        target = slopes[panel].reshape(-1)[at * size :]
        transpose(d[panel * size * TILE :], target, units, width, size)


@part
def sort_by_pixel(starts, indices, values, batch, ends, members, inks):
    """List a batch's pixels by their place in the image, for the first layer's gradient.

    Those at place i become [ends[i - 1], ends[i]) of ``members`` (which sample of the batch) and
    ``inks`` (its value there). Indices are made unsigned: numba looks whether others are negative,
    which takes longer than what is done here.
    """
    for i in range(ends.size):
        ends[i] = 0
    for sample in batch:
        for p in range(np.uintp(starts[sample]), np.uintp(starts[sample + 1])):
            ends[indices[p]] += 1
    before = 0
    for i in range(ends.size):
        count = ends[i]
        ends[i] = before
        before += count
    for m in range(batch.size):
        for p in range(np.uintp(starts[batch[m]]), np.uintp(starts[batch[m] + 1])):
            place = ends[indices[p]]
            members[np.uintp(place)] = m
            inks[np.uintp(place)] = values[p]
            ends[indices[p]] = place + 1


@part
def panel_of(x, panel):
    """A panel's columns of x (blocks, n_in, TILE): its block, and where they begin."""
    return x[panel * PANEL // TILE], panel * PANEL % TILE


@part
def clear(x):
    """x = 0."""
    for p in range(x.size):
        x[p] = np.float32(0.0)


@part
def sparse_pass(
    w, first, layers, starts, indices, values, labels, samples, learns, counts, enough,
    rows, planes, deltas, product, lines, gradient, slopes,
):  # fmt: skip
    """Sum samples' cross-entropies, or with `counts` their errors.

    With `learns` the later layers' gradients are summed as well, and first-layer slopes are kept:
    with them, the first layer's gradients are the sums of ``inks[p] slopes[:, members[p]]`` over
    each pixel's p; see `sort_by_pixel`. Without, it stops where the sum is above `enough`.

    One part serves both, for what is compiled twice takes seconds more to compile.
    """
    classes = layers[-1, 1]
    if learns:
        clear(gradient[layers[0, 3] :])
    total = 0.0
    for at in range(0, samples.size, TILE):
        members = samples[at : at + TILE]
        sparse_first(w, first, layers, starts, indices, values, members, rows)
        begin = later_layers(w, layers, members.size, rows, planes)
        logits = planes[begin : begin + classes * TILE]
        if counts:
            total += errors(logits, classes, labels, members)
        else:
            total += cross_entropies(logits, classes, labels, members, lines, deltas[0])
        if learns:
            backward(
                w, layers, rows, planes, begin, members.size, deltas, product, gradient, slopes, at
            )
        elif enough < total < math.inf:
            break
    return total


@part
def dense_pass(
    w, first, layers, X, labels, samples, learns, counts, enough,
    inputs, rows, planes, deltas, product, lines, gradient, first_gradient, slopes,
):  # fmt: skip
    """As `sparse_pass`, but with `learns` all gradients are summed."""
    n_in = layers[0, 0]
    classes = layers[-1, 1]
    if learns:
        clear(gradient)
    total = 0.0
    for at in range(0, samples.size, TILE):
        members = samples[at : at + TILE]
        dense_first(w, first, layers, X, members, inputs, rows)
        begin = later_layers(w, layers, members.size, rows, planes)
        logits = planes[begin : begin + classes * TILE]
        if counts:
            total += errors(logits, classes, labels, members)
        else:
            total += cross_entropies(logits, classes, labels, members, lines, deltas[0])
        if learns:
            backward(
                w, layers, rows, planes, begin, members.size, deltas, product, gradient, slopes, 0
            )
            for block in range(first.shape[0]):
                add_all_products(
                    first_gradient[block].reshape(-1), slopes[block].reshape(-1), inputs, n_in, 1,
                    members.size, n_in,
                )  # fmt: skip
        elif enough < total < math.inf:
            break
    return total


@kernel
def sparse_gradient(
    w, first, layers, starts, indices, values, labels, batch, rows, planes, deltas, product, lines,
    gradient, slopes, ends, members, inks, first_gradient,
):  # fmt: skip
    """The mean loss of a batch of samples, with its gradient in `gradient`.

    ``first``, ``first_gradient`` (blocks, n_in, TILE): views of the first layer's weights in ``w``
    and of their derivatives in ``gradient``. The other workspaces are those of `sparse_descend`.
    """
    total = sparse_pass(
        w, first, layers, starts, indices, values, labels, batch, True, False, math.inf,
        rows, planes, deltas, product, lines, gradient, slopes,
    )  # fmt: skip
    sort_by_pixel(starts, indices, values, batch, ends, members, inks)
    for panel in range(slopes.shape[0]):
        block, column = panel_of(first_gradient, panel)
        begin = 0
        for i in range(ends.size):
            row = block[i][column : column + PANEL]
            clear(row)
            add_rows(row, slopes[panel], members, inks, begin, ends[i])
            begin = ends[i]
    for p in range(gradient.size):
        gradient[p] /= np.float32(batch.size)
    return total / batch.size


@kernel
def dense_gradient(
    w, first, layers, X, labels, batch, inputs, rows, planes, deltas, product, lines, gradient,
    slopes, first_gradient,
):  # fmt: skip
    """As `sparse_gradient`, for inputs X (N, n_in) that are mostly not zero."""
    total = dense_pass(
        w, first, layers, X, labels, batch, True, False, math.inf,
        inputs, rows, planes, deltas, product, lines, gradient, first_gradient, slopes,
    )  # fmt: skip
    for p in range(gradient.size):
        gradient[p] /= np.float32(batch.size)
    return total / batch.size


@kernel
def sparse_descend(
    w, first, mean_square, first_mean_square, layers, count_errors, target,
    starts, indices, values, labels,
    test_starts, test_indices, test_values, test_labels,
    order, tests, learning_rate, shrink, decay, epsilon, check_every, step, last_step,
    rows, planes, deltas, product, lines, gradient, slopes, ends, members, inks, row,
):  # fmt: skip
    """RMSProp on minibatches; returns the steps done and the test metric.

    The metric is infinite if the batches ran out before the target was reached, or at `last_step`,
    which is for float64 to judge.

    v = decay v + (1 - decay) g²,  w = w - learning_rate shrinkⁿ g / (sqrt(v) + epsilon)

    `w` and `mean_square` (v) are changed in place. Batches are taken from `order` (batches,
    batch), one after the other. The metric, mean cross-entropy or the share of wrong labels on
    the test set, is looked at every `check_every` steps, at as many samples as it takes to see that
    it is above the target. A pixel's weights are updated as soon as their gradient is known, which
    is never stored: ``row`` (PANEL,) holds it.

    Workspaces: ``rows`` (h TILE,), ``planes`` (all layers TILE,) and ``deltas`` (3, widest layer
    TILE), with units in whole tiles; ``product`` (widest TILE,); ``lines`` (3, TILE) in float64;
    ``slopes`` (panels, batch, PANEL), ``ends`` (n_in,), ``members`` and ``inks`` (pixels of the
    batch,). ``tests`` is 0, 1, ... for each test sample.
    """
    later = layers[0, 3]
    keep = np.float32(decay)
    small = np.float32(epsilon)
    scale = np.float32(1.0 / order.shape[1])
    enough = target * tests.size * (1.0 + 1e-6)  # no sample takes from a sum that is above this
    taken = 0
    looked = False
    while True:
        if taken == order.shape[0] or step == last_step:
            return step, math.inf
        look = not looked and step % check_every == 0
        samples = tests if look else order[taken]
        total = sparse_pass(
            w,
            first,
            layers,
            test_starts if look else starts,
            test_indices if look else indices,
            test_values if look else values,
            test_labels if look else labels,
            samples,
            not look,
            look and count_errors,
            enough,
            rows,
            planes,
            deltas,
            product,
            lines,
            gradient,
            slopes,
        )
        looked = look
        if look:
            reached = total / tests.size
            if not (target < reached < math.inf):
                return step, reached
            continue
        sort_by_pixel(starts, indices, values, samples, ends, members, inks)
        taken += 1
        rate = np.float32(learning_rate * shrink**step)
        for panel in range(slopes.shape[0]):  # one panel's slopes stay in the cache
            weights, column = panel_of(first, panel)
            mean_squares, _ = panel_of(first_mean_square, panel)
            columns = slice(column, column + min(PANEL, layers[0, 1] - panel * PANEL))
            begin = 0
            for i in range(ends.size):
                v = mean_squares[i][columns]
                if begin == ends[i]:  # no ink here in the whole batch: no gradient
                    for k in range(v.size):
                        v[k] *= keep
                    continue
                g = row[: v.size]
                clear(g)
                add_rows(g, slopes[panel], members, inks, begin, ends[i])
                begin = ends[i]
                rmsprop_step(weights[i][columns], v, g, scale, rate, keep, small)
        rmsprop_step(w[later:], mean_square[later:], gradient[later:], scale, rate, keep, small)
        step += 1


@kernel
def dense_descend(
    w, first, mean_square, layers, count_errors, target, X, labels, X_test, test_labels,
    order, tests, learning_rate, shrink, decay, epsilon, check_every, step, last_step,
    inputs, rows, planes, deltas, product, lines, gradient, slopes, first_gradient,
):  # fmt: skip
    """As `sparse_descend`, for inputs that are mostly not zero.

    ``inputs`` (TILE n_in,), ``slopes`` (blocks, TILE, TILE) and ``first_gradient``, a view of
    ``gradient``, are workspaces; the others are those of `sparse_descend`.
    """
    scale = np.float32(1.0 / order.shape[1])
    enough = target * tests.size * (1.0 + 1e-6)
    taken = 0
    looked = False
    while True:
        if taken == order.shape[0] or step == last_step:
            return step, math.inf
        look = not looked and step % check_every == 0
        total = dense_pass(
            w,
            first,
            layers,
            X_test if look else X,
            test_labels if look else labels,
            tests if look else order[taken],
            not look,
            look and count_errors,
            enough,
            inputs,
            rows,
            planes,
            deltas,
            product,
            lines,
            gradient,
            first_gradient,
            slopes,
        )
        looked = look
        if look:
            reached = total / tests.size
            if not (target < reached < math.inf):
                return step, reached
            continue
        taken += 1
        rate = np.float32(learning_rate * shrink**step)
        rmsprop_step(w, mean_square, gradient, scale, rate, np.float32(decay), np.float32(epsilon))
        step += 1


# -- The first layer, once for each model ---------------------------------------------------------


@kernel
def first_layer(weights, biases, starts, indices, values, members, rows, tiles):
    """Pre-activations of the first layer, in tiles, summed over the pixels in any order.

    ``weights`` (n_in, h), ``biases`` (h,), ``members`` (T, TILE) samples of each tile, ``rows``
    (16, h) workspace, ``tiles`` (T, h TILE).
    """
    for tile in range(members.shape[0]):
        out = tiles[tile]
        for n in range(0, TILE, rows.shape[0]):
            count = min(rows.shape[0], TILE - n)
            for m in range(count):
                sample = members[tile, n + m]
                row = rows[m]
                for k in range(row.size):
                    row[k] = biases[k]
                add_rows(row, weights, indices, values, starts[sample], starts[sample + 1])
            for k in range(biases.size):  # a few at a time: they stay in the cache
                for m in range(count):
                    out[k * TILE + n + m] = rows[m, k]


@careful_part
def subtract_label(v, classes, label):
    """v_c = v_c - v_label: only differences of logits matter."""
    chosen = v[label * TILE : (label + 1) * TILE]
    for c in range(classes):
        if c != label:
            row = v[c * TILE : (c + 1) * TILE]
            for n in range(TILE):
                row[n] -= chosen[n]
    for n in range(TILE):
        chosen[n] = 0.0


# -- γ at many t ----------------------------------------------------------------------------------


@careful_kernel
def gammas(
    t, theta1, theta2, tiles1, tiles2, layers, labels, counts, samples,
    theta, planes, lines, losses, wrong,
):  # fmt: skip
    """losses[q] = mean cross-entropy at Θ(t_q), wrong[q] = the share of errors, ties among them.

    ``tiles1, tiles2`` (T, h TILE) first layers; ``labels, counts`` (T,); ``theta`` (P,), ``planes``
    (2, widest TILE) and ``lines`` (3, TILE) are workspaces.
    """
    classes = layers[-1, 1]
    later = layers[0, 3] + layers[0, 1]
    later1, later2, mixed = theta1[later:], theta2[later:], theta[later:]
    for q in range(t.size):
        losses[q] = 0.0
        wrong[q] = 0.0
    for tile in range(labels.size):
        z1 = tiles1[tile]
        z2 = tiles2[tile]
        for q in range(t.size):
            s = t[q]
            for p in range(mixed.size):
                mixed[p] = (1.0 - s) * later1[p] + s * later2[p]
            for layer in range(1, layers.shape[0]):
                n_in, n_out = layers[layer, 0], layers[layer, 1]
                x = planes[(layer + 1) % 2]
                y = planes[layer % 2]
                fill(y, theta[layers[layer, 3] : layers[layer, 3] + n_out], n_out)
                w = theta[layers[layer, 2] : layers[layer, 2] + n_in * n_out]
                if layer == 1:
                    add_first_products(y, z1, z2, s, layers[0, 4], x, w, n_in, n_out)
                else:
                    add_products(y, x, w, n_out, 1, n_in, n_out)
                activate(y[: n_out * TILE], layers[layer, 4])
            v = planes[(layers.shape[0] - 1) % 2]
            subtract_label(v, classes, labels[tile])
            for n in range(TILE):
                lines[2, n] = -math.inf
            raise_margin(v, classes, labels[tile], lines[2])
            for n in range(counts[tile]):
                wrong[q] += 0.0 if lines[2, n] < 0.0 else 1.0
            losses[q] += tile_cross_entropy(v, classes, counts[tile], lines[0], lines[1])
    for q in range(t.size):
        losses[q] /= samples
        wrong[q] /= samples
