"""`pieces` for a 1-4-4-1 ReLU network with biases. Written by `specialise`: edit that.

All but `mean_loss` is `pieces`'s own text; names and shapes are explained there.
"""

import math

import numpy as np

from nconvex.jit import careful_part, kernel, part
from nconvex.vectors import line_residuals

MSE, MAE, HUBER, LOG_COSH = range(4)

#: As in `kernels`, where it is explained.
HUBER_DELTA = 0.1

LOG_2 = math.log(2.0)

#: A range of x that is shorter is not cut into parts: their number by its length might overflow.
SHORTEST = 1e-290

#: Sums over samples that lie so many quartile ranges from the others lose four digits of sixteen.
FARTHEST = 100.0

#: Rows of `lines`.
SLOPE, SHIFT, ON_SLOPE, ON_SHIFT, SUM, SUM_X = range(6)


# -- Where a line changes its sign ----------------------------------------------------------------


@careful_part
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


@part
def insert(pieces, count, cut):
    """Put a cut among the first samples of `count` pieces, in order; returns how many now."""
    at = count
    while pieces[at - 1] > cut:
        pieces[at] = pieces[at - 1]
        at -= 1
    pieces[at] = cut
    return count + 1


# -- Losses of the residuals r = slope x + shift - y of a piece -----------------------------------


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
def residual_losses(x, y, start, end, slope, shift, loss):
    """Sums over the samples [start, end): of the losses, of their derivatives s, and of s x."""
    result = 0.0
    total = 0.0
    moment = 0.0
    if loss == MSE:
        result, total, moment = line_residuals(x, y, start, end, slope, shift)
        total *= 2.0
        moment *= 2.0
    elif loss == MAE:
        for n in range(start, end):
            r = slope * x[n] + shift - y[n]
            s = 1.0 if r > 0.0 else (-1.0 if r < 0.0 else r)  # 0 at 0, NaN at NaN
            result += abs(r)
            total += s
            moment += s * x[n]
    elif loss == HUBER:
        for n in range(start, end):
            r = slope * x[n] + shift - y[n]
            size = abs(r)
            linear = HUBER_DELTA if r > 0.0 else -HUBER_DELTA
            result += (
                HUBER_DELTA * (size - 0.5 * HUBER_DELTA) if size > HUBER_DELTA else 0.5 * r * r
            )
            s = linear if size > HUBER_DELTA else r
            total += s
            moment += s * x[n]
    elif loss == LOG_COSH:
        for n in range(start, end):
            r = slope * x[n] + shift - y[n]
            e = exponential(-2.0 * abs(r))  # cosh r = exp|r| (1 + e) / 2, without overflow
            result += abs(r) + math.log1p(e) - LOG_2
            size = (1.0 - e) / (1.0 + e)
            s = -size if r < 0.0 else size
            total += s
            moment += s * x[n]
    return result, total, moment


@part
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


