"""Shared by the kernel files: codes, activations, losses, RMSProp, sums.

All functions here are inlined into kernels; see `jit`. Vectors are contiguous.
"""

import math

import numpy as np

from nconvex.kernels.jit import inlined, inlined_strict, kernel

IDENTITY, RELU, SIGMOID, TANH, LEAKY_RELU = range(5)
ACTIVATIONS = {
    "identity": IDENTITY,
    "relu": RELU,
    "leaky-relu": LEAKY_RELU,
    "sigmoid": SIGMOID,
    "tanh": TANH,
}

#: The activations of hidden layers.
NONLINEAR = tuple(name for name in ACTIVATIONS if name != "identity")

#: Slope of leaky ReLU below zero.
LEAKY_SLOPE = 0.01

MSE, MAE, HUBER, LOG_COSH, CROSS_ENTROPY, ERROR = range(6)
LOSSES = {"mse": MSE, "mae": MAE, "huber": HUBER, "log-cosh": LOG_COSH}

#: Where the Huber loss turns from quadratic to linear. Targets lie in [0, 1]: with the usual 1 the
#: loss would be half the squared error everywhere. With 0.1 both branches occur.
HUBER_DELTA = 0.1

LOG_2 = math.log(2.0)

#: Samples in a tile of classifiers and proofs. Two models' first layers of 256 units then fit the
#: second-level cache, and the blocks of two small layers the first-level cache.
TILE = 128


