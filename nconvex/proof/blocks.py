"""Units on an interval of t, as `centred` bounds them: from layer to layer, a tile at a time.

The numbers of a unit on a tile of TILE samples are a *block*: v, D, E, S, one behind the other.
`centred` derives the formulas. What `activate` writes has all four; before, S is not needed.
"""

from nconvex.kernels.jit import inlined_strict
from nconvex.kernels.parts import IDENTITY, LEAKY_RELU, LEAKY_SLOPE, RELU, TANH, TILE, exponential

#: Length of a block.
BLOCK = 4 * TILE

#: Keeps divisions by a reach of zero finite.
TINY = 1e-300

#: What a computed tanh may err by, with room to spare.
TANH_ERROR = 1e-15


# -- Weights of an interval -----------------------------------------------------------------------


@inlined_strict
def mix_weights(theta1, theta2, c, r, layers, first, labels, weights):
    """Lay out W, dW, |W| and r |dW| for the interval, as the rows of ``weights`` (4, room).

    They stand layer by layer and unit by unit: those of the inputs, a zero for a block that pads,
    and the bias. The first layer's are laid out only if `first`. A classifier's last layer occurs
    once for each class, from whose weights and bias all others are subtracted.
    """
    at = 0
    for layer in range(0 if first else 1, layers.shape[0]):
        n_in, n_out, offset, biases = layers[layer, :4]
        copies = n_out if layer == layers.shape[0] - 1 and labels is not None else 1
        for label in range(copies):
            for j in range(n_out):
                for i in range(n_in + 2):
                    p = offset + i * n_out + j if i < n_in else biases + j
                    w = 0.0
                    d = 0.0
                    if i < n_in or (i > n_in and biases >= 0):
                        w = (1.0 - c) * theta1[p] + c * theta2[p]
                        d = theta2[p] - theta1[p]
                        if copies > 1:
                            k = p - j + label
                            w -= (1.0 - c) * theta1[k] + c * theta2[k]
                            d -= theta2[k] - theta1[k]
                    weights[0, at] = w
                    weights[1, at] = d
                    weights[2, at] = abs(w)
                    weights[3, at] = r * abs(d)
                    at += 1


# -- One block from others ------------------------------------------------------------------------


@inlined_strict
def clear(y):
    """y = 0."""
    for n in range(y.size):
        y[n] = 0.0


@inlined_strict
def set_biases(y, weights, at, n_in, n_out):
    """The blocks of a layer's units, before the units below are added."""
    for j in range(n_out):
        bias = at + j * (n_in + 2) + n_in + 1
        block = y[j * BLOCK : (j + 1) * BLOCK]
        for n in range(TILE):
            block[n] = weights[0, bias]
            block[TILE + n] = weights[1, bias]
            block[2 * TILE + n] = 0.0


@inlined_strict
def set_between(y, z1, z2, c):
    """The block of a unit that moves from z1 to z2 in a straight line."""
    for n in range(TILE):
        y[n] = (1.0 - c) * z1[n] + c * z2[n]
        y[TILE + n] = z2[n] - z1[n]
        y[2 * TILE + n] = 0.0


@inlined_strict
def add_inputs(y, x, weights, n_in, n_out):
    """The blocks of the first layer's units; returns where the next layer's weights begin."""
    set_biases(y, weights, 0, n_in, n_out)
    for j in range(n_out):
        v = y[j * BLOCK : j * BLOCK + TILE]
        D = y[j * BLOCK + TILE : j * BLOCK + 2 * TILE]
        for i in range(n_in):
            w, d = weights[0, j * (n_in + 2) + i], weights[1, j * (n_in + 2) + i]
            row = x[i * TILE : (i + 1) * TILE]
            for n in range(TILE):
                v[n] += w * row[n]
                D[n] += d * row[n]
    return n_out * (n_in + 2)


@inlined_strict
def add_four(y, x, weights, p0, p1, p2, p3):
    """A block y += the four blocks of x, with the weights at these positions."""
    w0, w1, w2, w3 = weights[0, p0], weights[0, p1], weights[0, p2], weights[0, p3]
    d0, d1, d2, d3 = weights[1, p0], weights[1, p1], weights[1, p2], weights[1, p3]
    a0, a1, a2, a3 = weights[2, p0], weights[2, p1], weights[2, p2], weights[2, p3]
    e0, e1, e2, e3 = weights[3, p0], weights[3, p1], weights[3, p2], weights[3, p3]
    x0, x1 = x[:BLOCK], x[BLOCK : 2 * BLOCK]
    x2, x3 = x[2 * BLOCK : 3 * BLOCK], x[3 * BLOCK :]
    for n in range(TILE):
        D, E, S = TILE + n, 2 * TILE + n, 3 * TILE + n
        v0, v1, v2, v3 = x0[n], x1[n], x2[n], x3[n]
        y[n] = y[n] + w0 * v0 + w1 * v1 + w2 * v2 + w3 * v3
        slope = y[D] + d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
        y[D] = slope + w0 * x0[D] + w1 * x1[D] + w2 * x2[D] + w3 * x3[D]
        radius = y[E] + a0 * x0[E] + a1 * x1[E] + a2 * x2[E] + a3 * x3[E]
        y[E] = radius + e0 * x0[S] + e1 * x1[S] + e2 * x2[S] + e3 * x3[S]


