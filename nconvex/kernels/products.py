"""Products of a layer's weights with a tile of TILE samples, for classifiers.

A tile of several units is one vector: unit j of sample n stands at j TILE + n. The weight from
input i to output k stands at ``w[i step_in + k step_out]``. All functions are inlined, and work in
float32 and in float64.
"""

import numpy as np

from nconvex.kernels.jit import inlined, inlined_strict
from nconvex.kernels.parts import TILE


@inlined_strict
def add_four_to_five(y, x, w, at, i, k):
    """Five outputs y += w x of four inputs; in w, inputs are i apart and outputs k."""
    w00, w01, w02, w03, w04 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    at += i
    w10, w11, w12, w13, w14 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    at += i
    w20, w21, w22, w23, w24 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    at += i
    w30, w31, w32, w33, w34 = w[at], w[at + k], w[at + 2 * k], w[at + 3 * k], w[at + 4 * k]
    for n in range(TILE):
        x0 = x[n]
        x1 = x[TILE + n]
        x2 = x[2 * TILE + n]
        x3 = x[3 * TILE + n]
        y[n] = y[n] + w00 * x0 + w10 * x1 + w20 * x2 + w30 * x3
        y[TILE + n] = y[TILE + n] + w01 * x0 + w11 * x1 + w21 * x2 + w31 * x3
        y[2 * TILE + n] = y[2 * TILE + n] + w02 * x0 + w12 * x1 + w22 * x2 + w32 * x3
        y[3 * TILE + n] = y[3 * TILE + n] + w03 * x0 + w13 * x1 + w23 * x2 + w33 * x3
        y[4 * TILE + n] = y[4 * TILE + n] + w04 * x0 + w14 * x1 + w24 * x2 + w34 * x3


@inlined_strict
def add_four_to_one(y, x, w, at, i):
    """One output y += w x of four inputs, whose weights are i apart."""
    w0, w1, w2, w3 = w[at], w[at + i], w[at + 2 * i], w[at + 3 * i]
    for n in range(TILE):
        y[n] = y[n] + w0 * x[n] + w1 * x[TILE + n] + w2 * x[2 * TILE + n] + w3 * x[3 * TILE + n]


@inlined_strict
def add_four(y, x4, w, at, step_in, step_out, n_out):
    """Outputs y += w x4 of four inputs."""
    for k in range(0, n_out - n_out % 5, 5):
        add_four_to_five(
            y[k * TILE : (k + 5) * TILE], x4, w, at + k * step_out, step_in, step_out
        )  # fmt: skip
    for k in range(n_out - n_out % 5, n_out):
        add_four_to_one(y[k * TILE : (k + 1) * TILE], x4, w, at + k * step_out, step_in)


@inlined_strict
def add_one(y, x, w, at, step_out, n_out):
    """Outputs y += w x of one input."""
    for k in range(n_out):
        row = y[k * TILE : (k + 1) * TILE]
        v = w[at + k * step_out]
        for n in range(TILE):
            row[n] += v * x[n]


@inlined_strict
def add_products(y, x, w, step_in, step_out, n_in, n_out):
    """y_k += Σ_i w[i step_in + k step_out] x_i, for all outputs k."""
    for i in range(0, n_in - n_in % 4, 4):
        x4 = x[i * TILE : (i + 4) * TILE]
        add_four(y, x4, w, i * step_in, step_in, step_out, n_out)
    for i in range(n_in - n_in % 4, n_in):
        add_one(y, x[i * TILE : (i + 1) * TILE], w, i * step_in, step_out, n_out)


@inlined_strict
def add_large_products(y, x, w, step_in, step_out, n_in, n_out):
    """As `add_products`, five outputs at a time: for tiles that are larger than the cache."""
    for k in range(0, n_out, 5):
        outputs = min(5, n_out - k)
        rows = y[k * TILE : (k + outputs) * TILE]
        for i in range(0, n_in - n_in % 4, 4):
            x4 = x[i * TILE : (i + 4) * TILE]
            add_four(rows, x4, w, i * step_in + k * step_out, step_in, step_out, outputs)
        for i in range(n_in - n_in % 4, n_in):
            at = k * step_out + i * step_in
            add_one(rows, x[i * TILE : (i + 1) * TILE], w, at, step_out, outputs)


@inlined_strict
def fill(y, b, n_out):
    """y_k = b_k for all samples."""
    for k in range(n_out):
        for n in range(TILE):
            y[k * TILE + n] = b[k]


@inlined
def transpose(source, target, rows, columns, stride):
    """target[c stride + r] = source[r TILE + c], in blocks of 16 rows, which fit the cache."""
    for first in range(0, rows, 16):
        last = min(first + 16, rows)
        for c in range(columns):
            for r in range(first, last):
                target[np.uintp(c * stride + r)] = source[np.uintp(r * TILE + c)]


@inlined
def whole_tiles(units):
    """Units, rounded up to a multiple of TILE."""
    return (units + TILE - 1) // TILE * TILE
