"""`enclosure` for a 1-4-4-1 ReLU network with biases. Written by `specialise`: edit that.

All but `enclose` and `total_loss` is `enclosure`'s own text; names and shapes are explained there.
"""

import math

import numpy as np

from nconvex.jit import careful_kernel as kernel
from nconvex.jit import careful_part as part
from nconvex.jit import part as sum_part

#: Samples a tile: a longer one repays the cost of beginning a pass over it, a shorter one keeps its
#: rows in the second-level cache, of which ROOM bytes are used. Never fewer than SHORT_TILE.
TILE, SHORT_TILE, ROOM = 512, 256, 2**18

IDENTITY, RELU, SIGMOID, TANH = range(4)
MSE, MAE, HUBER, LOG_COSH = range(4)
HUBER_DELTA = 0.1
LOG_2 = math.log(2.0)

#: What is known of a unit on a tile: zero throughout, a polynomial, or a polynomial with a radius.
OFF, EXACT, LOOSE = range(3)

#: Rows of the workspace that are not a unit's; the first unit's are at FIRST.
LOW, HIGH, SHIFT, EXTRA, FIRST = range(5)
SLACK, MASK, TARGET = SHIFT, EXTRA, LOW

#: Largest |φ''|: 4/(3√3) = 0.7698 for tanh, √3/18 = 0.0962 for sigmoid, rounded upwards.
TANH_BEND = 0.77
SIGMOID_BEND = 0.0963

#: Added to the computed largest |φ''|, which errs by less than 64 u = 7.2e-15: times a long range's
#: square that would not be small.
BEND_ERROR = 1e-14

#: Intervals of t are not halved below this: their ends stay exact, and nothing is gained any more.
SHORTEST = 2.0**-40

#: Open intervals that the search can hold: one more for each halving of one of two.
STACK = 48

#: Pieces that a polynomial is cut into to bound it.
PIECES = 8

#: A sample is settled if its bound is off by less than this share of what the bracket may be wide.
NEGLIGIBLE = 1.0 / 32.0


@sum_part
def total(rows, x, width):
    """Sum of row x."""
    result = 0.0
    for n in range(width):
        result += rows[x, n]
    return result


@sum_part
def dot(rows, x, y, width):
    """Sum of row x times row y."""
    result = 0.0
    for n in range(width):
        result += rows[x, n] * rows[y, n]
    return result


@part
def lowest_and_highest(rows, first, degree, width):
    """Rows LOW and HIGH = the smallest and the largest coefficient, less or plus the radius."""
    radius = first + degree + 1
    for n in range(width):
        rows[LOW, n] = math.inf
        rows[HIGH, n] = -math.inf
    for k in range(first, radius):
        for n in range(width):
            low = rows[k, n] - rows[radius, n]
            high = rows[k, n] + rows[radius, n]
            rows[LOW, n] = rows[LOW, n] if rows[LOW, n] < low else low
            rows[HIGH, n] = rows[HIGH, n] if rows[HIGH, n] > high else high


@part
def relu_line(lo, hi):
    """The line that replaces max(z, 0) on [lo, hi]: λ, and μ = e."""
    slope = hi / (hi - lo)
    slope = 1.0 if lo >= 0.0 else slope
    slope = 0.0 if hi <= 0.0 else slope
    half = -0.5 * slope * lo
    return slope, (0.0 if lo >= 0.0 else half)


