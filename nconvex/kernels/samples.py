"""Losses, gradients and descents of any network, sample by sample.

Kernels are functions of arrays that were checked before. Names and shapes:

``theta``        (P,)       all weights and biases of one network, laid out as in `mlp.MLP`
``layers``       (n, 5)     int64, a row a layer: inputs, outputs, offset of the weights in theta,
                            offset of the biases (-1: none), code of the activation
``X``, ``Y``     (d, N)     inputs and targets, **units-major**: a row holds one unit of all samples
``train``, ``test``         tuples: X and Y
``activations``  (units, TILE)  workspace: the inputs, then the units of each layer
``deltas``       (2, widest, TILE)  workspace: dL/dz of the layer above and of the layer below
``workspace``               tuple: activations and deltas

Samples are worked on in tiles, so that the workspace of a small network stays in the first-level
cache. Sums over samples go into float64 totals, tile by tile.

LLVM vectorises the loops over samples, because they go over one-dimensional contiguous rows. A loop
that does not vectorise takes five times as long.
"""

import numpy as np

from nconvex.kernels.jit import inlined
from nconvex.kernels.parts import (
    activate,
    activate_backward,
    add_scaled,
    dot,
    kernels_of,
    loss_and_slope,
    total,
)
from nconvex.kernels.vectors import aligned, once_a_thread

#: Samples in a tile. A shorter one costs more calls, a longer one does not fit the cache.
TILE = 512


@once_a_thread
def workspace(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Make `activations` and `deltas`, for a network's sizes."""
    return aligned(sum(sizes), TILE), aligned(2, max(sizes), TILE)


# -- Sums over units; y and d are rows of samples -------------------------------------------------


@inlined
def set_four(y, bias, theta, w, stride, x, first):
    """y = bias + Σ_i theta[w + i stride] x[first + i] over four inputs i: few stores."""
    w0, w1, w2, w3 = theta[w], theta[w + stride], theta[w + 2 * stride], theta[w + 3 * stride]
    x0, x1, x2, x3 = x[first], x[first + 1], x[first + 2], x[first + 3]
    for n in range(y.size):
        y[n] = bias + w0 * x0[n] + w1 * x1[n] + w2 * x2[n] + w3 * x3[n]


@inlined
def add_four(y, theta, w, stride, x, first):
    """y += Σ_i theta[w + i stride] x[first + i] over four inputs i."""
    w0, w1, w2, w3 = theta[w], theta[w + stride], theta[w + 2 * stride], theta[w + 3 * stride]
    x0, x1, x2, x3 = x[first], x[first + 1], x[first + 2], x[first + 3]
    for n in range(y.size):
        y[n] += w0 * x0[n] + w1 * x1[n] + w2 * x2[n] + w3 * x3[n]


@inlined
def combine(y, bias, theta, offset, stride, x, first, count):
    """y = bias + Σ_i theta[offset + i stride] x[first + i] over `count` inputs i."""
    if count >= 4:
        set_four(y, bias, theta, offset, stride, x, first)
        i = 4
    else:
        w, x0 = theta[offset], x[first]
        for n in range(y.size):
            y[n] = bias + w * x0[n]
        i = 1
    while i + 4 <= count:
        add_four(y, theta, offset + i * stride, stride, x, first + i)
        i += 4
    while i < count:
        add_scaled(y, theta[offset + i * stride], x[first + i])
        i += 1


@inlined
def dot_four(d, x, first):
    """Sums of d x[first + i] over the samples, for four inputs i; d is loaded once."""
    x0, x1, x2, x3 = x[first], x[first + 1], x[first + 2], x[first + 3]
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    for n in range(d.size):
        v = d[n]
        s0 += v * x0[n]
        s1 += v * x1[n]
        s2 += v * x2[n]
        s3 += v * x3[n]
    return s0, s1, s2, s3


@inlined
def residual_loss(output, target, slope, loss):
    """Sum of the losses of one output unit over a tile; slope becomes their derivatives."""
    result = 0.0
    for n in range(output.size):
        value, slope[n] = loss_and_slope(output[n] - target[n], loss)
        result += value
    return result


# -- The network ----------------------------------------------------------------------------------


@inlined
def forward(theta, layers, X, start, count, activations):
    """Run `count` samples from `start` on through the network; returns the rows filled.

    a⁰ = x, then for each layer zˡ_k = b_k + Σ_i W_ik aˡ⁻¹_i and aˡ = s(zˡ).
    """
    for i in range(X.shape[0]):
        row = activations[i][:count]
        x = X[i][start : start + count]
        for n in range(count):
            row[n] = x[n]
    filled = X.shape[0]
    for layer in range(layers.shape[0]):
        n_in, n_out, weights, biases, activation = layers[layer]
        for k in range(n_out):
            y = activations[filled + k][:count]
            bias = theta[biases + k] if biases >= 0 else 0.0
            combine(y, bias, theta, weights + k, n_out, activations, filled - n_in, n_in)
            activate(y, activation)
        filled += n_out
    return filled


@inlined
def backward(theta, layers, count, activations, deltas, gradient):
    """Add one tile's share to the gradient; deltas[0] holds dL/da of the output on entry.

    With d = dL/dz: dL/dW_ik = Σ_n d_k a_i, dL/db_k = Σ_n d_k, dL/da_i = Σ_k W_ik d_k.
    """
    above = 0
    row = activations.shape[0]
    for layer in range(layers.shape[0] - 1, -1, -1):
        n_in, n_out, weights, biases, activation = layers[layer]
        d = deltas[above]
        below = deltas[1 - above]
        row -= n_out
        for k in range(n_out):
            d_k = d[k][:count]
            activate_backward(d_k, activations[row + k][:count], activation)
            if biases >= 0:
                gradient[biases + k] += total(d_k)
            i = 0
            while i + 4 <= n_in:
                s0, s1, s2, s3 = dot_four(d_k, activations, row - n_in + i)
                w = weights + i * n_out + k
                gradient[w] += s0
                gradient[w + n_out] += s1
                gradient[w + 2 * n_out] += s2
                gradient[w + 3 * n_out] += s3
                i += 4
            while i < n_in:
                gradient[weights + i * n_out + k] += dot(d_k, activations[row - n_in + i])
                i += 1
        if layer > 0:
            for i in range(n_in):
                combine(below[i][:count], 0.0, theta, weights + i * n_out, 1, d, 0, n_out)
        above = 1 - above


@inlined
def mean_loss(theta, layers, loss, X, Y, activations, deltas, gradient):
    """L(X, θ) = 1/N Σ over samples and output units of the residual's loss.

    dL/dθ is left in `gradient` (P,), unless that is empty.
    """
    samples = X.shape[1]
    result = 0.0
    for p in range(gradient.size):
        gradient[p] = 0.0
    for start in range(0, samples, TILE):
        count = TILE if samples - start > TILE else samples - start
        output = forward(theta, layers, X, start, count, activations) - Y.shape[0]
        for k in range(Y.shape[0]):
            target = Y[k][start : start + count]
            slope = deltas[0][k][:count]
            result += residual_loss(activations[output + k][:count], target, slope, loss)
        if gradient.size > 0:
            backward(theta, layers, count, activations, deltas, gradient)
    for p in range(gradient.size):
        gradient[p] /= samples
    return result / samples


loss_and_gradient, mean_losses, rmsprop = kernels_of(mean_loss)
