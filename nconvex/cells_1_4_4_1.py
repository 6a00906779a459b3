"""`cells` for a 1-4-4-1 ReLU network with biases. Written by `specialise`: edit that.

All but `enclose` and `total_loss` is `cells`'s own text; names and shapes are explained there.
"""

import math

from nconvex.jit import careful_kernel as kernel
from nconvex.jit import careful_part as part
from nconvex.jit import part as sum_part

#: Cells, or samples, a tile: its rows fit the first-level cache.
TILE = 64

RELU = 1

#: What is known of a unit on a tile: zero throughout, a polynomial, or a polynomial with a radius.
OFF, EXACT, LOOSE = range(3)

#: Rows of the workspace that are not a unit's; the first unit's are at FIRST.
LOW, HIGH, SHIFT, SLACK, MASK, FIRST = range(6)

#: Columns of `cells`: x at both ends, √n, v̄ and √S_vv; of each output: ȳ, S_vy/√S_vv and D.
LEFT, RIGHT, ROOT, PLACE, SPREAD, OUTPUTS = range(6)
MEAN, TILT, REST = range(3)

#: A search begins with the cells of this level of the tree, 0 being its root.
LEVEL = 2

#: As in `enclosure`, where they are explained.
SHORTEST = 2.0**-40
PIECES = 8
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