@part
def enclose(
    theta_a, theta_b, layers, X, members, width, rows, weights, sources, known
):
    """As in `enclosure`, for a 1-4-4-1 ReLU network with biases."""
    count = members.size
    flat = rows.ravel()
    for n in range(count):
        flat[2048 + n] = X[0, members[n]]
    for n in range(count, width):
        flat[2048 + n] = flat[2048 + count - 1]
    u_00_0 = theta_a[0]
    v_00_1 = theta_b[0]
    u_b0_0 = theta_a[4]
    v_b0_1 = theta_b[4]
    for n in range(width):
        x0_0 = flat[2048 + n]
        c0 = u_b0_0 + u_00_0 * x0_0
        c1 = v_b0_1 + v_00_1 * x0_0
        radius = 0.0
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[2560 + n] = slope * c0 + shift
        flat[3072 + n] = slope * c1 + shift
        flat[3584 + n] = slope * radius + shift
    u_01_0 = theta_a[1]
    v_01_1 = theta_b[1]
    u_b1_0 = theta_a[5]
    v_b1_1 = theta_b[5]
    for n in range(width):
        x0_0 = flat[2048 + n]
        c0 = u_b1_0 + u_01_0 * x0_0
        c1 = v_b1_1 + v_01_1 * x0_0
        radius = 0.0
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[4096 + n] = slope * c0 + shift
        flat[4608 + n] = slope * c1 + shift
        flat[5120 + n] = slope * radius + shift
    u_02_0 = theta_a[2]
    v_02_1 = theta_b[2]
    u_b2_0 = theta_a[6]
    v_b2_1 = theta_b[6]
    for n in range(width):
        x0_0 = flat[2048 + n]
        c0 = u_b2_0 + u_02_0 * x0_0
        c1 = v_b2_1 + v_02_1 * x0_0
        radius = 0.0
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[5632 + n] = slope * c0 + shift
        flat[6144 + n] = slope * c1 + shift
        flat[6656 + n] = slope * radius + shift
    u_03_0 = theta_a[3]
    v_03_1 = theta_b[3]
    u_b3_0 = theta_a[7]
    v_b3_1 = theta_b[7]
    for n in range(width):
        x0_0 = flat[2048 + n]
        c0 = u_b3_0 + u_03_0 * x0_0
        c1 = v_b3_1 + v_03_1 * x0_0
        radius = 0.0
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[7168 + n] = slope * c0 + shift
        flat[7680 + n] = slope * c1 + shift
        flat[8192 + n] = slope * radius + shift
    u_00_0 = theta_a[8]
    u_00_1 = (1.0 - 1 / 2) * theta_a[8]
    v_00_1 = (1 / 2) * theta_b[8]
    v_00_2 = theta_b[8]
    m_00 = max(abs(theta_a[8]), abs(theta_b[8]))
    u_10_0 = theta_a[12]
    u_10_1 = (1.0 - 1 / 2) * theta_a[12]
    v_10_1 = (1 / 2) * theta_b[12]
    v_10_2 = theta_b[12]
    m_10 = max(abs(theta_a[12]), abs(theta_b[12]))
    u_20_0 = theta_a[16]
    u_20_1 = (1.0 - 1 / 2) * theta_a[16]
    v_20_1 = (1 / 2) * theta_b[16]
    v_20_2 = theta_b[16]
    m_20 = max(abs(theta_a[16]), abs(theta_b[16]))
    u_30_0 = theta_a[20]
    u_30_1 = (1.0 - 1 / 2) * theta_a[20]
    v_30_1 = (1 / 2) * theta_b[20]
    v_30_2 = theta_b[20]
    m_30 = max(abs(theta_a[20]), abs(theta_b[20]))
    u_b0_0 = theta_a[24]
    u_b0_1 = (1.0 - 1 / 2) * theta_a[24]
    v_b0_1 = (1 / 2) * theta_b[24]
    v_b0_2 = theta_b[24]
    for n in range(width):
        x0_0 = flat[2560 + n]
        x0_1 = flat[3072 + n]
        x1_0 = flat[4096 + n]
        x1_1 = flat[4608 + n]
        x2_0 = flat[5632 + n]
        x2_1 = flat[6144 + n]
        x3_0 = flat[7168 + n]
        x3_1 = flat[7680 + n]
        c0 = u_b0_0 + u_00_0 * x0_0 + u_10_0 * x1_0 + u_20_0 * x2_0 + u_30_0 * x3_0
        c1 = (u_b0_1 + v_b0_1) + u_00_1 * x0_1 + v_00_1 * x0_0 + u_10_1 * x1_1 + v_10_1 * x1_0 + u_20_1 * x2_1 + v_20_1 * x2_0 + u_30_1 * x3_1 + v_30_1 * x3_0
        c2 = v_b0_2 + v_00_2 * x0_1 + v_10_2 * x1_1 + v_20_2 * x2_1 + v_30_2 * x3_1
        radius = m_00 * flat[3584 + n] + m_10 * flat[5120 + n] + m_20 * flat[6656 + n] + m_30 * flat[8192 + n]
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        lo = c2 if c2 < lo else lo
        hi = c2 if c2 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[8704 + n] = slope * c0 + shift
        flat[9216 + n] = slope * c1 + shift
        flat[9728 + n] = slope * c2 + shift
        flat[10240 + n] = slope * radius + shift
    u_01_0 = theta_a[9]
    u_01_1 = (1.0 - 1 / 2) * theta_a[9]
    v_01_1 = (1 / 2) * theta_b[9]
    v_01_2 = theta_b[9]
    m_01 = max(abs(theta_a[9]), abs(theta_b[9]))
    u_11_0 = theta_a[13]
    u_11_1 = (1.0 - 1 / 2) * theta_a[13]
    v_11_1 = (1 / 2) * theta_b[13]
    v_11_2 = theta_b[13]
    m_11 = max(abs(theta_a[13]), abs(theta_b[13]))
    u_21_0 = theta_a[17]
    u_21_1 = (1.0 - 1 / 2) * theta_a[17]
    v_21_1 = (1 / 2) * theta_b[17]
    v_21_2 = theta_b[17]
    m_21 = max(abs(theta_a[17]), abs(theta_b[17]))
    u_31_0 = theta_a[21]
    u_31_1 = (1.0 - 1 / 2) * theta_a[21]
    v_31_1 = (1 / 2) * theta_b[21]
    v_31_2 = theta_b[21]
    m_31 = max(abs(theta_a[21]), abs(theta_b[21]))
    u_b1_0 = theta_a[25]
    u_b1_1 = (1.0 - 1 / 2) * theta_a[25]
    v_b1_1 = (1 / 2) * theta_b[25]
    v_b1_2 = theta_b[25]
    for n in range(width):
        x0_0 = flat[2560 + n]
        x0_1 = flat[3072 + n]
        x1_0 = flat[4096 + n]
        x1_1 = flat[4608 + n]
        x2_0 = flat[5632 + n]
        x2_1 = flat[6144 + n]
        x3_0 = flat[7168 + n]
        x3_1 = flat[7680 + n]
        c0 = u_b1_0 + u_01_0 * x0_0 + u_11_0 * x1_0 + u_21_0 * x2_0 + u_31_0 * x3_0
        c1 = (u_b1_1 + v_b1_1) + u_01_1 * x0_1 + v_01_1 * x0_0 + u_11_1 * x1_1 + v_11_1 * x1_0 + u_21_1 * x2_1 + v_21_1 * x2_0 + u_31_1 * x3_1 + v_31_1 * x3_0
        c2 = v_b1_2 + v_01_2 * x0_1 + v_11_2 * x1_1 + v_21_2 * x2_1 + v_31_2 * x3_1
        radius = m_01 * flat[3584 + n] + m_11 * flat[5120 + n] + m_21 * flat[6656 + n] + m_31 * flat[8192 + n]
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        lo = c2 if c2 < lo else lo
        hi = c2 if c2 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[10752 + n] = slope * c0 + shift
        flat[11264 + n] = slope * c1 + shift
        flat[11776 + n] = slope * c2 + shift
        flat[12288 + n] = slope * radius + shift
    u_02_0 = theta_a[10]
    u_02_1 = (1.0 - 1 / 2) * theta_a[10]
    v_02_1 = (1 / 2) * theta_b[10]
    v_02_2 = theta_b[10]
    m_02 = max(abs(theta_a[10]), abs(theta_b[10]))
    u_12_0 = theta_a[14]
    u_12_1 = (1.0 - 1 / 2) * theta_a[14]
    v_12_1 = (1 / 2) * theta_b[14]
    v_12_2 = theta_b[14]
    m_12 = max(abs(theta_a[14]), abs(theta_b[14]))
    u_22_0 = theta_a[18]
    u_22_1 = (1.0 - 1 / 2) * theta_a[18]
    v_22_1 = (1 / 2) * theta_b[18]
    v_22_2 = theta_b[18]
    m_22 = max(abs(theta_a[18]), abs(theta_b[18]))
    u_32_0 = theta_a[22]
    u_32_1 = (1.0 - 1 / 2) * theta_a[22]
    v_32_1 = (1 / 2) * theta_b[22]
    v_32_2 = theta_b[22]
    m_32 = max(abs(theta_a[22]), abs(theta_b[22]))
    u_b2_0 = theta_a[26]
    u_b2_1 = (1.0 - 1 / 2) * theta_a[26]
    v_b2_1 = (1 / 2) * theta_b[26]
    v_b2_2 = theta_b[26]
    for n in range(width):
        x0_0 = flat[2560 + n]
        x0_1 = flat[3072 + n]
        x1_0 = flat[4096 + n]
        x1_1 = flat[4608 + n]
        x2_0 = flat[5632 + n]
        x2_1 = flat[6144 + n]
        x3_0 = flat[7168 + n]
        x3_1 = flat[7680 + n]
        c0 = u_b2_0 + u_02_0 * x0_0 + u_12_0 * x1_0 + u_22_0 * x2_0 + u_32_0 * x3_0
        c1 = (u_b2_1 + v_b2_1) + u_02_1 * x0_1 + v_02_1 * x0_0 + u_12_1 * x1_1 + v_12_1 * x1_0 + u_22_1 * x2_1 + v_22_1 * x2_0 + u_32_1 * x3_1 + v_32_1 * x3_0
        c2 = v_b2_2 + v_02_2 * x0_1 + v_12_2 * x1_1 + v_22_2 * x2_1 + v_32_2 * x3_1
        radius = m_02 * flat[3584 + n] + m_12 * flat[5120 + n] + m_22 * flat[6656 + n] + m_32 * flat[8192 + n]
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        lo = c2 if c2 < lo else lo
        hi = c2 if c2 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[12800 + n] = slope * c0 + shift
        flat[13312 + n] = slope * c1 + shift
        flat[13824 + n] = slope * c2 + shift
        flat[14336 + n] = slope * radius + shift
    u_03_0 = theta_a[11]
    u_03_1 = (1.0 - 1 / 2) * theta_a[11]
    v_03_1 = (1 / 2) * theta_b[11]
    v_03_2 = theta_b[11]
    m_03 = max(abs(theta_a[11]), abs(theta_b[11]))
    u_13_0 = theta_a[15]
    u_13_1 = (1.0 - 1 / 2) * theta_a[15]
    v_13_1 = (1 / 2) * theta_b[15]
    v_13_2 = theta_b[15]
    m_13 = max(abs(theta_a[15]), abs(theta_b[15]))
    u_23_0 = theta_a[19]
    u_23_1 = (1.0 - 1 / 2) * theta_a[19]
    v_23_1 = (1 / 2) * theta_b[19]
    v_23_2 = theta_b[19]
    m_23 = max(abs(theta_a[19]), abs(theta_b[19]))
    u_33_0 = theta_a[23]
    u_33_1 = (1.0 - 1 / 2) * theta_a[23]
    v_33_1 = (1 / 2) * theta_b[23]
    v_33_2 = theta_b[23]
    m_33 = max(abs(theta_a[23]), abs(theta_b[23]))
    u_b3_0 = theta_a[27]
    u_b3_1 = (1.0 - 1 / 2) * theta_a[27]
    v_b3_1 = (1 / 2) * theta_b[27]
    v_b3_2 = theta_b[27]
    for n in range(width):
        x0_0 = flat[2560 + n]
        x0_1 = flat[3072 + n]
        x1_0 = flat[4096 + n]
        x1_1 = flat[4608 + n]
        x2_0 = flat[5632 + n]
        x2_1 = flat[6144 + n]
        x3_0 = flat[7168 + n]
        x3_1 = flat[7680 + n]
        c0 = u_b3_0 + u_03_0 * x0_0 + u_13_0 * x1_0 + u_23_0 * x2_0 + u_33_0 * x3_0
        c1 = (u_b3_1 + v_b3_1) + u_03_1 * x0_1 + v_03_1 * x0_0 + u_13_1 * x1_1 + v_13_1 * x1_0 + u_23_1 * x2_1 + v_23_1 * x2_0 + u_33_1 * x3_1 + v_33_1 * x3_0
        c2 = v_b3_2 + v_03_2 * x0_1 + v_13_2 * x1_1 + v_23_2 * x2_1 + v_33_2 * x3_1
        radius = m_03 * flat[3584 + n] + m_13 * flat[5120 + n] + m_23 * flat[6656 + n] + m_33 * flat[8192 + n]
        lo = c0
        hi = c0
        lo = c1 if c1 < lo else lo
        hi = c1 if c1 > hi else hi
        lo = c2 if c2 < lo else lo
        hi = c2 if c2 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[14848 + n] = slope * c0 + shift
        flat[15360 + n] = slope * c1 + shift
        flat[15872 + n] = slope * c2 + shift
        flat[16384 + n] = slope * radius + shift
    u_00_0 = theta_a[28]
    u_00_1 = (1.0 - 1 / 3) * theta_a[28]
    v_00_1 = (1 / 3) * theta_b[28]
    u_00_2 = (1.0 - 2 / 3) * theta_a[28]
    v_00_2 = (2 / 3) * theta_b[28]
    v_00_3 = theta_b[28]
    m_00 = max(abs(theta_a[28]), abs(theta_b[28]))
    u_10_0 = theta_a[29]
    u_10_1 = (1.0 - 1 / 3) * theta_a[29]
    v_10_1 = (1 / 3) * theta_b[29]
    u_10_2 = (1.0 - 2 / 3) * theta_a[29]
    v_10_2 = (2 / 3) * theta_b[29]
    v_10_3 = theta_b[29]
    m_10 = max(abs(theta_a[29]), abs(theta_b[29]))
    u_20_0 = theta_a[30]
    u_20_1 = (1.0 - 1 / 3) * theta_a[30]
    v_20_1 = (1 / 3) * theta_b[30]
    u_20_2 = (1.0 - 2 / 3) * theta_a[30]
    v_20_2 = (2 / 3) * theta_b[30]
    v_20_3 = theta_b[30]
    m_20 = max(abs(theta_a[30]), abs(theta_b[30]))
    u_30_0 = theta_a[31]
    u_30_1 = (1.0 - 1 / 3) * theta_a[31]
    v_30_1 = (1 / 3) * theta_b[31]
    u_30_2 = (1.0 - 2 / 3) * theta_a[31]
    v_30_2 = (2 / 3) * theta_b[31]
    v_30_3 = theta_b[31]
    m_30 = max(abs(theta_a[31]), abs(theta_b[31]))
    u_b0_0 = theta_a[32]
    u_b0_1 = (1.0 - 1 / 3) * theta_a[32]
    v_b0_1 = (1 / 3) * theta_b[32]
    u_b0_2 = (1.0 - 2 / 3) * theta_a[32]
    v_b0_2 = (2 / 3) * theta_b[32]
    v_b0_3 = theta_b[32]
    for n in range(width):
        x0_0 = flat[8704 + n]
        x0_1 = flat[9216 + n]
        x1_0 = flat[10752 + n]
        x1_1 = flat[11264 + n]
        x2_0 = flat[12800 + n]
        x2_1 = flat[13312 + n]
        x3_0 = flat[14848 + n]
        x3_1 = flat[15360 + n]
        c0 = u_b0_0 + u_00_0 * x0_0 + u_10_0 * x1_0 + u_20_0 * x2_0 + u_30_0 * x3_0
        c1 = (u_b0_1 + v_b0_1) + u_00_1 * x0_1 + v_00_1 * x0_0 + u_10_1 * x1_1 + v_10_1 * x1_0 + u_20_1 * x2_1 + v_20_1 * x2_0 + u_30_1 * x3_1 + v_30_1 * x3_0
        flat[16896 + n] = c0
        flat[17408 + n] = c1
    for n in range(width):
        x0_1 = flat[9216 + n]
        x0_2 = flat[9728 + n]
        x1_1 = flat[11264 + n]
        x1_2 = flat[11776 + n]
        x2_1 = flat[13312 + n]
        x2_2 = flat[13824 + n]
        x3_1 = flat[15360 + n]
        x3_2 = flat[15872 + n]
        c2 = (u_b0_2 + v_b0_2) + u_00_2 * x0_2 + v_00_2 * x0_1 + u_10_2 * x1_2 + v_10_2 * x1_1 + u_20_2 * x2_2 + v_20_2 * x2_1 + u_30_2 * x3_2 + v_30_2 * x3_1
        c3 = v_b0_3 + v_00_3 * x0_2 + v_10_3 * x1_2 + v_20_3 * x2_2 + v_30_3 * x3_2
        radius = m_00 * flat[10240 + n] + m_10 * flat[12288 + n] + m_20 * flat[14336 + n] + m_30 * flat[16384 + n]
        flat[17920 + n] = c2
        flat[18432 + n] = c3
        flat[18944 + n] = radius
    return 33