@inlined_strict
def exponential(x):
    """exp x for x ≤ 0, with a relative error of at most 2 u for x ≥ -700, and exp(-700) below.

    NaN stays NaN. Unlike numba's own exp, this one vectorises. Let x = n log 2 + r with |r| ≤ 0.35,
    where log 2 is a sum of two numbers and n times the first is exact. exp r is its series up to
    r¹³/13!, which errs by 4e-18. 2ⁿ is made from its bits.
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


@inlined
def activate(y, activation):
    """y = s(y), where NaN stays NaN; `max(z, 0)` may lose it."""
    if activation == RELU:
        for n in range(y.size):
            z = y[n]
            y[n] = 0.0 if z < 0.0 else z
    elif activation == LEAKY_RELU:
        for n in range(y.size):
            z = y[n]
            y[n] = LEAKY_SLOPE * z if z < 0.0 else z
    elif activation == SIGMOID:
        for n in range(y.size):
            z = y[n]
            e = exponential(-abs(z))
            y[n] = (e if z < 0.0 else 1.0) / (1.0 + e)
    elif activation == TANH:
        for n in range(y.size):
            z = y[n]
            e = exponential(-2.0 * abs(z))
            size = (1.0 - e) / (1.0 + e)
            y[n] = -size if z < 0.0 else size


@inlined
def activate_backward(d, a, activation):
    """d = d s'(z), where a = s(z).

    s' is [a > 0] for ReLU, 1 or `LEAKY_SLOPE` for leaky ReLU, a (1 - a) for sigmoid and 1 - a² for
    tanh.
    """
    if activation == RELU:
        for n in range(d.size):
            v = d[n]
            d[n] = 0.0 if a[n] <= 0.0 else v
    elif activation == LEAKY_RELU:
        for n in range(d.size):
            v = d[n]
            d[n] = LEAKY_SLOPE * v if a[n] <= 0.0 else v
    elif activation == SIGMOID:
        for n in range(d.size):
            d[n] *= a[n] * (1.0 - a[n])
    elif activation == TANH:
        for n in range(d.size):
            d[n] *= 1.0 - a[n] * a[n]


@inlined
def loss_and_slope(r, loss):
    """ℓ(r) and ℓ'(r) of one residual r = output - target.

    MSE is r², MAE |r|, log-cosh log cosh r. Huber is r²/2 for |r| ≤ δ, else δ (|r| - δ/2), with
    δ = HUBER_DELTA. `loss` is constant in a loop, and LLVM makes one loop for each loss.
    """
    size = abs(r)
    if loss == MSE:
        return r * r, 2.0 * r
    if loss == MAE:
        return size, (1.0 if r > 0.0 else (-1.0 if r < 0.0 else r))  # 0 at 0, NaN at NaN
    if loss == HUBER:
        linear = HUBER_DELTA if r > 0.0 else -HUBER_DELTA
        value = HUBER_DELTA * (size - 0.5 * HUBER_DELTA) if size > HUBER_DELTA else 0.5 * r * r
        return value, (linear if size > HUBER_DELTA else r)
    e = exponential(-2.0 * size)  # cosh r = exp|r| (1 + e) / 2, without overflow
    tanh = (1.0 - e) / (1.0 + e)
    return size + math.log1p(e) - LOG_2, (-tanh if r < 0.0 else tanh)


@inlined
def rmsprop_step(theta, mean_square, gradient, scale, rate, decay, epsilon):
    """v = decay v + (1 - decay) g²,  θ = θ - rate g / (sqrt(v) + epsilon), with g = scale gradient.

    θ and v (`mean_square`) are changed in place. The other numbers have their type.
    """
    take = np.float32(1.0) - decay
    for p in range(theta.size):
        g = gradient[p] * scale
        v = decay * mean_square[p] + take * g * g
        mean_square[p] = v
        theta[p] -= rate * g / (math.sqrt(v) + epsilon)


@inlined
def add_penalty(weight_decay, theta, scale, gradient):
    """½ Σ weight_decay θ²; scale times its derivatives are added to `gradient`, unless empty."""
    result = 0.0
    for p in range(weight_decay.size):
        slope = weight_decay[p] * theta[p]
        result += 0.5 * slope * theta[p]
        if gradient.size > 0:
            gradient[p] += scale * slope
    return result


@inlined_strict
def parabola(penalty, t):
    """What a penalty adds at t: the quadratic with the Bernstein coefficients ``penalty`` (3,)."""
    a, b, c = penalty[0], penalty[1], penalty[2]
    return (1.0 - t) * (1.0 - t) * a + 2.0 * t * (1.0 - t) * b + t * t * c


@inlined
def add_scaled(y, w, x):
    """y += w x."""
    for n in range(y.size):
        y[n] += w * x[n]


@inlined
def total(d):
    """Sum of d."""
    result = 0.0
    for n in range(d.size):
        result += d[n]
    return result


@inlined
def dot(d, x):
    """Sum of d x."""
    result = 0.0
    for n in range(d.size):
        result += d[n] * x[n]
    return result


def kernels_of(mean_loss):
    """Compile the kernels of networks from an inlined function that computes a mean loss.

    ``mean_loss(theta, layers, loss, *data, *workspace, gradient)`` returns L(X, θ) and leaves dL/dθ
    in `gradient` (P,), unless that is empty. ``train``, ``test`` and ``workspace`` are tuples.
    """

    def loss_and_gradient(theta, layers, loss, train, workspace, gradient):
        """L(X, θ), with dL/dθ left in `gradient` (P,)."""
        return mean_loss(theta, layers, loss, *train, *workspace, gradient)

    def mean_losses(thetas, layers, loss, test, workspace, losses):
        """losses[q] = L(X, thetas[q]) for thetas (T, P): γ at points of a line, equation (2)."""
        for q in range(thetas.shape[0]):
            losses[q] = mean_loss(thetas[q], layers, loss, *test, *workspace, thetas[q][:0])

    def rmsprop(
        theta, mean_square, layers, loss, train, test, weight_decay, target, settings, step,
        last_step, workspace, gradient,
    ):  # fmt: skip
        """Steps 1 and 3: descend from `step` to at most `last_step`.

        v = decay v + (1 - decay) g²,  θ = θ - learning_rate shrinkⁿ g / (sqrt(v) + epsilon)

        `theta` and `mean_square` (v) are changed in place; g is the training set's gradient. Every
        `check_every` steps, of which `step` is a multiple, the test loss is computed. The descent
        stops if that is at most `target` or not finite. Returns the steps done and the test loss.
        To either loss ½ Σ weight_decay θ² is added; no weight decay is an empty array.
        """
        learning_rate, shrink, decay, epsilon, check_every = settings
        evaluated = False
        while True:
            # One call serves both sets: the compiler would take seconds more for two.
            evaluated = not evaluated and (step % check_every == 0 or step == last_step)
            data = test if evaluated else train
            wanted = gradient[:0] if evaluated else gradient
            reached = mean_loss(theta, layers, loss, *data, *workspace, wanted)
            reached += add_penalty(weight_decay, theta, 1.0, wanted)
            if evaluated:
                if not (target < reached < math.inf) or step == last_step:
                    return step, reached
                continue
            rate = learning_rate * shrink**step
            rmsprop_step(theta, mean_square, gradient, 1.0, rate, decay, epsilon)
            step += 1

    made = loss_and_gradient, mean_losses, rmsprop
    for function in made:
        function.__module__, function.__qualname__ = mean_loss.__module__, function.__name__
    return [kernel(function) for function in made]


# -- A classifier's logits: unit c of sample n stands at c TILE + n ------------------------------


@inlined_strict
def largest_logits(v, classes, highest):
    """highest[n] = max_c v_cn; NaN stays."""
    for n in range(TILE):
        highest[n] = v[n]
    for c in range(1, classes):
        row = v[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            highest[n] = highest[n] if row[n] <= highest[n] else row[n]


@inlined_strict
def sum_of_logs(highest, total, count):
    """Sum of highest[n] + log total[n] over the first `count` samples."""
    result = 0.0
    product = 1.0
    for n in range(count):
        result += highest[n]
        product *= total[n]  # each is from 1 to the number of classes
        if n % 8 == 7:
            result += math.log(product)
            product = 1.0
    return result + math.log(product)


@inlined_strict
def tile_cross_entropy(v, classes, count, highest, total):
    """Sum of log Σ_c exp v_c over the first `count` samples."""
    largest_logits(v, classes, highest)
    for n in range(TILE):
        total[n] = 0.0
    for c in range(classes):
        row = v[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            total[n] += exponential(row[n] - highest[n])
    return sum_of_logs(highest, total, count)


@inlined_strict
def raise_margin(v, classes, label, margin):
    """margin = max(margin, v_c) over all classes c but the label."""
    for c in range(classes):
        if c != label:
            row = v[c * TILE : (c + 1) * TILE]
            for n in range(TILE):
                margin[n] = margin[n] if row[n] <= margin[n] else row[n]
