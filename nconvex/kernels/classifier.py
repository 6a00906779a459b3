"""Descents and gradients of a classifier: softmax cross-entropy on minibatches, in float32.

*Sparse inputs.* Four fifths of a picture of a digit are zero. Sample n has the ``values`` of the
pixels ``indices[starts[n] : starts[n + 1]]``, and a first layer is a sum over these pixels only,
forward and backward. *Dense inputs*, which are mostly not zero, are ``values`` (N, n_in); their
``starts`` and ``indices`` are None.

*Weights.* A descent works on one vector ``w``. The first layer's weights come first, in blocks of
TILE units, (blocks, n_in, TILE), filled up with zeros. Later layers are transposed:
``w[offset + k n_in + i]``. So all sums go over contiguous numbers. ``layers`` is the table of
`samples`, with the offsets in ``w``.

*Arguments* that several functions share, as tuples:

``train``, ``test``  starts, indices, values and labels of samples
``workspace``        ``inputs`` (n_in TILE,) or None for sparse inputs; ``rows`` (h TILE,);
                     ``planes`` (all layers TILE,); ``deltas`` (3, widest TILE); ``product``
                     (widest TILE,), with units in whole tiles; ``lines`` (3, TILE) in float64
``pixels``           for sparse inputs, else None: ``ends`` (n_in,), ``members`` and ``inks``
                     (pixels of a batch,), see `sort_by_pixel`
``slopes``           the first layer's dL/dz: (panels, batch, PANEL) of a sparse batch, or
                     (blocks, TILE, TILE) of a dense tile
"""

import math

import numpy as np

from nconvex.kernels.jit import inlined, kernel
from nconvex.kernels.parts import (
    TILE,
    activate,
    activate_backward,
    add_penalty,
    add_scaled,
    exponential,
    largest_logits,
    rmsprop_step,
    sum_of_logs,
)
from nconvex.kernels.products import add_large_products, add_products, fill, transpose, whole_tiles
from nconvex.kernels.vectors import add_rows

#: Units of which a batch's first-layer slopes are kept together, for the first-level cache.
PANEL = 64


@inlined
def first_shape(layers):
    """(blocks, n_in, TILE), the shape of the first layer's weights in a descent's vector."""
    return layers[0, 3] // (layers[0, 0] * TILE), layers[0, 0], TILE


