"""`kernels` for a 1-4-4-1 sigmoid network without biases. Written by `specialise`: edit that.

All but `mean_loss` is `kernels`'s own text; names and shapes are explained there.
"""

import math

import numpy as np

from nconvex.jit import careful_part, kernel, part

#: Samples a tile: long enough to hide the cost of a call, short enough for the cache.
TILE = 512

IDENTITY, RELU, SIGMOID, TANH = range(4)
ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}

MSE, MAE, HUBER, LOG_COSH = range(4)
LOSSES = {"mse": MSE, "mae": MAE, "huber": HUBER, "log-cosh": LOG_COSH}

#: Where the Huber loss turns from quadratic to linear. Targets lie in [0, 1], so the customary 1
#: would make it half the squared error everywhere; 0.1 keeps both of its regimes in play.
HUBER_DELTA = 0.1

LOG_2 = math.log(2.0)


# -- Activations, and their derivatives in terms of their own value -------------------------------

# numba has no exp that works on several samples at once, so the exponential is ours. It stands in
# `enclosure` as well, word for word, for a kernel calls only parts of its own file (see `jit`).


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


# -- Losses of one residual r = output - target ---------------------------------------------------


@part
def residual_loss(output, target, slope, loss):
    """Sum of the losses of one output unit over a tile; slope becomes the derivatives.

    mse r², mae |r|, huber r²/2 up to δ = HUBER_DELTA and then δ(|r| - δ/2), log-cosh log cosh r.
    """
    result = 0.0
    if loss == MSE:
        for n in range(output.size):
            r = output[n] - target[n]
            result += r * r
            slope[n] = 2.0 * r
    elif loss == MAE:
        for n in range(output.size):
            r = output[n] - target[n]
            result += abs(r)
            slope[n] = 1.0 if r > 0.0 else (-1.0 if r < 0.0 else r)  # 0 at 0, NaN at NaN
    elif loss == HUBER:
        for n in range(output.size):
            r = output[n] - target[n]
            size = abs(r)
            linear = HUBER_DELTA if r > 0.0 else -HUBER_DELTA
            result += (
                HUBER_DELTA * (size - 0.5 * HUBER_DELTA) if size > HUBER_DELTA else 0.5 * r * r
            )
            slope[n] = linear if size > HUBER_DELTA else r
    elif loss == LOG_COSH:
        for n in range(output.size):
            r = output[n] - target[n]
            e = exponential(-2.0 * abs(r))  # cosh r = exp|r| (1 + e) / 2, without overflow
            result += abs(r) + math.log1p(e) - LOG_2
            size = (1.0 - e) / (1.0 + e)
            slope[n] = -size if r < 0.0 else size
    return result


@careful_part
def one_and_exponential(z):
    """1 + exp(-z), for z cut to ±170: of four of them the product does not overflow. NaN stays.

    As `exponential`, but n is rounded by adding 3 2⁵¹, which leaves it in the last bits of the sum.
    """
    x = 170.0 if z < -170.0 else -z
    x = -170.0 if z > 170.0 else x
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
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
    bits = np.float64(shifted).view(np.int64)  # the shift drops all but the last bits of n
    return 1.0 + p * np.int64((bits + 1023) << 52).view(np.float64)


@careful_part
def sigmoids_1(z):
    """1 / (1 + exp(-z))."""
    return 1.0 / one_and_exponential(z)


@careful_part
def sigmoids_4(z0, z1, z2, z3):
    """Four of them by one division, which costs as much as ten products."""
    e0 = one_and_exponential(z0)
    e1 = one_and_exponential(z1)
    e2 = one_and_exponential(z2)
    e3 = one_and_exponential(z3)
    e01 = e0 * e1
    e23 = e2 * e3
    inverse = 1.0 / (e01 * e23)
    i01 = inverse * e23
    i23 = inverse * e01
    return i01 * e1, i01 * e0, i23 * e3, i23 * e2