# -- The loss -------------------------------------------------------------------------------------


@part
def convex_loss(r, loss):
    """The loss of one residual r >= 0."""
    if loss == MAE:
        return r
    if loss == HUBER:
        return HUBER_DELTA * (r - 0.5 * HUBER_DELTA) if r > HUBER_DELTA else 0.5 * r * r
    return r + math.log1p(math.exp(-2.0 * r)) - LOG_2


@part
def subtract_targets(rows, first, degree, Y, j, members):
    """c_k = c_k - y: coefficients of the residual."""
    count = members.size
    for n in range(count):
        rows[TARGET, n] = Y[j, members[n]]
    for k in range(first, first + degree + 1):
        for n in range(count):
            rows[k, n] -= rows[TARGET, n]


@part
def add_slack(rows, first, degree, loss, width):
    """Add to row SLACK how far the samples' bounds may be off; no bound depends on it.

    For the squared loss the radius is replaced by ρ (2 max|r_k| + ρ).
    """
    radius = first + degree + 1
    lowest_and_highest(rows, first, degree, width)
    for n in range(width):
        rho = rows[radius, n]
        lo = rows[LOW, n]
        hi = rows[HIGH, n]
        size = hi if hi > -lo else -lo  # max |r_k| + ρ
        spread = hi - lo
        crossing = -lo if -lo < hi else hi  # Jensen's loss at the kink of |r|
        crossing = crossing if crossing > 0.0 else 0.0
        if loss == MSE:
            rows[radius, n] = rho * (2.0 * size - rho)
            rows[SLACK, n] += rows[radius, n]
        elif loss == MAE:
            rows[SLACK, n] += rho + crossing
        else:
            rows[SLACK, n] += rho + 0.125 * spread * spread