@inlined_strict
def add_live(y, x, live, found, weights, at, n_in, n_out):
    """All blocks of a layer += those of `found` units below, which are `live`."""
    for k in range(found, 4):
        live[k] = n_in  # whose weights are zero
        clear(x[k * BLOCK : (k + 1) * BLOCK])
    for j in range(n_out):
        p = at + j * (n_in + 2)
        block = y[j * BLOCK : (j + 1) * BLOCK]
        add_four(block, x, weights, p + live[0], p + live[1], p + live[2], p + live[3])


@inlined_strict
def rectify(y, x, r, leak):
    """ReLU of a block, with the slope `leak` below zero; tells whether the block is not zero."""
    on = 0
    off = 0
    for n in range(TILE):
        z = y[n]
        reach = r * (abs(y[TILE + n]) + y[2 * TILE + n])
        on += 1 if z >= reach else 0
        off += 1 if -z >= reach else 0
    if on == TILE:  # no kink is in reach
        keep(y, x)
        return True
    if off == TILE and leak == 0.0:
        return False
    for n in range(TILE):
        z = y[n]
        D = y[TILE + n]
        E = y[2 * TILE + n]
        reach = r * (abs(D) + E)
        p = abs(z) / (reach if reach > TINY else TINY)
        w = (1.0 - leak) * (0.5 - 0.5 * (p if p < 1.0 else 1.0))
        top = 1.0 if z > 0.0 else leak + 2.0 * w
        x[n] = leak * z if z < 0.0 else z  # NaN stays
        E = w * abs(D) + top * E
        D = (top - w) * D
        x[TILE + n] = D
        x[2 * TILE + n] = E
        x[3 * TILE + n] = abs(D) + E
    return True


@inlined_strict
def tanh_of(x):
    """Tanh of x >= 0."""
    e = exponential(-2.0 * x)
    return (1.0 - e) / (1.0 + e)


@inlined_strict
def squash(y, x, r, scale):
    """Tanh (scale 1) or sigmoid (scale 1/2) of a block."""
    for n in range(TILE):
        z = scale * y[n]
        D = y[TILE + n]
        E = y[2 * TILE + n]
        reach = scale * (abs(D) + E) * r
        size = abs(z)
        value = tanh_of(size)
        far = tanh_of(size + reach)
        crosses = reach > size
        near = tanh_of(0.5 * size if crosses else size - reach)
        share = 1.0 / (reach if reach > TINY else TINY)
        low = (far - value) * share
        high = (value - near) * share
        high = (near + TANH_ERROR) / (0.5 * size) if crosses else high
        high = high if high > 0.0 else 0.0
        high = high if high < 1.0 else 1.0
        low = low if low > 0.0 else 0.0
        low = low if low < high else high
        w = 0.5 * scale * scale * (high - low)
        top = scale * scale * high
        value = value if z >= 0.0 else -value
        value = z if z != z else value
        x[n] = value if scale == 1.0 else 0.5 + 0.5 * value
        E = w * abs(D) + top * E
        D = (top - w) * D
        x[TILE + n] = D
        x[2 * TILE + n] = E
        x[3 * TILE + n] = abs(D) + E


@inlined_strict
def keep(y, x):
    """A block as it is."""
    for n in range(TILE):
        x[n] = y[n]
        x[TILE + n] = y[TILE + n]
        x[2 * TILE + n] = y[2 * TILE + n]
        x[3 * TILE + n] = abs(y[TILE + n]) + y[2 * TILE + n]


@inlined_strict
def activate(y, x, r, activation):
    """Let a block x = the activation of y; tells whether it is not zero, else it is not written."""
    if activation in (RELU, LEAKY_RELU):
        return rectify(y, x, r, LEAKY_SLOPE if activation == LEAKY_RELU else 0.0)
    if activation == IDENTITY:
        keep(y, x)
    else:
        squash(y, x, r, 1.0 if activation == TANH else 0.5)
    return True