@part
def mean_loss(theta, layers, loss, X, Y, activations, deltas, gradient):
    """As in `kernels`, for a 1-4-4-1 sigmoid network without biases."""
    samples = X.shape[1]
    rows = activations.ravel()
    result = 0.0
    for p in range(gradient.size):
        gradient[p] = 0.0
    w1_00 = theta[0]
    w1_01 = theta[1]
    w1_02 = theta[2]
    w1_03 = theta[3]
    w2_00 = theta[4]
    w2_10 = theta[8]
    w2_20 = theta[12]
    w2_30 = theta[16]
    w2_01 = theta[5]
    w2_11 = theta[9]
    w2_21 = theta[13]
    w2_31 = theta[17]
    w2_02 = theta[6]
    w2_12 = theta[10]
    w2_22 = theta[14]
    w2_32 = theta[18]
    w2_03 = theta[7]
    w2_13 = theta[11]
    w2_23 = theta[15]
    w2_33 = theta[19]
    w3_00 = theta[20]
    w3_10 = theta[21]
    w3_20 = theta[22]
    w3_30 = theta[23]
    for start in range(0, samples, 256):
        count = 256 if samples - start > 256 else samples - start
        x0 = X[0][start : start + count]
        for n in range(count):
            a0_0 = x0[n]
            z0 = w1_00 * a0_0
            z1 = w1_01 * a0_0
            z2 = w1_02 * a0_0
            z3 = w1_03 * a0_0
            a1_0, a1_1, a1_2, a1_3 = sigmoids_4(z0, z1, z2, z3)
            rows[0 + n] = a1_0
            rows[256 + n] = a1_1
            rows[512 + n] = a1_2
            rows[768 + n] = a1_3
        for n in range(count):
            a1_0 = rows[0 + n]
            a1_1 = rows[256 + n]
            a1_2 = rows[512 + n]
            a1_3 = rows[768 + n]
            z0 = w2_00 * a1_0 + w2_10 * a1_1 + w2_20 * a1_2 + w2_30 * a1_3
            z1 = w2_01 * a1_0 + w2_11 * a1_1 + w2_21 * a1_2 + w2_31 * a1_3
            z2 = w2_02 * a1_0 + w2_12 * a1_1 + w2_22 * a1_2 + w2_32 * a1_3
            z3 = w2_03 * a1_0 + w2_13 * a1_1 + w2_23 * a1_2 + w2_33 * a1_3
            a2_0, a2_1, a2_2, a2_3 = sigmoids_4(z0, z1, z2, z3)
            rows[1024 + n] = a2_0
            rows[1280 + n] = a2_1
            rows[1536 + n] = a2_2
            rows[1792 + n] = a2_3
        for n in range(count):
            a2_0 = rows[1024 + n]
            a2_1 = rows[1280 + n]
            a2_2 = rows[1536 + n]
            a2_3 = rows[1792 + n]
            z0 = w3_00 * a2_0 + w3_10 * a2_1 + w3_20 * a2_2 + w3_30 * a2_3
            a3_0 = sigmoids_1(z0)
            rows[2048 + n] = a3_0
        result += residual_loss(
            rows[2048 : 2048 + count],
            Y[0][start : start + count],
            rows[4352 : 4352 + count],
            loss,
        )
        if gradient.size == 0:
            continue
        for n in range(count):
            rows[4352 + n] *= rows[2048 + n] * (1.0 - rows[2048 + n])
        s00 = 0.0
        s10 = 0.0
        s20 = 0.0
        s30 = 0.0
        for n in range(count):
            a0 = rows[1024 + n]
            a1 = rows[1280 + n]
            a2 = rows[1536 + n]
            a3 = rows[1792 + n]
            d0 = rows[4352 + n]
            s00 += d0 * a0
            s10 += d0 * a1
            s20 += d0 * a2
            s30 += d0 * a3
        gradient[20] += s00
        gradient[21] += s10
        gradient[22] += s20
        gradient[23] += s30
        for n in range(count):
            d0 = rows[4352 + n]
            e0 = w3_00 * d0
            e0 *= rows[1024 + n] * (1.0 - rows[1024 + n])
            rows[3328 + n] = e0
            e1 = w3_10 * d0
            e1 *= rows[1280 + n] * (1.0 - rows[1280 + n])
            rows[3584 + n] = e1
            e2 = w3_20 * d0
            e2 *= rows[1536 + n] * (1.0 - rows[1536 + n])
            rows[3840 + n] = e2
            e3 = w3_30 * d0
            e3 *= rows[1792 + n] * (1.0 - rows[1792 + n])
            rows[4096 + n] = e3
        s00 = 0.0
        s10 = 0.0
        s20 = 0.0
        s30 = 0.0
        s01 = 0.0
        s11 = 0.0
        s21 = 0.0
        s31 = 0.0
        for n in range(count):
            a0 = rows[0 + n]
            a1 = rows[256 + n]
            a2 = rows[512 + n]
            a3 = rows[768 + n]
            d0 = rows[3328 + n]
            s00 += d0 * a0
            s10 += d0 * a1
            s20 += d0 * a2
            s30 += d0 * a3
            d1 = rows[3584 + n]
            s01 += d1 * a0
            s11 += d1 * a1
            s21 += d1 * a2
            s31 += d1 * a3
        gradient[4] += s00
        gradient[8] += s10
        gradient[12] += s20
        gradient[16] += s30
        gradient[5] += s01
        gradient[9] += s11
        gradient[13] += s21
        gradient[17] += s31
        s02 = 0.0
        s12 = 0.0
        s22 = 0.0
        s32 = 0.0
        s03 = 0.0
        s13 = 0.0
        s23 = 0.0
        s33 = 0.0
        for n in range(count):
            a0 = rows[0 + n]
            a1 = rows[256 + n]
            a2 = rows[512 + n]
            a3 = rows[768 + n]
            d2 = rows[3840 + n]
            s02 += d2 * a0
            s12 += d2 * a1
            s22 += d2 * a2
            s32 += d2 * a3
            d3 = rows[4096 + n]
            s03 += d3 * a0
            s13 += d3 * a1
            s23 += d3 * a2
            s33 += d3 * a3
        gradient[6] += s02
        gradient[10] += s12
        gradient[14] += s22
        gradient[18] += s32
        gradient[7] += s03
        gradient[11] += s13
        gradient[15] += s23
        gradient[19] += s33
        s00 = 0.0
        s01 = 0.0
        s02 = 0.0
        s03 = 0.0
        for n in range(count):
            d0 = rows[3328 + n]
            d1 = rows[3584 + n]
            d2 = rows[3840 + n]
            d3 = rows[4096 + n]
            u0 = x0[n]
            e0 = w2_00 * d0 + w2_01 * d1 + w2_02 * d2 + w2_03 * d3
            e0 *= rows[0 + n] * (1.0 - rows[0 + n])
            s00 += e0 * u0
            e1 = w2_10 * d0 + w2_11 * d1 + w2_12 * d2 + w2_13 * d3
            e1 *= rows[256 + n] * (1.0 - rows[256 + n])
            s01 += e1 * u0
            e2 = w2_20 * d0 + w2_21 * d1 + w2_22 * d2 + w2_23 * d3
            e2 *= rows[512 + n] * (1.0 - rows[512 + n])
            s02 += e2 * u0
            e3 = w2_30 * d0 + w2_31 * d1 + w2_32 * d2 + w2_33 * d3
            e3 *= rows[768 + n] * (1.0 - rows[768 + n])
            s03 += e3 * u0
        gradient[0] += s00
        gradient[1] += s01
        gradient[2] += s02
        gradient[3] += s03
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
        for p in range(theta.size):
            g = gradient[p]
            mean_square[p] = decay * mean_square[p] + (1.0 - decay) * g * g
            theta[p] -= rate * g / (math.sqrt(mean_square[p]) + epsilon)
        step += 1


# -- The loss of many networks --------------------------------------------------------------------


@kernel
def mean_losses(thetas, layers, loss, X, Y, activations, deltas, losses):
    """losses[q] = L(X, thetas[q]) for thetas (T, P): γ on the points of a line, equation (2)."""
    for q in range(thetas.shape[0]):
        none = thetas[q][:0]
        losses[q] = mean_loss(thetas[q], layers, loss, X, Y, activations, deltas, none)
