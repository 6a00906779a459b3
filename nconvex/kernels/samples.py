"""Numba kernels: the network's forward and backward pass, its loss, RMSProp, and γ.

Everything here is a plain function over arrays that were checked above; no classes, files or
randomness. Shapes and names:

``theta``        (P,)       all weights and biases of one network, laid out as in `model.MLP`
``layers``       (n, 5)     int64, a row a layer: inputs, outputs, offset of the weights in theta,
                            offset of the biases (-1: none), code of the activation
``X``, ``Y``     (d, N)     inputs and targets, **units-major**: a row holds one unit over all
                            samples, so every inner loop runs over contiguous samples
``activations``  (rows, TILE)  workspace: the input's rows, then each layer's output rows
``deltas``       (2, width, TILE)  workspace: dL/dz of the layer above and of the layer below

Samples are worked on in tiles, so that the workspace of a small net stays in the first-level
cache. Sums over samples go tile by tile into float64 totals.

A row that does not vectorise costs five times as much; what keeps LLVM vectorising is that the
primitives below see one-dimensional contiguous rows and nothing else.
"""

import math

from nconvex.kernels.jit import inlined, kernel
from nconvex.kernels.parts import (
    activate,
    activate_backward,
    add_scaled,
    dot,
    loss_and_slope,
    rmsprop_step,
    total,
)

#: Samples a tile: long enough to hide the cost of a call, short enough for the cache.
TILE = 512


# -- Rows: y, x, d are rows of samples ------------------------------------------------------------


@inlined
def set_one(y, bias, w, x):
    """y = bias + w x."""
    for n in range(y.size):
        y[n] = bias + w * x[n]


@inlined
def set_four(y, bias, w0, w1, w2, w3, x0, x1, x2, x3):
    """y = bias + w0 x0 + w1 x1 + w2 x2 + w3 x3: four inputs a pass, a fourth of the stores."""
    for n in range(y.size):
        y[n] = bias + w0 * x0[n] + w1 * x1[n] + w2 * x2[n] + w3 * x3[n]


@inlined
def add_four(y, w0, w1, w2, w3, x0, x1, x2, x3):
    """y += w0 x0 + w1 x1 + w2 x2 + w3 x3."""
    for n in range(y.size):
        y[n] += w0 * x0[n] + w1 * x1[n] + w2 * x2[n] + w3 * x3[n]


@inlined
def combine(y, bias, theta, offset, stride, x, first, count):
    """y = bias + sum_i theta[offset + i stride] x[first + i], for i < count: one unit's input."""
    m = y.size
    if count >= 4:
        set_four(
            y,
            bias,
            theta[offset],
            theta[offset + stride],
            theta[offset + 2 * stride],
            theta[offset + 3 * stride],
            x[first][:m],
            x[first + 1][:m],
            x[first + 2][:m],
            x[first + 3][:m],
        )
        i = 4
    else:
        set_one(y, bias, theta[offset], x[first][:m])
        i = 1
    while i + 4 <= count:
        w = offset + i * stride
        add_four(
            y,
            theta[w],
            theta[w + stride],
            theta[w + 2 * stride],
            theta[w + 3 * stride],
            x[first + i][:m],
            x[first + i + 1][:m],
            x[first + i + 2][:m],
            x[first + i + 3][:m],
        )
        i += 4
    while i < count:
        add_scaled(y, theta[offset + i * stride], x[first + i][:m])
        i += 1


@inlined
def dot_four(d, x0, x1, x2, x3):
    """Sums of d x0, d x1, d x2, d x3: d is loaded once."""
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


# -- Losses ---------------------------------------------------------------------------------------


@inlined
def residual_loss(output, target, slope, loss):
    """Sum of the losses of one output unit over a tile; slope becomes the derivatives."""
    result = 0.0
    for n in range(output.size):
        value, slope[n] = loss_and_slope(output[n] - target[n], loss)
        result += value
    return result


# -- The network ----------------------------------------------------------------------------------


@inlined
def forward(theta, layers, X, start, count, activations):
    """Run the samples start .. start + count through the network; returns the rows filled.

    a⁰ = x, then for each layer zˡ_k = b_k + sum_i W_ik aˡ⁻¹_i and aˡ = s(zˡ).
    """
    for i in range(X.shape[0]):
        row = activations[i][:count]
        x = X[i][start : start + count]
        for n in range(count):
            row[n] = x[n]
    filled = X.shape[0]
    for layer in range(layers.shape[0]):
        n_in = layers[layer, 0]
        n_out = layers[layer, 1]
        weights = layers[layer, 2]
        biases = layers[layer, 3]
        for k in range(n_out):
            y = activations[filled + k][:count]
            bias = theta[biases + k] if biases >= 0 else 0.0
            combine(y, bias, theta, weights + k, n_out, activations, filled - n_in, n_in)
            activate(y, layers[layer, 4])
        filled += n_out
    return filled