@part
def mean_loss(theta, layers, loss, X, Y, ranks, sums, lines, cuts, turns, gradient):
    """As in `pieces`, for a 1-4-4-1 ReLU network with biases."""
    samples = X.shape[1]
    by_sums = sums.shape[0] > 0
    x = X[0]
    y0 = Y[0]
    pieces1 = cuts[0, 1]
    pieces2 = cuts[0, 2]
    result = 0.0
    start0 = 0
    end0 = samples
    w1_00 = theta[0]
    b1_0 = theta[4]
    w1_01 = theta[1]
    b1_1 = theta[5]
    w1_02 = theta[2]
    b1_2 = theta[6]
    w1_03 = theta[3]
    b1_3 = theta[7]
    w2_00 = theta[8]
    w2_10 = theta[12]
    w2_20 = theta[16]
    w2_30 = theta[20]
    b2_0 = theta[24]
    w2_01 = theta[9]
    w2_11 = theta[13]
    w2_21 = theta[17]
    w2_31 = theta[21]
    b2_1 = theta[25]
    w2_02 = theta[10]
    w2_12 = theta[14]
    w2_22 = theta[18]
    w2_32 = theta[22]
    b2_2 = theta[26]
    w2_03 = theta[11]
    w2_13 = theta[15]
    w2_23 = theta[19]
    w2_33 = theta[23]
    b2_3 = theta[27]
    w3_00 = theta[28]
    w3_10 = theta[29]
    w3_20 = theta[30]
    w3_30 = theta[31]
    b3_0 = theta[32]
    g_0 = 0.0
    g_1 = 0.0
    g_2 = 0.0
    g_3 = 0.0
    g_4 = 0.0
    g_5 = 0.0
    g_6 = 0.0
    g_7 = 0.0
    g_8 = 0.0
    g_9 = 0.0
    g_10 = 0.0
    g_11 = 0.0
    g_12 = 0.0
    g_13 = 0.0
    g_14 = 0.0
    g_15 = 0.0
    g_16 = 0.0
    g_17 = 0.0
    g_18 = 0.0
    g_19 = 0.0
    g_20 = 0.0
    g_21 = 0.0
    g_22 = 0.0
    g_23 = 0.0
    g_24 = 0.0
    g_25 = 0.0
    g_26 = 0.0
    g_27 = 0.0
    g_28 = 0.0
    g_29 = 0.0
    g_30 = 0.0
    g_31 = 0.0
    g_32 = 0.0
    s1_0 = w1_00
    t1_0 = b1_0
    s1_1 = w1_01
    t1_1 = b1_1
    s1_2 = w1_02
    t1_2 = b1_2
    s1_3 = w1_03
    t1_3 = b1_3
    pieces1[0] = start0
    count1 = 1
    first = x[start0]
    last = x[end0 - 1]
    at1_0 = start0
    rise1_0 = not s1_0 * first + t1_0 <= 0.0
    if rise1_0 != (not s1_0 * last + t1_0 <= 0.0):
        at1_0 = crossing(s1_0, t1_0, x, start0, end0 - 1, ranks)
        rise1_0 = not rise1_0
        count1 = insert(pieces1, count1, at1_0)
    at1_1 = start0
    rise1_1 = not s1_1 * first + t1_1 <= 0.0
    if rise1_1 != (not s1_1 * last + t1_1 <= 0.0):
        at1_1 = crossing(s1_1, t1_1, x, start0, end0 - 1, ranks)
        rise1_1 = not rise1_1
        count1 = insert(pieces1, count1, at1_1)
    at1_2 = start0
    rise1_2 = not s1_2 * first + t1_2 <= 0.0
    if rise1_2 != (not s1_2 * last + t1_2 <= 0.0):
        at1_2 = crossing(s1_2, t1_2, x, start0, end0 - 1, ranks)
        rise1_2 = not rise1_2
        count1 = insert(pieces1, count1, at1_2)
    at1_3 = start0
    rise1_3 = not s1_3 * first + t1_3 <= 0.0
    if rise1_3 != (not s1_3 * last + t1_3 <= 0.0):
        at1_3 = crossing(s1_3, t1_3, x, start0, end0 - 1, ranks)
        rise1_3 = not rise1_3
        count1 = insert(pieces1, count1, at1_3)
    pieces1[count1] = end0
    e1_0 = 0.0
    f1_0 = 0.0
    e1_1 = 0.0
    f1_1 = 0.0
    e1_2 = 0.0
    f1_2 = 0.0
    e1_3 = 0.0
    f1_3 = 0.0
    for piece1 in range(count1):
        start1 = pieces1[piece1]
        end1 = pieces1[piece1 + 1]
        if start1 == end1:
            continue
        on1_0 = (start1 >= at1_0) == rise1_0
        l1_0 = s1_0 if on1_0 else 0.0
        m1_0 = t1_0 if on1_0 else 0.0
        on1_1 = (start1 >= at1_1) == rise1_1
        l1_1 = s1_1 if on1_1 else 0.0
        m1_1 = t1_1 if on1_1 else 0.0
        on1_2 = (start1 >= at1_2) == rise1_2
        l1_2 = s1_2 if on1_2 else 0.0
        m1_2 = t1_2 if on1_2 else 0.0
        on1_3 = (start1 >= at1_3) == rise1_3
        l1_3 = s1_3 if on1_3 else 0.0
        m1_3 = t1_3 if on1_3 else 0.0
        s2_0 = w2_00 * l1_0 + w2_10 * l1_1 + w2_20 * l1_2 + w2_30 * l1_3
        t2_0 = b2_0 + w2_00 * m1_0 + w2_10 * m1_1 + w2_20 * m1_2 + w2_30 * m1_3
        s2_1 = w2_01 * l1_0 + w2_11 * l1_1 + w2_21 * l1_2 + w2_31 * l1_3
        t2_1 = b2_1 + w2_01 * m1_0 + w2_11 * m1_1 + w2_21 * m1_2 + w2_31 * m1_3
        s2_2 = w2_02 * l1_0 + w2_12 * l1_1 + w2_22 * l1_2 + w2_32 * l1_3
        t2_2 = b2_2 + w2_02 * m1_0 + w2_12 * m1_1 + w2_22 * m1_2 + w2_32 * m1_3
        s2_3 = w2_03 * l1_0 + w2_13 * l1_1 + w2_23 * l1_2 + w2_33 * l1_3
        t2_3 = b2_3 + w2_03 * m1_0 + w2_13 * m1_1 + w2_23 * m1_2 + w2_33 * m1_3
        pieces2[0] = start1
        count2 = 1
        first = x[start1]
        last = x[end1 - 1]
        at2_0 = start1
        rise2_0 = not s2_0 * first + t2_0 <= 0.0
        if rise2_0 != (not s2_0 * last + t2_0 <= 0.0):
            at2_0 = crossing(s2_0, t2_0, x, start1, end1 - 1, ranks)
            rise2_0 = not rise2_0
            count2 = insert(pieces2, count2, at2_0)
        at2_1 = start1
        rise2_1 = not s2_1 * first + t2_1 <= 0.0
        if rise2_1 != (not s2_1 * last + t2_1 <= 0.0):
            at2_1 = crossing(s2_1, t2_1, x, start1, end1 - 1, ranks)
            rise2_1 = not rise2_1
            count2 = insert(pieces2, count2, at2_1)
        at2_2 = start1
        rise2_2 = not s2_2 * first + t2_2 <= 0.0
        if rise2_2 != (not s2_2 * last + t2_2 <= 0.0):
            at2_2 = crossing(s2_2, t2_2, x, start1, end1 - 1, ranks)
            rise2_2 = not rise2_2
            count2 = insert(pieces2, count2, at2_2)
        at2_3 = start1
        rise2_3 = not s2_3 * first + t2_3 <= 0.0
        if rise2_3 != (not s2_3 * last + t2_3 <= 0.0):
            at2_3 = crossing(s2_3, t2_3, x, start1, end1 - 1, ranks)
            rise2_3 = not rise2_3
            count2 = insert(pieces2, count2, at2_3)
        pieces2[count2] = end1
        e2_00 = 0.0
        f2_00 = 0.0
        e2_10 = 0.0
        f2_10 = 0.0
        e2_20 = 0.0
        f2_20 = 0.0
        e2_30 = 0.0
        f2_30 = 0.0
        for piece2 in range(count2):
            start2 = pieces2[piece2]
            end2 = pieces2[piece2 + 1]
            if start2 == end2:
                continue
            on2_0 = (start2 >= at2_0) == rise2_0
            l2_0 = s2_0 if on2_0 else 0.0
            m2_0 = t2_0 if on2_0 else 0.0
            on2_1 = (start2 >= at2_1) == rise2_1
            l2_1 = s2_1 if on2_1 else 0.0
            m2_1 = t2_1 if on2_1 else 0.0
            on2_2 = (start2 >= at2_2) == rise2_2
            l2_2 = s2_2 if on2_2 else 0.0
            m2_2 = t2_2 if on2_2 else 0.0
            on2_3 = (start2 >= at2_3) == rise2_3
            l2_3 = s2_3 if on2_3 else 0.0
            m2_3 = t2_3 if on2_3 else 0.0
            s3_0 = w3_00 * l2_0 + w3_10 * l2_1 + w3_20 * l2_2 + w3_30 * l2_3
            t3_0 = b3_0 + w3_00 * m2_0 + w3_10 * m2_1 + w3_20 * m2_2 + w3_30 * m2_3
            if by_sums:
                total, moment = residual_sums(sums, start2, end2, s3_0, t3_0, 0)
            else:
                value, total, moment = residual_losses(
                    x, y0, start2, end2, s3_0, t3_0, loss
                )
                result += value
            g_32 += total
            e2_00 += total if on2_0 else 0.0
            f2_00 += moment if on2_0 else 0.0
            e2_10 += total if on2_1 else 0.0
            f2_10 += moment if on2_1 else 0.0
            e2_20 += total if on2_2 else 0.0
            f2_20 += moment if on2_2 else 0.0
            e2_30 += total if on2_3 else 0.0
            f2_30 += moment if on2_3 else 0.0
        g_28 += s2_0 * f2_00 + t2_0 * e2_00
        e2_0 = w3_00 * e2_00
        f2_0 = w3_00 * f2_00
        g_29 += s2_1 * f2_10 + t2_1 * e2_10
        e2_1 = w3_10 * e2_10
        f2_1 = w3_10 * f2_10
        g_30 += s2_2 * f2_20 + t2_2 * e2_20
        e2_2 = w3_20 * e2_20
        f2_2 = w3_20 * f2_20
        g_31 += s2_3 * f2_30 + t2_3 * e2_30
        e2_3 = w3_30 * e2_30
        f2_3 = w3_30 * f2_30
        if gradient.size > 0:
            g_24 += e2_0
            g_25 += e2_1
            g_26 += e2_2
            g_27 += e2_3
            g_8 += l1_0 * f2_0 + m1_0 * e2_0
            g_9 += l1_0 * f2_1 + m1_0 * e2_1
            g_10 += l1_0 * f2_2 + m1_0 * e2_2
            g_11 += l1_0 * f2_3 + m1_0 * e2_3
            if on1_0:
                e1_0 += w2_00 * e2_0 + w2_01 * e2_1 + w2_02 * e2_2 + w2_03 * e2_3
                f1_0 += w2_00 * f2_0 + w2_01 * f2_1 + w2_02 * f2_2 + w2_03 * f2_3
            g_12 += l1_1 * f2_0 + m1_1 * e2_0
            g_13 += l1_1 * f2_1 + m1_1 * e2_1
            g_14 += l1_1 * f2_2 + m1_1 * e2_2
            g_15 += l1_1 * f2_3 + m1_1 * e2_3
            if on1_1:
                e1_1 += w2_10 * e2_0 + w2_11 * e2_1 + w2_12 * e2_2 + w2_13 * e2_3
                f1_1 += w2_10 * f2_0 + w2_11 * f2_1 + w2_12 * f2_2 + w2_13 * f2_3
            g_16 += l1_2 * f2_0 + m1_2 * e2_0
            g_17 += l1_2 * f2_1 + m1_2 * e2_1
            g_18 += l1_2 * f2_2 + m1_2 * e2_2
            g_19 += l1_2 * f2_3 + m1_2 * e2_3
            if on1_2:
                e1_2 += w2_20 * e2_0 + w2_21 * e2_1 + w2_22 * e2_2 + w2_23 * e2_3
                f1_2 += w2_20 * f2_0 + w2_21 * f2_1 + w2_22 * f2_2 + w2_23 * f2_3
            g_20 += l1_3 * f2_0 + m1_3 * e2_0
            g_21 += l1_3 * f2_1 + m1_3 * e2_1
            g_22 += l1_3 * f2_2 + m1_3 * e2_2
            g_23 += l1_3 * f2_3 + m1_3 * e2_3
            if on1_3:
                e1_3 += w2_30 * e2_0 + w2_31 * e2_1 + w2_32 * e2_2 + w2_33 * e2_3
                f1_3 += w2_30 * f2_0 + w2_31 * f2_1 + w2_32 * f2_2 + w2_33 * f2_3
    g_0 += f1_0
    g_4 += e1_0
    g_1 += f1_1
    g_5 += e1_1
    g_2 += f1_2
    g_6 += e1_2
    g_3 += f1_3
    g_7 += e1_3
    if gradient.size > 0:
        gradient[0] = g_0 / samples
        gradient[1] = g_1 / samples
        gradient[2] = g_2 / samples
        gradient[3] = g_3 / samples
        gradient[4] = g_4 / samples
        gradient[5] = g_5 / samples
        gradient[6] = g_6 / samples
        gradient[7] = g_7 / samples
        gradient[8] = g_8 / samples
        gradient[9] = g_9 / samples
        gradient[10] = g_10 / samples
        gradient[11] = g_11 / samples
        gradient[12] = g_12 / samples
        gradient[13] = g_13 / samples
        gradient[14] = g_14 / samples
        gradient[15] = g_15 / samples
        gradient[16] = g_16 / samples
        gradient[17] = g_17 / samples
        gradient[18] = g_18 / samples
        gradient[19] = g_19 / samples
        gradient[20] = g_20 / samples
        gradient[21] = g_21 / samples
        gradient[22] = g_22 / samples
        gradient[23] = g_23 / samples
        gradient[24] = g_24 / samples
        gradient[25] = g_25 / samples
        gradient[26] = g_26 / samples
        gradient[27] = g_27 / samples
        gradient[28] = g_28 / samples
        gradient[29] = g_29 / samples
        gradient[30] = g_30 / samples
        gradient[31] = g_31 / samples
        gradient[32] = g_32 / samples
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
        for p in range(theta.size):
            g = gradient[p]
            mean_square[p] = decay * mean_square[p] + (1.0 - decay) * g * g
            theta[p] -= rate * g / (math.sqrt(mean_square[p]) + epsilon)
        step += 1


# -- The loss of many networks --------------------------------------------------------------------


@kernel
def mean_losses(thetas, layers, loss, X, Y, ranks, lines, cuts, turns, losses):
    """losses[q] = L(X, thetas[q]) for thetas (T, P): γ on the points of a line, equation (2)."""
    sums = lines[0][:0]
    for q in range(thetas.shape[0]):
        none = thetas[q][:0]
        losses[q] = mean_loss(thetas[q], layers, loss, X, Y, ranks, sums, lines, cuts, turns, none)