@part
def add_loss(rows, first, degree, loss, width, some, shares, whole, settled):
    """Add one output's Bernstein coefficients, summed over a tile, to `whole` and `settled`.

    Row MASK is 1.0 for the samples that are settled; `some` tells whether there are any.
    """
    radius = first + degree + 1
    if loss == MSE:
        for i in range(degree + 1):
            if some:
                for n in range(width):
                    rows[LOW, n] = rows[MASK, n] * rows[first + i, n]
            for j in range(i, degree + 1):
                share = shares[i, j]
                whole[i + j] += share * dot(rows, first + i, first + j, width)
                if some:
                    settled[i + j] += share * dot(rows, LOW, first + j, width)
        whole_radius = total(rows, radius, width)
        settled_radius = dot(rows, MASK, radius, width) if some else 0.0
        for k in range(2 * degree + 1):
            whole[k] += whole_radius
            settled[k] += settled_radius
    else:
        for k in range(degree + 1):
            if loss == MAE:
                for n in range(width):
                    rows[LOW, n] = abs(rows[first + k, n]) + rows[radius, n]
            else:
                for n in range(width):
                    r = abs(rows[first + k, n]) + rows[radius, n]
                    rows[LOW, n] = convex_loss(r, loss)
            whole[k] += total(rows, LOW, width)
            if some:
                settled[k] += dot(rows, MASK, LOW, width)