@inlined
def backward(theta, layers, count, activations, deltas, gradient):
    """Add one tile's share to the gradient; deltas[0] holds dL/da of the output on entry.

    With d = dL/dz: dL/dW_ik = sum_n d_k a_i, dL/db_k = sum_n d_k, dL/da_i = sum_k W_ik d_k.
    """
    above = 0
    row = activations.shape[0]
    for layer in range(layers.shape[0] - 1, -1, -1):
        n_in = layers[layer, 0]
        n_out = layers[layer, 1]
        weights = layers[layer, 2]
        biases = layers[layer, 3]
        d = deltas[above]
        below = deltas[1 - above]
        row -= n_out
        for k in range(n_out):
            d_k = d[k][:count]
            activate_backward(d_k, activations[row + k][:count], layers[layer, 4])
            if biases >= 0:
                gradient[biases + k] += total(d_k)
            i = 0
            while i + 4 <= n_in:
                a = row - n_in + i
                s0, s1, s2, s3 = dot_four(
                    d_k,
                    activations[a][:count],
                    activations[a + 1][:count],
                    activations[a + 2][:count],
                    activations[a + 3][:count],
                )
                w = weights + i * n_out + k
                gradient[w] += s0
                gradient[w + n_out] += s1
                gradient[w + 2 * n_out] += s2
                gradient[w + 3 * n_out] += s3
                i += 4
            while i < n_in:
                gradient[weights + i * n_out + k] += dot(d_k, activations[row - n_in + i][:count])
                i += 1
        if layer > 0:
            for i in range(n_in):
                combine(below[i][:count], 0.0, theta, weights + i * n_out, 1, d, 0, n_out)
        above = 1 - above


@inlined
def mean_loss(theta, layers, loss, X, Y, activations, deltas, gradient):
    """L(X, θ) = 1/N sum over samples and output units of the residual's loss.

    dL/dθ is left in `gradient` (P,); an empty `gradient` asks for none.
    """
    samples = X.shape[1]
    result = 0.0
    for p in range(gradient.size):
        gradient[p] = 0.0
    for start in range(0, samples, TILE):
        count = TILE if samples - start > TILE else samples - start
        output = forward(theta, layers, X, start, count, activations) - Y.shape[0]
        for k in range(Y.shape[0]):
            result += residual_loss(
                activations[output + k][:count],
                Y[k][start : start + count],
                deltas[0][k][:count],
                loss,
            )
        if gradient.size > 0:
            backward(theta, layers, count, activations, deltas, gradient)
    for p in range(gradient.size):
        gradient[p] /= samples
    return result / samples


@kernel
def loss_and_gradient(theta, layers, loss, X, Y, activations, deltas, gradient):
    """L(X, θ), with dL/dθ left in `gradient` (P,)."""
    return mean_loss(theta, layers, loss, X, Y, activations, deltas, gradient)


# -- Descent: steps 1 and 3 of the algorithm ------------------------------------------------------


@kernel
def rmsprop(
    theta,
    mean_square,
    layers,
    loss,
    X,
    Y,
    X_test,
    Y_test,
    target,
    learning_rate,
    shrink,
    decay,
    epsilon,
    check_every,
    first_step,
    last_step,
    activations,
    deltas,
    gradient,
):
    """Descend from step first_step to at most last_step; returns the steps done and the test loss.

    v = decay v + (1 - decay) g²,  θ = θ - learning_rate shrinkⁿ g / (sqrt(v) + epsilon)

    `theta` and `mean_square` (v) are changed in place. The gradient is the training set's, the
    stopping test the test set's, every `check_every` steps; a loss that is no longer finite stops
    the descent as well.
    """
    step = first_step  # a multiple of check_every
    looked = False
    while True:
        # One call serves both sets: compiling the network's passes twice would take seconds more.
        look = not looked and (step % check_every == 0 or step == last_step)
        inputs = X_test if look else X
        targets = Y_test if look else Y
        wanted = gradient[:0] if look else gradient
        reached = mean_loss(theta, layers, loss, inputs, targets, activations, deltas, wanted)
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
def mean_losses(thetas, layers, loss, X, Y, activations, deltas, losses):
    """losses[q] = L(X, thetas[q]) for thetas (T, P): γ on the points of a line, equation (2)."""
    for q in range(thetas.shape[0]):
        none = thetas[q][:0]
        losses[q] = mean_loss(thetas[q], layers, loss, X, Y, activations, deltas, none)
