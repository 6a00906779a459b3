"""γ of a classifier at many t, from first layers that are computed once for each model.

The first layer is linear in t: at Θ(t) its pre-activations are Z(t) = (1 - t) Z(θ₁) + t Z(θ₂),
whatever the depth. So γ at any t costs only the later layers, which are much smaller. Everything
here is in float64.

Samples are sorted by label and laid out in tiles of TILE, units-major: unit j of sample n stands at
j TILE + n. All samples of a tile have one label. A tile is filled up with copies, and ``counts``
says how many of its samples are no copies.
"""

import math

from nconvex.kernels.jit import inlined_strict, kernel, kernel_strict
from nconvex.kernels.parts import RELU, TILE, activate, raise_margin, tile_cross_entropy
from nconvex.kernels.products import add_products, fill
from nconvex.kernels.vectors import add_rows


@kernel
def first_layer(weights, biases, starts, indices, values, members, rows, tiles):
    """Z(θ) in tiles; sums over the pixels may have any order.

    ``weights`` (n_in, h), ``biases`` (h,), sparse inputs as in `classifier`, ``members`` (T, TILE)
    samples of each tile, ``rows`` (16, h) workspace, ``tiles`` (T, h TILE) the result.
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
            for k in range(biases.size):  # a few samples at a time stay in the cache
                for m in range(count):
                    out[k * TILE + n + m] = rows[m, k]


@inlined_strict
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


@kernel_strict
def gammas(
    t, theta1, theta2, tiles1, tiles2, layers, labels, counts, samples,
    theta, planes, lines, losses, wrong,
):  # fmt: skip
    """losses[q] = mean cross-entropy at Θ(t_q); wrong[q] = the share of errors, ties among them.

    ``tiles1``, ``tiles2`` (T, h TILE) first layers; ``labels``, ``counts`` (T,); ``theta`` (P,),
    ``planes`` (2, widest TILE) and ``lines`` (3, TILE) are workspaces.
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
                floor = 0.0 if layers[0, 4] == RELU else -math.inf
                some = 8 if layer == 1 else n_in  # a few units at a time stay in the cache
                for i in range(0, n_in, some):
                    units = min(some, n_in - i)
                    if layer == 1:
                        first1 = z1[i * TILE : (i + units) * TILE]
                        first2 = z2[i * TILE : (i + units) * TILE]
                        for n in range(units * TILE):
                            z = (1.0 - s) * first1[n] + s * first2[n]
                            x[n] = 0.0 if z < floor else z
                        if layers[0, 4] != RELU:
                            activate(x[: units * TILE], layers[0, 4])
                    add_products(y, x, w[i * n_out :], n_out, 1, units, n_out)
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