@sum_part
def residual_losses(rows, y, Y, j, start, count, loss):
    """Sum of one output unit's losses over a tile; row y has its values."""
    result = 0.0
    if loss == MSE:
        for n in range(count):
            r = rows[y, n] - Y[j, start + n]
            result += r * r
    else:
        for n in range(count):
            result += convex_loss(abs(rows[y, n] - Y[j, start + n]), loss)
    return result


@sum_part
def total_loss(theta, layers, loss, X, Y, rows, weights, sources):
    """As in `enclosure`, for a 1-4-4-1 ReLU network with biases."""
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
    x0 = X[0]
    y0 = Y[0]
    result = 0.0
    if loss == MSE:
        for n in range(x0.size):
            a0_0 = x0[n]
            z0 = b1_0 + w1_00 * a0_0
            a1_0 = 0.0 if z0 < 0.0 else z0
            z1 = b1_1 + w1_01 * a0_0
            a1_1 = 0.0 if z1 < 0.0 else z1
            z2 = b1_2 + w1_02 * a0_0
            a1_2 = 0.0 if z2 < 0.0 else z2
            z3 = b1_3 + w1_03 * a0_0
            a1_3 = 0.0 if z3 < 0.0 else z3
            z0 = b2_0 + w2_00 * a1_0 + w2_10 * a1_1 + w2_20 * a1_2 + w2_30 * a1_3
            a2_0 = 0.0 if z0 < 0.0 else z0
            z1 = b2_1 + w2_01 * a1_0 + w2_11 * a1_1 + w2_21 * a1_2 + w2_31 * a1_3
            a2_1 = 0.0 if z1 < 0.0 else z1
            z2 = b2_2 + w2_02 * a1_0 + w2_12 * a1_1 + w2_22 * a1_2 + w2_32 * a1_3
            a2_2 = 0.0 if z2 < 0.0 else z2
            z3 = b2_3 + w2_03 * a1_0 + w2_13 * a1_1 + w2_23 * a1_2 + w2_33 * a1_3
            a2_3 = 0.0 if z3 < 0.0 else z3
            z0 = b3_0 + w3_00 * a2_0 + w3_10 * a2_1 + w3_20 * a2_2 + w3_30 * a2_3
            result += (z0 - y0[n]) ** 2
    else:
        for n in range(x0.size):
            a0_0 = x0[n]
            z0 = b1_0 + w1_00 * a0_0
            a1_0 = 0.0 if z0 < 0.0 else z0
            z1 = b1_1 + w1_01 * a0_0
            a1_1 = 0.0 if z1 < 0.0 else z1
            z2 = b1_2 + w1_02 * a0_0
            a1_2 = 0.0 if z2 < 0.0 else z2
            z3 = b1_3 + w1_03 * a0_0
            a1_3 = 0.0 if z3 < 0.0 else z3
            z0 = b2_0 + w2_00 * a1_0 + w2_10 * a1_1 + w2_20 * a1_2 + w2_30 * a1_3
            a2_0 = 0.0 if z0 < 0.0 else z0
            z1 = b2_1 + w2_01 * a1_0 + w2_11 * a1_1 + w2_21 * a1_2 + w2_31 * a1_3
            a2_1 = 0.0 if z1 < 0.0 else z1
            z2 = b2_2 + w2_02 * a1_0 + w2_12 * a1_1 + w2_22 * a1_2 + w2_32 * a1_3
            a2_2 = 0.0 if z2 < 0.0 else z2
            z3 = b2_3 + w2_03 * a1_0 + w2_13 * a1_1 + w2_23 * a1_2 + w2_33 * a1_3
            a2_3 = 0.0 if z3 < 0.0 else z3
            z0 = b3_0 + w3_00 * a2_0 + w3_10 * a2_1 + w3_20 * a2_2 + w3_30 * a2_3
            result += convex_loss(abs(z0 - y0[n]), loss)
    return result