@inlined
def panel_of(x, panel):
    """A panel's columns of x (blocks, n_in, TILE): its block, and the first column in it."""
    return x[panel * PANEL // TILE], panel * PANEL % TILE


@inlined
def clear(x):
    """x = 0."""
    for p in range(x.size):
        x[p] = np.float32(0.0)


# -- Forward --------------------------------------------------------------------------------------


@inlined
def sparse_first(w, first, layers, starts, indices, values, samples, rows):
    """The first layer's activations of at most TILE samples, from their pixels."""
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


@inlined
def dense_first(w, first, layers, X, samples, inputs, rows):
    """The first layer's activations of at most TILE samples, which are copied to `inputs`."""
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
        add_large_products(tile, first[block].reshape(-1), inputs, 1, n_in, n_in, samples.size)
        activate(tile[: samples.size * TILE], layers[0, 4])


@inlined
def later_layers(w, layers, width, rows, planes):
    """Run `width` samples through the later layers; returns where in `planes` logits begin.

    ``planes`` holds the activations of all layers, units-major and in whole tiles. ``rows`` holds
    those of the first layer samples-major, TILE units a tile.
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


@inlined
def cross_entropies(logits, classes, labels, samples, lines, slope):
    """Sum of -log softmax(logits)[label]; slope becomes its derivatives, softmax - one-hot."""
    highest, total, share = lines[0], lines[1], lines[2]
    largest_logits(logits, classes, highest)
    for n in range(TILE):
        total[n] = 0.0
    for c in range(classes):
        row = logits[c * TILE : (c + 1) * TILE]
        e = slope[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            value = exponential(np.float64(row[n]) - highest[n])
            total[n] += value
            e[n] = value
    for n in range(TILE):
        share[n] = 1.0 / total[n]
    for c in range(classes):
        e = slope[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            e[n] *= np.float32(share[n])
    for n in range(samples.size):
        chosen = labels[samples[n]] * TILE + n
        slope[chosen] -= np.float32(1.0)
        highest[n] -= np.float64(logits[chosen])
    return sum_of_logs(highest, total, samples.size)


@inlined
def errors(logits, classes, labels, samples):
    """How many samples' labels do not have the highest logit alone."""
    count = 0.0
    for n in range(samples.size):
        label = labels[samples[n]]
        wrong = 0.0
        for c in range(classes):
            if c != label and not logits[c * TILE + n] < logits[label * TILE + n]:
                wrong = 1.0
        count += wrong
    return count


# -- Backward -------------------------------------------------------------------------------------


@inlined
def sum_rows(sums, x, width):
    """sums[k] += the sum of the first `width` numbers of row k of x."""
    for k in range(sums.size):
        total = np.float32(0.0)
        for n in range(width):
            total += x[k * TILE + n]
        sums[k] += total


@inlined
def backward(w, layers, width, logits, rows, planes, deltas, product, gradient, slopes, at):
    """Add a tile's share to the later layers' gradients; its first layer's dL/dz go to `slopes`.

    With d = dL/dz: dL/dW_ik = Σ_n d_kn a_in, dL/db_k = Σ_n d_kn, dL/da_in = Σ_k W_ik d_kn. At the
    beginning deltas[0] holds dL/dlogits. In each panel of `slopes` the samples begin at `at`.
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


@inlined
def sort_by_pixel(starts, indices, values, batch, ends, members, inks):
    """List a batch's pixels by their index, for the first layer's gradient.

    Those of index i become [ends[i - 1], ends[i]) of ``members``, the samples' numbers in the
    batch, and of ``inks``, their values. Indices are unsigned: numba tests whether signed ones are
    negative, which takes longer than the work here.
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
            end = ends[indices[p]]
            members[np.uintp(end)] = m
            inks[np.uintp(end)] = values[p]
            ends[indices[p]] = end + 1


@inlined
def sum_losses(
    w, layers, starts, indices, values, labels, samples, learn, count_errors, enough,
    inputs, rows, planes, deltas, product, lines, gradient, slopes,
):  # fmt: skip
    """Sum samples' cross-entropies, or with `count_errors` their errors.

    With `learn` it also sums the gradients, but for the first layer's weights of sparse inputs:
    there it keeps `slopes`. Without, it stops where the sum exceeds `enough`.

    One function serves all purposes, because each copy takes seconds to compile.
    """
    n_in, classes = layers[0, 0], layers[-1, 1]
    later = layers[0, 3]
    first = w[:later].reshape(first_shape(layers))
    first_gradient = gradient[:later].reshape(first_shape(layers))
    if learn:
        clear(gradient[later:])
        if inputs is not None:
            clear(gradient[:later])
    total = 0.0
    for at in range(0, samples.size, TILE):
        members = samples[at : at + TILE]
        place = at
        if inputs is not None:
            dense_first(w, first, layers, values, members, inputs, rows)
            place = 0
        if starts is not None:
            sparse_first(w, first, layers, starts, indices, values, members, rows)
        begin = later_layers(w, layers, members.size, rows, planes)
        logits = planes[begin : begin + classes * TILE]
        if count_errors:
            total += errors(logits, classes, labels, members)
        else:
            total += cross_entropies(logits, classes, labels, members, lines, deltas[0])
        if learn:
            backward(
                w, layers, members.size, begin, rows, planes, deltas, product, gradient, slopes,
                place,
            )  # fmt: skip
            if inputs is not None:
                for block in range(first.shape[0]):
                    add_large_products(
                        first_gradient[block].reshape(-1), slopes[block].reshape(-1), inputs,
                        n_in, 1, members.size, n_in,
                    )  # fmt: skip
        elif enough < total < math.inf:
            break
    return total


# -- Kernels --------------------------------------------------------------------------------------


@inlined
def sparse_gradient(starts, indices, values, labels, layers, batch, pixels, gradient, slopes):
    """The first layer's gradient from the `slopes` of a batch of sparse inputs."""
    ends, members, inks = pixels
    sort_by_pixel(starts, indices, values, batch, ends, members, inks)
    first_gradient = gradient[: layers[0, 3]].reshape(first_shape(layers))
    for panel in range(slopes.shape[0]):
        block, column = panel_of(first_gradient, panel)
        begin = 0
        for i in range(ends.size):
            row = block[i][column : column + PANEL]
            clear(row)
            add_rows(row, slopes[panel], members, inks, begin, ends[i])
            begin = ends[i]


@kernel
def loss_and_gradient(w, layers, train, batch, workspace, pixels, gradient, slopes):
    """The mean loss of a batch of samples, with its gradient left in `gradient`."""
    total = sum_losses(
        w, layers, *train, batch, True, False, math.inf, *workspace, gradient, slopes
    )
    if pixels is not None:
        sparse_gradient(*train, layers, batch, pixels, gradient, slopes)
    for p in range(gradient.size):
        gradient[p] /= np.float32(batch.size)
    return total / batch.size


@inlined
def sparse_step(
    starts, indices, values, labels, w, mean_square, layers, batch, pixels, row, slopes, scale,
    rate, decay, epsilon,
):  # fmt: skip
    """RMSProp's step of the first layer's weights, from the `slopes` of a batch of sparse inputs.

    A pixel's weights change as soon as their gradient is known, which is kept in ``row`` (PANEL,).
    """
    ends, members, inks = pixels
    sort_by_pixel(starts, indices, values, batch, ends, members, inks)
    first = w[: layers[0, 3]].reshape(first_shape(layers))
    first_mean_square = mean_square[: layers[0, 3]].reshape(first_shape(layers))
    for panel in range(slopes.shape[0]):  # one panel's slopes stay in the cache
        weights, column = panel_of(first, panel)
        mean_squares, _ = panel_of(first_mean_square, panel)
        columns = slice(column, column + min(PANEL, layers[0, 1] - panel * PANEL))
        begin = 0
        for i in range(ends.size):
            v = mean_squares[i][columns]
            if begin == ends[i]:  # the pixel is zero in the whole batch: no gradient
                for k in range(v.size):
                    v[k] *= decay
                continue
            g = row[: v.size]
            clear(g)
            add_rows(g, slopes[panel], members, inks, begin, ends[i])
            begin = ends[i]
            rmsprop_step(weights[i][columns], v, g, scale, rate, decay, epsilon)


@kernel
def descend(
    w, mean_square, layers, count_errors, weight_decay, target, train, test, order, tests,
    learning_rate, shrink, decay, epsilon, check_every, step, last_step,
    workspace, pixels, gradient, slopes, row,
):  # fmt: skip
    """RMSProp on minibatches; returns the steps done and the test metric.

    v = decay v + (1 - decay) g²,  w = w - learning_rate shrinkⁿ g / (sqrt(v) + epsilon)

    `w` and `mean_square` (v) are changed in place. The batches are the rows of `order` (batches,
    batch). The metric is the mean cross-entropy or the share of wrong labels on the test set, of
    which ``tests`` lists the samples. It is computed every `check_every` steps, on as many samples
    as it takes to see that it is above the target. It is infinite if the descent ends because the
    batches ran out or `last_step` was reached. To cross-entropies ½ Σ weight_decay w² is added;
    no weight decay is None, for which nothing is compiled.
    """
    # With weight decay, a pixel that is zero in the whole batch has a gradient.
    later = 0 if pixels is None or weight_decay is not None else layers[0, 3]
    decay, epsilon = np.float32(decay), np.float32(epsilon)
    scale = np.float32(1.0 / order.shape[1])
    penalty = 0.0
    taken = 0
    evaluated = False
    while True:
        if taken == order.shape[0] or step == last_step:
            return step, math.inf
        evaluated = not evaluated and step % check_every == 0
        samples = tests if evaluated else order[taken]
        data = test if evaluated else train
        learn = not evaluated
        count = evaluated and count_errors
        if weight_decay is not None:  # noqa: SIM102 - by itself, it leaves no code for None
            if evaluated and not count_errors:
                penalty = add_penalty(weight_decay, w, 0.0, gradient[:0])
        enough = (target - penalty) * tests.size * (1.0 + 1e-6)  # more samples only add to this
        total = sum_losses(
            w, layers, *data, samples, learn, count, enough, *workspace, gradient, slopes
        )
        if evaluated:
            reached = total / tests.size + penalty
            if not (target < reached < math.inf):
                return step, reached
            continue
        taken += 1
        rate = np.float32(learning_rate * shrink**step)
        if pixels is not None:
            if weight_decay is not None:
                sparse_gradient(*train, layers, samples, pixels, gradient, slopes)
            if weight_decay is None:
                sparse_step(
                    *train, w, mean_square, layers, samples, pixels, row, slopes, scale, rate,
                    decay, epsilon,
                )  # fmt: skip
        if weight_decay is not None:
            add_penalty(weight_decay, w, np.float32(order.shape[1]), gradient)
        rmsprop_step(w[later:], mean_square[later:], gradient[later:], scale, rate, decay, epsilon)
        step += 1