# -- The network ----------------------------------------------------------------------------------


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
    theta_a, theta_b, layers, cells, members, width, rows, weights, sources, known
):
    """As in `cells`, for a 1-4-4-1 ReLU network with biases."""
    count = members.size
    flat = rows.ravel()
    for n in range(count):
        flat[320 + n] = cells[members[n], LEFT]
    for n in range(count, width):
        flat[320 + n] = flat[320 + count - 1]
    for n in range(count):
        flat[384 + n] = cells[members[n], RIGHT]
    for n in range(count, width):
        flat[384 + n] = flat[384 + count - 1]
    u_00_0 = theta_a[0]
    v_00_1 = theta_b[0]
    u_b0_0 = theta_a[4]
    v_b0_1 = theta_b[4]
    for n in range(width):
        x0_0_0 = flat[320 + n]
        x0_0_1 = flat[384 + n]
        c0_0 = u_b0_0 + u_00_0 * x0_0_0
        c0_1 = u_b0_0 + u_00_0 * x0_0_1
        c1_0 = v_b0_1 + v_00_1 * x0_0_0
        c1_1 = v_b0_1 + v_00_1 * x0_0_1
        radius = 0.0
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[512 + n] = slope * c0_0 + shift
        flat[576 + n] = slope * c0_1 + shift
        flat[640 + n] = slope * c1_0 + shift
        flat[704 + n] = slope * c1_1 + shift
        flat[768 + n] = slope * radius + shift
    u_01_0 = theta_a[1]
    v_01_1 = theta_b[1]
    u_b1_0 = theta_a[5]
    v_b1_1 = theta_b[5]
    for n in range(width):
        x0_0_0 = flat[320 + n]
        x0_0_1 = flat[384 + n]
        c0_0 = u_b1_0 + u_01_0 * x0_0_0
        c0_1 = u_b1_0 + u_01_0 * x0_0_1
        c1_0 = v_b1_1 + v_01_1 * x0_0_0
        c1_1 = v_b1_1 + v_01_1 * x0_0_1
        radius = 0.0
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[832 + n] = slope * c0_0 + shift
        flat[896 + n] = slope * c0_1 + shift
        flat[960 + n] = slope * c1_0 + shift
        flat[1024 + n] = slope * c1_1 + shift
        flat[1088 + n] = slope * radius + shift
    u_02_0 = theta_a[2]
    v_02_1 = theta_b[2]
    u_b2_0 = theta_a[6]
    v_b2_1 = theta_b[6]
    for n in range(width):
        x0_0_0 = flat[320 + n]
        x0_0_1 = flat[384 + n]
        c0_0 = u_b2_0 + u_02_0 * x0_0_0
        c0_1 = u_b2_0 + u_02_0 * x0_0_1
        c1_0 = v_b2_1 + v_02_1 * x0_0_0
        c1_1 = v_b2_1 + v_02_1 * x0_0_1
        radius = 0.0
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[1152 + n] = slope * c0_0 + shift
        flat[1216 + n] = slope * c0_1 + shift
        flat[1280 + n] = slope * c1_0 + shift
        flat[1344 + n] = slope * c1_1 + shift
        flat[1408 + n] = slope * radius + shift
    u_03_0 = theta_a[3]
    v_03_1 = theta_b[3]
    u_b3_0 = theta_a[7]
    v_b3_1 = theta_b[7]
    for n in range(width):
        x0_0_0 = flat[320 + n]
        x0_0_1 = flat[384 + n]
        c0_0 = u_b3_0 + u_03_0 * x0_0_0
        c0_1 = u_b3_0 + u_03_0 * x0_0_1
        c1_0 = v_b3_1 + v_03_1 * x0_0_0
        c1_1 = v_b3_1 + v_03_1 * x0_0_1
        radius = 0.0
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[1472 + n] = slope * c0_0 + shift
        flat[1536 + n] = slope * c0_1 + shift
        flat[1600 + n] = slope * c1_0 + shift
        flat[1664 + n] = slope * c1_1 + shift
        flat[1728 + n] = slope * radius + shift
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
        x0_0_0 = flat[512 + n]
        x0_0_1 = flat[576 + n]
        x0_1_0 = flat[640 + n]
        x0_1_1 = flat[704 + n]
        x1_0_0 = flat[832 + n]
        x1_0_1 = flat[896 + n]
        x1_1_0 = flat[960 + n]
        x1_1_1 = flat[1024 + n]
        x2_0_0 = flat[1152 + n]
        x2_0_1 = flat[1216 + n]
        x2_1_0 = flat[1280 + n]
        x2_1_1 = flat[1344 + n]
        x3_0_0 = flat[1472 + n]
        x3_0_1 = flat[1536 + n]
        x3_1_0 = flat[1600 + n]
        x3_1_1 = flat[1664 + n]
        c0_0 = u_b0_0 + u_00_0 * x0_0_0 + u_10_0 * x1_0_0 + u_20_0 * x2_0_0 + u_30_0 * x3_0_0
        c0_1 = u_b0_0 + u_00_0 * x0_0_1 + u_10_0 * x1_0_1 + u_20_0 * x2_0_1 + u_30_0 * x3_0_1
        c1_0 = (u_b0_1 + v_b0_1) + u_00_1 * x0_1_0 + v_00_1 * x0_0_0 + u_10_1 * x1_1_0 + v_10_1 * x1_0_0 + u_20_1 * x2_1_0 + v_20_1 * x2_0_0 + u_30_1 * x3_1_0 + v_30_1 * x3_0_0
        c1_1 = (u_b0_1 + v_b0_1) + u_00_1 * x0_1_1 + v_00_1 * x0_0_1 + u_10_1 * x1_1_1 + v_10_1 * x1_0_1 + u_20_1 * x2_1_1 + v_20_1 * x2_0_1 + u_30_1 * x3_1_1 + v_30_1 * x3_0_1
        c2_0 = v_b0_2 + v_00_2 * x0_1_0 + v_10_2 * x1_1_0 + v_20_2 * x2_1_0 + v_30_2 * x3_1_0
        c2_1 = v_b0_2 + v_00_2 * x0_1_1 + v_10_2 * x1_1_1 + v_20_2 * x2_1_1 + v_30_2 * x3_1_1
        radius = m_00 * flat[768 + n] + m_10 * flat[1088 + n] + m_20 * flat[1408 + n] + m_30 * flat[1728 + n]
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        lo = c2_0 if c2_0 < lo else lo
        hi = c2_0 if c2_0 > hi else hi
        lo = c2_1 if c2_1 < lo else lo
        hi = c2_1 if c2_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[1792 + n] = slope * c0_0 + shift
        flat[1856 + n] = slope * c0_1 + shift
        flat[1920 + n] = slope * c1_0 + shift
        flat[1984 + n] = slope * c1_1 + shift
        flat[2048 + n] = slope * c2_0 + shift
        flat[2112 + n] = slope * c2_1 + shift
        flat[2176 + n] = slope * radius + shift
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
        x0_0_0 = flat[512 + n]
        x0_0_1 = flat[576 + n]
        x0_1_0 = flat[640 + n]
        x0_1_1 = flat[704 + n]
        x1_0_0 = flat[832 + n]
        x1_0_1 = flat[896 + n]
        x1_1_0 = flat[960 + n]
        x1_1_1 = flat[1024 + n]
        x2_0_0 = flat[1152 + n]
        x2_0_1 = flat[1216 + n]
        x2_1_0 = flat[1280 + n]
        x2_1_1 = flat[1344 + n]
        x3_0_0 = flat[1472 + n]
        x3_0_1 = flat[1536 + n]
        x3_1_0 = flat[1600 + n]
        x3_1_1 = flat[1664 + n]
        c0_0 = u_b1_0 + u_01_0 * x0_0_0 + u_11_0 * x1_0_0 + u_21_0 * x2_0_0 + u_31_0 * x3_0_0
        c0_1 = u_b1_0 + u_01_0 * x0_0_1 + u_11_0 * x1_0_1 + u_21_0 * x2_0_1 + u_31_0 * x3_0_1
        c1_0 = (u_b1_1 + v_b1_1) + u_01_1 * x0_1_0 + v_01_1 * x0_0_0 + u_11_1 * x1_1_0 + v_11_1 * x1_0_0 + u_21_1 * x2_1_0 + v_21_1 * x2_0_0 + u_31_1 * x3_1_0 + v_31_1 * x3_0_0
        c1_1 = (u_b1_1 + v_b1_1) + u_01_1 * x0_1_1 + v_01_1 * x0_0_1 + u_11_1 * x1_1_1 + v_11_1 * x1_0_1 + u_21_1 * x2_1_1 + v_21_1 * x2_0_1 + u_31_1 * x3_1_1 + v_31_1 * x3_0_1
        c2_0 = v_b1_2 + v_01_2 * x0_1_0 + v_11_2 * x1_1_0 + v_21_2 * x2_1_0 + v_31_2 * x3_1_0
        c2_1 = v_b1_2 + v_01_2 * x0_1_1 + v_11_2 * x1_1_1 + v_21_2 * x2_1_1 + v_31_2 * x3_1_1
        radius = m_01 * flat[768 + n] + m_11 * flat[1088 + n] + m_21 * flat[1408 + n] + m_31 * flat[1728 + n]
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        lo = c2_0 if c2_0 < lo else lo
        hi = c2_0 if c2_0 > hi else hi
        lo = c2_1 if c2_1 < lo else lo
        hi = c2_1 if c2_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[2240 + n] = slope * c0_0 + shift
        flat[2304 + n] = slope * c0_1 + shift
        flat[2368 + n] = slope * c1_0 + shift
        flat[2432 + n] = slope * c1_1 + shift
        flat[2496 + n] = slope * c2_0 + shift
        flat[2560 + n] = slope * c2_1 + shift
        flat[2624 + n] = slope * radius + shift
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
        x0_0_0 = flat[512 + n]
        x0_0_1 = flat[576 + n]
        x0_1_0 = flat[640 + n]
        x0_1_1 = flat[704 + n]
        x1_0_0 = flat[832 + n]
        x1_0_1 = flat[896 + n]
        x1_1_0 = flat[960 + n]
        x1_1_1 = flat[1024 + n]
        x2_0_0 = flat[1152 + n]
        x2_0_1 = flat[1216 + n]
        x2_1_0 = flat[1280 + n]
        x2_1_1 = flat[1344 + n]
        x3_0_0 = flat[1472 + n]
        x3_0_1 = flat[1536 + n]
        x3_1_0 = flat[1600 + n]
        x3_1_1 = flat[1664 + n]
        c0_0 = u_b2_0 + u_02_0 * x0_0_0 + u_12_0 * x1_0_0 + u_22_0 * x2_0_0 + u_32_0 * x3_0_0
        c0_1 = u_b2_0 + u_02_0 * x0_0_1 + u_12_0 * x1_0_1 + u_22_0 * x2_0_1 + u_32_0 * x3_0_1
        c1_0 = (u_b2_1 + v_b2_1) + u_02_1 * x0_1_0 + v_02_1 * x0_0_0 + u_12_1 * x1_1_0 + v_12_1 * x1_0_0 + u_22_1 * x2_1_0 + v_22_1 * x2_0_0 + u_32_1 * x3_1_0 + v_32_1 * x3_0_0
        c1_1 = (u_b2_1 + v_b2_1) + u_02_1 * x0_1_1 + v_02_1 * x0_0_1 + u_12_1 * x1_1_1 + v_12_1 * x1_0_1 + u_22_1 * x2_1_1 + v_22_1 * x2_0_1 + u_32_1 * x3_1_1 + v_32_1 * x3_0_1
        c2_0 = v_b2_2 + v_02_2 * x0_1_0 + v_12_2 * x1_1_0 + v_22_2 * x2_1_0 + v_32_2 * x3_1_0
        c2_1 = v_b2_2 + v_02_2 * x0_1_1 + v_12_2 * x1_1_1 + v_22_2 * x2_1_1 + v_32_2 * x3_1_1
        radius = m_02 * flat[768 + n] + m_12 * flat[1088 + n] + m_22 * flat[1408 + n] + m_32 * flat[1728 + n]
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        lo = c2_0 if c2_0 < lo else lo
        hi = c2_0 if c2_0 > hi else hi
        lo = c2_1 if c2_1 < lo else lo
        hi = c2_1 if c2_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[2688 + n] = slope * c0_0 + shift
        flat[2752 + n] = slope * c0_1 + shift
        flat[2816 + n] = slope * c1_0 + shift
        flat[2880 + n] = slope * c1_1 + shift
        flat[2944 + n] = slope * c2_0 + shift
        flat[3008 + n] = slope * c2_1 + shift
        flat[3072 + n] = slope * radius + shift
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
        x0_0_0 = flat[512 + n]
        x0_0_1 = flat[576 + n]
        x0_1_0 = flat[640 + n]
        x0_1_1 = flat[704 + n]
        x1_0_0 = flat[832 + n]
        x1_0_1 = flat[896 + n]
        x1_1_0 = flat[960 + n]
        x1_1_1 = flat[1024 + n]
        x2_0_0 = flat[1152 + n]
        x2_0_1 = flat[1216 + n]
        x2_1_0 = flat[1280 + n]
        x2_1_1 = flat[1344 + n]
        x3_0_0 = flat[1472 + n]
        x3_0_1 = flat[1536 + n]
        x3_1_0 = flat[1600 + n]
        x3_1_1 = flat[1664 + n]
        c0_0 = u_b3_0 + u_03_0 * x0_0_0 + u_13_0 * x1_0_0 + u_23_0 * x2_0_0 + u_33_0 * x3_0_0
        c0_1 = u_b3_0 + u_03_0 * x0_0_1 + u_13_0 * x1_0_1 + u_23_0 * x2_0_1 + u_33_0 * x3_0_1
        c1_0 = (u_b3_1 + v_b3_1) + u_03_1 * x0_1_0 + v_03_1 * x0_0_0 + u_13_1 * x1_1_0 + v_13_1 * x1_0_0 + u_23_1 * x2_1_0 + v_23_1 * x2_0_0 + u_33_1 * x3_1_0 + v_33_1 * x3_0_0
        c1_1 = (u_b3_1 + v_b3_1) + u_03_1 * x0_1_1 + v_03_1 * x0_0_1 + u_13_1 * x1_1_1 + v_13_1 * x1_0_1 + u_23_1 * x2_1_1 + v_23_1 * x2_0_1 + u_33_1 * x3_1_1 + v_33_1 * x3_0_1
        c2_0 = v_b3_2 + v_03_2 * x0_1_0 + v_13_2 * x1_1_0 + v_23_2 * x2_1_0 + v_33_2 * x3_1_0
        c2_1 = v_b3_2 + v_03_2 * x0_1_1 + v_13_2 * x1_1_1 + v_23_2 * x2_1_1 + v_33_2 * x3_1_1
        radius = m_03 * flat[768 + n] + m_13 * flat[1088 + n] + m_23 * flat[1408 + n] + m_33 * flat[1728 + n]
        lo = c0_0
        hi = c0_0
        lo = c0_1 if c0_1 < lo else lo
        hi = c0_1 if c0_1 > hi else hi
        lo = c1_0 if c1_0 < lo else lo
        hi = c1_0 if c1_0 > hi else hi
        lo = c1_1 if c1_1 < lo else lo
        hi = c1_1 if c1_1 > hi else hi
        lo = c2_0 if c2_0 < lo else lo
        hi = c2_0 if c2_0 > hi else hi
        lo = c2_1 if c2_1 < lo else lo
        hi = c2_1 if c2_1 > hi else hi
        slope, shift = relu_line(lo - radius, hi + radius)
        flat[3136 + n] = slope * c0_0 + shift
        flat[3200 + n] = slope * c0_1 + shift
        flat[3264 + n] = slope * c1_0 + shift
        flat[3328 + n] = slope * c1_1 + shift
        flat[3392 + n] = slope * c2_0 + shift
        flat[3456 + n] = slope * c2_1 + shift
        flat[3520 + n] = slope * radius + shift
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
        x0_0_0 = flat[1792 + n]
        x0_0_1 = flat[1856 + n]
        x0_1_0 = flat[1920 + n]
        x0_1_1 = flat[1984 + n]
        x1_0_0 = flat[2240 + n]
        x1_0_1 = flat[2304 + n]
        x1_1_0 = flat[2368 + n]
        x1_1_1 = flat[2432 + n]
        x2_0_0 = flat[2688 + n]
        x2_0_1 = flat[2752 + n]
        x2_1_0 = flat[2816 + n]
        x2_1_1 = flat[2880 + n]
        x3_0_0 = flat[3136 + n]
        x3_0_1 = flat[3200 + n]
        x3_1_0 = flat[3264 + n]
        x3_1_1 = flat[3328 + n]
        c0_0 = u_b0_0 + u_00_0 * x0_0_0 + u_10_0 * x1_0_0 + u_20_0 * x2_0_0 + u_30_0 * x3_0_0
        c0_1 = u_b0_0 + u_00_0 * x0_0_1 + u_10_0 * x1_0_1 + u_20_0 * x2_0_1 + u_30_0 * x3_0_1
        c1_0 = (u_b0_1 + v_b0_1) + u_00_1 * x0_1_0 + v_00_1 * x0_0_0 + u_10_1 * x1_1_0 + v_10_1 * x1_0_0 + u_20_1 * x2_1_0 + v_20_1 * x2_0_0 + u_30_1 * x3_1_0 + v_30_1 * x3_0_0
        c1_1 = (u_b0_1 + v_b0_1) + u_00_1 * x0_1_1 + v_00_1 * x0_0_1 + u_10_1 * x1_1_1 + v_10_1 * x1_0_1 + u_20_1 * x2_1_1 + v_20_1 * x2_0_1 + u_30_1 * x3_1_1 + v_30_1 * x3_0_1
        flat[3584 + n] = c0_0
        flat[3648 + n] = c0_1
        flat[3712 + n] = c1_0
        flat[3776 + n] = c1_1
    for n in range(width):
        x0_1_0 = flat[1920 + n]
        x0_1_1 = flat[1984 + n]
        x0_2_0 = flat[2048 + n]
        x0_2_1 = flat[2112 + n]
        x1_1_0 = flat[2368 + n]
        x1_1_1 = flat[2432 + n]
        x1_2_0 = flat[2496 + n]
        x1_2_1 = flat[2560 + n]
        x2_1_0 = flat[2816 + n]
        x2_1_1 = flat[2880 + n]
        x2_2_0 = flat[2944 + n]
        x2_2_1 = flat[3008 + n]
        x3_1_0 = flat[3264 + n]
        x3_1_1 = flat[3328 + n]
        x3_2_0 = flat[3392 + n]
        x3_2_1 = flat[3456 + n]
        c2_0 = (u_b0_2 + v_b0_2) + u_00_2 * x0_2_0 + v_00_2 * x0_1_0 + u_10_2 * x1_2_0 + v_10_2 * x1_1_0 + u_20_2 * x2_2_0 + v_20_2 * x2_1_0 + u_30_2 * x3_2_0 + v_30_2 * x3_1_0
        c2_1 = (u_b0_2 + v_b0_2) + u_00_2 * x0_2_1 + v_00_2 * x0_1_1 + u_10_2 * x1_2_1 + v_10_2 * x1_1_1 + u_20_2 * x2_2_1 + v_20_2 * x2_1_1 + u_30_2 * x3_2_1 + v_30_2 * x3_1_1
        c3_0 = v_b0_3 + v_00_3 * x0_2_0 + v_10_3 * x1_2_0 + v_20_3 * x2_2_0 + v_30_3 * x3_2_0
        c3_1 = v_b0_3 + v_00_3 * x0_2_1 + v_10_3 * x1_2_1 + v_20_3 * x2_2_1 + v_30_3 * x3_2_1
        radius = m_00 * flat[2176 + n] + m_10 * flat[2624 + n] + m_20 * flat[3072 + n] + m_30 * flat[3520 + n]
        flat[3840 + n] = c2_0
        flat[3904 + n] = c2_1
        flat[3968 + n] = c3_0
        flat[4032 + n] = c3_1
        flat[4096 + n] = radius
    return 56