# -- One scalar polynomial ------------------------------------------------------------------------


@part
def halve(c, left, right):
    """Cut a polynomial at s = 1/2: its Bernstein coefficients on both halves (de Casteljau)."""
    for k in range(c.size):
        right[k] = c[k]
    left[0] = c[0]
    for k in range(1, c.size):  # right's entry d - k is final in round k
        for i in range(c.size - k):
            right[i] = 0.5 * (right[i] + right[i + 1])
        left[k] = right[0]


@part
def bound_polynomial(c, work):
    """Bound max over s of sum c_k B_k(s) by the coefficients on PIECES pieces.

    Returns the bound and where it comes from: an end of a piece, or else its middle. work
    (2 PIECES, d + 1) is a heap of halves: those of row p are rows 2p and 2p + 1.
    """
    for k in range(c.size):
        work[1, k] = c[k]
    for row in range(1, PIECES):
        halve(work[row], work[2 * row], work[2 * row + 1])
    highest = -math.inf
    place = 0.0
    for piece in range(PIECES):
        for k in range(c.size):
            height = work[PIECES + piece, k]
            if not height <= highest:  # NaN comes through, as infinity
                highest = height if height == height else math.inf
                place = piece + (0.0 if k == 0 else (1.0 if k == c.size - 1 else 0.5))
    return highest, place / PIECES


