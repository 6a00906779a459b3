"""Parts that several kernel files share: codes, activations, losses, RMSProp's step, sums.

A row is a one-dimensional contiguous array. All parts are inlined; see `jit`.
"""

import math

import numpy as np

from nconvex.kernels.jit import careful_part, part

IDENTITY, RELU, SIGMOID, TANH, LEAKY_RELU = range(5)
ACTIVATIONS = {
    "identity": IDENTITY,
    "relu": RELU,
    "leaky-relu": LEAKY_RELU,
    "sigmoid": SIGMOID,
    "tanh": TANH,
}

#: Those that commands offer for hidden layers.
NONLINEAR = tuple(name for name in ACTIVATIONS if name != "identity")

#: Slope of leaky ReLU below zero.
LEAKY_SLOPE = 0.01

MSE, MAE, HUBER, LOG_COSH, CROSS_ENTROPY, ERROR = range(6)
LOSSES = {"mse": MSE, "mae": MAE, "huber": HUBER, "log-cosh": LOG_COSH}

#: Where the Huber loss turns from quadratic to linear. Targets lie in [0, 1], so the customary 1
#: would make it half the squared error everywhere; 0.1 keeps both of its regimes in play.
HUBER_DELTA = 0.1

LOG_2 = math.log(2.0)

#: Samples a tile of classifiers and proofs: two models' first layers of 256 units fit the
#: second-level cache, the blocks of two small layers the first-level one.
TILE = 128


# numba has no exp that works on several samples at once, so the exponential is ours.


@careful_part
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
def activate(y, activation):
    """y = s(y). Written so that NaN stays NaN: `max(z, 0)` may swallow it."""
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


@part
def activate_backward(d, a, activation):
    """d = d s'(z), where a = s(z): relu' = [a > 0], sigmoid' = a (1 - a), tanh' = 1 - a².

    Leaky ReLU's is 1 where a > 0, else `LEAKY_SLOPE`.
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


@part
def loss_and_slope(r, loss):
    """ℓ(r) and ℓ'(r) of one residual r = output - target.

    mse r², mae |r|, huber r²/2 up to δ = HUBER_DELTA and then δ(|r| - δ/2), log-cosh log cosh r.
    `loss` does not change within a loop: LLVM makes one loop of each loss.
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


@part
def rmsprop_step(theta, mean_square, gradient, scale, rate, decay, epsilon):
    """v = decay v + (1 - decay) g²,  θ = θ - rate g / (sqrt(v) + epsilon), with g = scale gradient.

    θ and v (`mean_square`) are rows, changed in place, of the type that the numbers have.
    """
    take = np.float32(1.0) - decay
    for p in range(theta.size):
        g = gradient[p] * scale
        v = decay * mean_square[p] + take * g * g
        mean_square[p] = v
        theta[p] -= rate * g / (math.sqrt(v) + epsilon)


@part
def add_scaled(y, w, x):
    """y += w x."""
    for n in range(y.size):
        y[n] += w * x[n]


@part
def total(d):
    """Sum of d."""
    result = 0.0
    for n in range(d.size):
        result += d[n]
    return result


@part
def dot(d, x):
    """Sum of d x."""
    result = 0.0
    for n in range(d.size):
        result += d[n] * x[n]
    return result


# -- Classifiers: the rows of a tile's logits, one behind the other -------------------------------


@careful_part
def tile_cross_entropy(v, classes, count, highest, total):
    """Sum of log sum_c exp v_c over the first `count` samples; v becomes exp(v_c - max)."""
    for n in range(TILE):
        highest[n] = v[n]
        total[n] = 0.0
    for c in range(1, classes):
        row = v[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            highest[n] = highest[n] if row[n] <= highest[n] else row[n]
    for c in range(classes):
        row = v[c * TILE : (c + 1) * TILE]
        for n in range(TILE):
            total[n] += exponential(row[n] - highest[n])
    result = 0.0
    product = 1.0
    for n in range(count):
        result += highest[n]
        product *= total[n]  # from 1 to the number of classes
        if n % 8 == 7:
            result += math.log(product)
            product = 1.0
    return result + math.log(product)


@careful_part
def raise_margin(v, classes, label, margin):
    """margin = the larger of itself and v_c over all other classes."""
    for c in range(classes):
        if c != label:
            row = v[c * TILE : (c + 1) * TILE]
            for n in range(TILE):
                margin[n] = margin[n] if row[n] <= margin[n] else row[n]