# -- The loss -------------------------------------------------------------------------------------


@part
def meet_samples(rows, first, degree, cells, members, j, blur):
    """Turn an output's coefficients c_k and d_k into those of m and h, and its radius into slack.

    The slack is 2 ρ √n V + n ρ²; row SLACK is raised by it. To V² is added what rounding can have
    taken from it, n blur.
    """
    radius = first + 2 * degree + 2
    at = OUTPUTS + 3 * j
    for n in range(members.size):
        cell = members[n]
        root = cells[cell, ROOT]
        place = cells[cell, PLACE]
        spread = cells[cell, SPREAD]
        mean = cells[cell, at + MEAN]
        tilt = cells[cell, at + TILT]
        largest_m = 0.0
        largest_h = 0.0
        for k in range(first, radius, 2):
            c = rows[k, n]
            d = rows[k + 1, n]
            m = root * ((1.0 - place) * c + place * d - mean)
            h = spread * (d - c) - tilt
            rows[k, n] = m
            rows[k + 1, n] = h
            largest_m = max(largest_m, abs(m))
            largest_h = max(largest_h, abs(h))
        rest = cells[cell, at + REST]
        V = math.sqrt(largest_m * largest_m + largest_h * largest_h + rest + root * root * blur)
        rho = rows[radius, n]
        rows[radius, n] = root * rho * (2.0 * V + root * rho)
        rows[SLACK, n] += rows[radius, n]
        rows[radius, n] += rest