# -- Branch and bound -----------------------------------------------------------------------------


@part
def interpolate(theta1, theta2, t, theta):
    """Equation (1)."""
    for p in range(theta.size):
        theta[p] = (1.0 - t) * theta1[p] + t * theta2[p]


@part
def swap(x, i, j):
    """Exchange two rows."""
    for k in range(x.shape[1]):
        x[i, k], x[j, k] = x[j, k], x[i, k]


@kernel
def bracket(
    theta1, theta2, L0, gap, sigma, splits, layers, loss, X, Y, shares,
    state, nodes, kept, spans, lists,
    rows, weights, sources, known, work, whole, settled, theta_a, theta_b,
):  # fmt: skip
    """Search for the maximum of γ until it is bracketed or `splits` intervals were halved.

    Bracketed: upper + σ <= lower + gap |lower|, with lower = γ(t*) - σ, and upper + σ <= L0 or
    lower > L0; but no tighter than 4 σ, which is all that can be asked for. L0 or gap may be
    infinite, and σ if nothing can be said. The search can go on from where it stopped.

    ``shares``  (d+1, d+1)  binom(d, i) binom(d, j) / binom(2d, i + j), twice that for i < j: what
                            the product of two coefficients weighs in the square's
    ``state``   (4,)        open intervals, t*, γ(t*), the highest bound of those that are closed
    ``nodes``   (STACK, 4)  of each open interval: bound (infinite at first), both ends, and where
                            γ is to be evaluated (NaN if it was)
    ``kept``    (STACK, D)  the polynomial of the samples that are settled on it
    ``spans``   (STACK, 2)  where in `lists` the others begin and end; lists[:N] has all (uint32:
                            an index that cannot be negative need not be checked for it)
    """
    samples = X.shape[1]
    size = kept.shape[1]
    top = int(state[0]) if sigma < math.inf else 0
    while top > 0:
        here = top - 1
        bound, left, right, peak = nodes[here, 0], nodes[here, 1], nodes[here, 2], nodes[here, 3]
        lower = state[2] - sigma
        allowed = lower
        if lower > -math.inf:
            allowed += max(gap * abs(lower), 4.0 * sigma) if gap < math.inf else math.inf
            if lower <= L0 < allowed:
                allowed = max(L0, lower + 4.0 * sigma)
            if bound + sigma <= allowed or right - left < SHORTEST or lower == math.inf:
                state[3] = max(state[3], bound)
                top -= 1
                continue
        if peak == peak:
            interpolate(theta1, theta2, peak, theta_a)
            height = total_loss(theta_a, layers, loss, X, Y, rows, weights, sources) / samples
            height = height if height == height else math.inf
            if height > state[2]:
                state[1] = peak
                state[2] = height
            nodes[here, 3] = math.nan
            continue
        if splits == 0:
            break
        splits -= 1
        begin, end = spans[here, 0], spans[here, 1]
        middle = 0.5 * (left + right)
        free = samples
        for place in range(top):
            free = max(free, spans[place, 1])
        halve(kept[here], work[0], work[1])
        for k in range(size):
            kept[here, k] = work[0, k]
            kept[here + 1, k] = work[1, k]
        degree = layers.shape[0]
        negligible = NEGLIGIBLE * (allowed - lower)
        for place in range(here, here + 2):  # one place for both, for much is inlined below
            a = left if place == here else middle
            b = middle if place == here else right
            interpolate(theta1, theta2, a, theta_a)
            interpolate(theta1, theta2, b, theta_b)
            for k in range(size):
                whole[k] = 0.0
                settled[k] = 0.0
            listed = free
            for tile in range(begin, end, rows.shape[1]):
                count = min(rows.shape[1], end - tile)
                members = lists[tile : tile + count]
                width = (count + 7) // 8 * 8
                output = enclose(
                    theta_a, theta_b, layers, X, members, width, rows, weights, sources, known
                )
                for n in range(count):
                    rows[SLACK, n] = 0.0
                for j in range(Y.shape[0]):
                    first = output + j * (degree + 2)
                    subtract_targets(rows, first, degree, Y, j, members)
                    add_slack(rows, first, degree, loss, count)
                unsettled = 0
                for n in range(count):
                    is_open = not rows[SLACK, n] <= negligible
                    rows[MASK, n] = 0.0 if is_open else 1.0
                    lists[listed + unsettled] = members[n]
                    unsettled += 1 if is_open else 0
                listed += unsettled
                for j in range(Y.shape[0]):
                    first = output + j * (degree + 2)
                    some = unsettled < count
                    add_loss(rows, first, degree, loss, count, some, shares, whole, settled)
            for k in range(size):
                whole[k] = kept[place, k] + whole[k] / samples
                kept[place, k] += settled[k] / samples
            nodes[place, 0], s = bound_polynomial(whole, work)
            nodes[place, 1] = a
            nodes[place, 2] = b
            nodes[place, 3] = a + (b - a) * s
            spans[place, 0] = free
            spans[place, 1] = listed
            free = listed
        if nodes[here, 0] > nodes[here + 1, 0]:  # the worse half is taken first
            swap(nodes, here, here + 1)
            swap(kept, here, here + 1)
            swap(spans, here, here + 1)
        top += 1
    state[0] = top
    return top == 0