@part
def add_loss(rows, first, degree, width, some, shares, whole, settled):
    """Add one output's Bernstein coefficients, summed over a tile, to `whole` and `settled`.

    Row MASK is 1.0 for the cells that are settled; `some` tells whether there are any.
    """
    radius = first + 2 * degree + 2
    for i in range(degree + 1):
        for end in range(2):
            x = first + 2 * i + end
            if some:
                for n in range(width):
                    rows[LOW, n] = rows[MASK, n] * rows[x, n]
            for j in range(i, degree + 1):
                y = first + 2 * j + end
                whole[i + j] += shares[i, j] * dot(rows, x, y, width)
                if some:
                    settled[i + j] += shares[i, j] * dot(rows, LOW, y, width)
    whole_radius = total(rows, radius, width)
    settled_radius = dot(rows, MASK, radius, width) if some else 0.0
    for k in range(2 * degree + 1):
        whole[k] += whole_radius
        settled[k] += settled_radius


@sum_part
def total_loss(theta, layers, X, Y, rows, weights, sources):
    """As in `cells`, for a 1-4-4-1 ReLU network with biases."""
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
    theta1, theta2, L0, gap, sigma, blur, splits, layers, X, Y, cells, children, shares,
    state, nodes, kept, spans, lists,
    rows, weights, sources, known, work, whole, settled, theta_a, theta_b,
):  # fmt: skip
    """As in `enclosure`: search for the maximum of γ until it is bracketed.

    `blur` is what rounding can have taken from a squared residual. ``lists`` has cells instead of
    samples; lists[:spans[0, 1]] are those that the search begins with.
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
            height = total_loss(theta_a, layers, X, Y, rows, weights, sources) / samples
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
        free = 0
        for place in range(top):
            free = max(free, spans[place, 1])
        halve(kept[here], work[0], work[1])
        for k in range(size):
            kept[here, k] = work[0, k]
            kept[here + 1, k] = work[1, k]
        degree = layers.shape[0]
        stride = 2 * degree + 3
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
                    theta_a, theta_b, layers, cells, members, width, rows, weights, sources, known
                )
                for n in range(count):
                    rows[SLACK, n] = 0.0
                for j in range(Y.shape[0]):
                    meet_samples(rows, output + j * stride, degree, cells, members, j, blur)
                some = False
                for n in range(count):
                    rows[MASK, n] = 1.0
                    if rows[SLACK, n] <= negligible * cells[members[n], ROOT] ** 2:
                        some = True
                        continue
                    rows[MASK, n] = 0.0
                    half = children[members[n]]
                    lists[listed] = half if half > 0 else members[n]
                    lists[listed + 1] = half + 1
                    listed += 2 if half > 0 else 1
                for j in range(Y.shape[0]):
                    add_loss(rows, output + j * stride, degree, count, some, shares, whole, settled)
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
