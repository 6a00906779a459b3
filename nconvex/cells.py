"""Numba kernels: `enclosure` for ReLU networks of one input and squared errors, cell by cell.

What is not said here is as in `enclosure`. A *cell* is a run of neighbours among the samples sorted
by x, and a unit is enclosed for all of them at once: a coefficient is linear in x, and given at
both ends of the cell. A layer maps lines to lines; a ReLU's line in z is taken from the range over
the whole cell. With v from 0 to 1 along the cell the output lies in

    p(s, v) ± ρ,   p(s, v) = Σ_k (c_k (1 - v) + d_k v) B_k(s),

and the squared residuals of the cell's n samples sum up to, with means over them v̄ and ȳ,

    Σ (|p - y| + ρ)² ≤ m(s)² + h(s)² + D + 2 ρ √n V + n ρ²,   V² = max m² + max h² + D,
    m(s) = √n (p(s, v̄) - ȳ),   h(s) = √S_vv (p(s, 1) - p(s, 0)) - S_vy/√S_vv,

    S_vv = Σ (v - v̄)²,   S_vy = Σ (v - v̄)(y - ȳ),   D = Σ (y - ȳ)² - S_vy²/S_vv,

since Σ |p - y| ≤ √n (Σ (p - y)²)^½ (Cauchy and Schwarz). m and h are polynomials in s, and so are
their squares, which are summed over the cells before any maximum is taken. A bound does not take
longer for a million samples than for a thousand; only γ at the search's points goes through them.

*The cells* are the nodes of a binary tree, whose leaves are single samples, or samples at one x.
Where a bound is too high, the interval of t is halved, and with it the cells that are not settled.

``cells``     (nodes, 5 + 3 d)  the columns LEFT … of a cell, MEAN … of each output; see `plant`
``children``  (nodes,)          the first of a cell's two halves, which follow each other; 0: none
``rows``      (R, tile)         workspace, a column a cell of the tile. A unit of degree d has
                                2 d + 3 rows: its coefficients, each at the cell's left and right
                                end, and the radius
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


# -- The cells ------------------------------------------------------------------------------------


@part
def add_exactly(total, lost, x):
    """The sum total + x, and `lost` plus what rounding took from it (Knuth's two-sum)."""
    result = total + x
    part_of_x = result - total
    return result, lost + ((total - (result - part_of_x)) + (x - part_of_x))


@kernel
def plant(x, Y, cells, children, spans):
    """Fill the tree for samples x (N,), which are sorted, and Y (d, N); returns its nodes.

    ``cells`` (2 N, 5 + 3 d), ``children`` (2 N,); ``spans`` (2 N, 2) becomes each cell's first
    sample and the one after its last. Nodes are in the order of their levels. Sums carry what
    rounding took from them, so that they err no more for many samples than for a few.
    """
    spans[0, 0] = 0
    spans[0, 1] = x.size
    nodes = 1
    q = 0
    while q < nodes:
        start = spans[q, 0]
        end = spans[q, 1]
        n = float(end - start)
        left = x[start]
        length = x[end - 1] - left
        children[q] = 0
        if length > 0.0:
            middle = (start + end) // 2
            children[q] = nodes
            spans[nodes, 0] = start
            spans[nodes, 1] = middle
            spans[nodes + 1, 0] = middle
            spans[nodes + 1, 1] = end
            nodes += 2
        scale = length if length > 0.0 else 1.0
        s_v = 0.0
        lost = 0.0
        for i in range(start, end):
            s_v, lost = add_exactly(s_v, lost, (x[i] - left) / scale)
        v_mean = (s_v + lost) / n
        s_vv = 0.0
        lost = 0.0
        for i in range(start, end):
            v = (x[i] - left) / scale - v_mean
            s_vv, lost = add_exactly(s_vv, lost, v * v)
        spread = math.sqrt(s_vv + lost)
        cells[q, LEFT] = left
        cells[q, RIGHT] = x[end - 1]
        cells[q, ROOT] = math.sqrt(n)
        cells[q, PLACE] = v_mean
        cells[q, SPREAD] = spread
        for j in range(Y.shape[0]):
            s_y = 0.0
            lost = 0.0
            for i in range(start, end):
                s_y, lost = add_exactly(s_y, lost, Y[j, i])
            y_mean = (s_y + lost) / n
            s_vy = 0.0
            s_yy = 0.0
            lost = 0.0
            lost_too = 0.0
            for i in range(start, end):
                v = (x[i] - left) / scale - v_mean
                y = Y[j, i] - y_mean
                s_vy, lost = add_exactly(s_vy, lost, v * y)
                s_yy, lost_too = add_exactly(s_yy, lost_too, y * y)
            tilt = (s_vy + lost) / spread if spread > 0.0 else 0.0
            rest = (s_yy + lost_too) - tilt * tilt
            at = OUTPUTS + 3 * j
            cells[q, at + MEAN] = y_mean
            cells[q, at + TILT] = tilt
            cells[q, at + REST] = 0.0 if rest < 0.0 else rest
        q += 1
    return nodes


# -- Rows of cells --------------------------------------------------------------------------------


@part
def combine(rows, y, width, bias, weights, sources, terms):
    """Row y = bias + sum over the terms of weights[m] rows[sources[m]], four terms a pass.

    Not more, for LLVM checks that the rows of a pass are apart, and gives up at nine of them.
    """
    for m in range(terms, terms + 4):  # fill the last pass up with zeros
        weights[m] = 0.0
        sources[m] = FIRST
    for m in range(0, max(terms, 1), 4):
        w0, w1, w2, w3 = weights[m], weights[m + 1], weights[m + 2], weights[m + 3]
        x0, x1, x2, x3 = sources[m], sources[m + 1], sources[m + 2], sources[m + 3]
        if m == 0:
            for n in range(width):
                rows[y, n] = (
                    bias + w0 * rows[x0, n] + w1 * rows[x1, n] + w2 * rows[x2, n] + w3 * rows[x3, n]
                )
        else:
            for n in range(width):
                rows[y, n] = (
                    rows[y, n]
                    + w0 * rows[x0, n]
                    + w1 * rows[x1, n]
                    + w2 * rows[x2, n]
                    + w3 * rows[x3, n]
                )


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
def enclose_relu(rows, first, radius, width):
    """Replace max(z, 0) by a line with a radius; returns what is known of the unit then."""
    for n in range(width):
        rows[LOW, n] = rows[first, n]
        rows[HIGH, n] = rows[first, n]
    for k in range(first + 1, radius):
        for n in range(width):
            c = rows[k, n]
            rows[LOW, n] = rows[LOW, n] if rows[LOW, n] < c else c
            rows[HIGH, n] = rows[HIGH, n] if rows[HIGH, n] > c else c
    on = 0
    off = 0
    for n in range(width):
        lo = rows[LOW, n] - rows[radius, n]
        hi = rows[HIGH, n] + rows[radius, n]
        rows[HIGH, n], rows[SHIFT, n] = relu_line(lo, hi)
        on += 1 if lo >= 0.0 else 0
        off += 1 if hi <= 0.0 else 0
    if on == width:
        return EXACT
    for k in range(first, radius + 1):
        for n in range(width):
            rows[k, n] = rows[HIGH, n] * rows[k, n] + rows[SHIFT, n]
    return OFF if off == width else LOOSE


@part
def enclose(theta_a, theta_b, layers, cells, members, width, rows, weights, sources, known):
    """Enclose all units for a tile of cells; returns the output's first row.

    The tile is filled up to `width` with its last cell. known (units,) holds what is known of each:
    OFF units and the radii of EXACT ones are left out of the sums.
    """
    count = members.size
    for end in range(2):
        for n in range(count):
            rows[FIRST + end, n] = cells[members[n], LEFT + end]
        for n in range(count, width):
            rows[FIRST + end, n] = rows[FIRST + end, count - 1]
    known[0] = EXACT
    base_in = FIRST
    known_in = 0
    stride_in = 3
    base = FIRST + 3
    degree = 0
    for layer in range(layers.shape[0]):
        n_in = layers[layer, 0]
        n_out = layers[layer, 1]
        biases = layers[layer, 3]
        degree += 1
        stride = 2 * degree + 3
        for j in range(n_out):
            first = base + j * stride
            radius = first + stride - 1
            loose = False
            for row in range(stride):  # the coefficients at both ends, then the radius
                k = row // 2
                terms = 0
                bias = 0.0
                if k <= degree:
                    right = k / degree
                    left = 1.0 - right
                    if biases >= 0:
                        bias = left * theta_a[biases + j] + right * theta_b[biases + j]
                    for i in range(n_in):
                        if known[known_in + i] == OFF:
                            continue
                        w = layers[layer, 2] + i * n_out + j
                        source = base_in + i * stride_in + row
                        if k < degree:
                            weights[terms] = left * theta_a[w]
                            sources[terms] = source
                            terms += 1
                        if k > 0:
                            weights[terms] = right * theta_b[w]
                            sources[terms] = source - 2
                            terms += 1
                else:
                    for i in range(n_in):
                        if known[known_in + i] == LOOSE:
                            w = layers[layer, 2] + i * n_out + j
                            size_a = abs(theta_a[w])
                            size_b = abs(theta_b[w])
                            weights[terms] = size_a if size_a > size_b else size_b
                            sources[terms] = base_in + (i + 1) * stride_in - 1
                            terms += 1
                    loose = terms > 0
                combine(rows, first + row, width, bias, weights, sources, terms)
            found = LOOSE if loose else EXACT
            if layers[layer, 4] == RELU:
                relu = enclose_relu(rows, first, radius, width)
                found = found if relu == EXACT else relu
            known[known_in + n_in + j] = found
        base_in = base
        known_in += n_in
        stride_in = stride
        base += n_out * stride
    return base_in


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


# -- One point of t -------------------------------------------------------------------------------


@part
def total_loss(theta, layers, X, Y, rows, weights, sources):
    """N L(X, θ), a row a unit, rounded no worse than on an interval."""
    samples = X.shape[1]
    result = 0.0
    for start in range(0, samples, rows.shape[1]):
        count = min(rows.shape[1], samples - start)
        for n in range(count):
            rows[FIRST, n] = X[0, start + n]
        filled = FIRST + 1
        for layer in range(layers.shape[0]):
            n_in = layers[layer, 0]
            n_out = layers[layer, 1]
            biases = layers[layer, 3]
            for j in range(n_out):
                for i in range(n_in):
                    weights[i] = theta[layers[layer, 2] + i * n_out + j]
                    sources[i] = filled - n_in + i
                bias = theta[biases + j] if biases >= 0 else 0.0
                combine(rows, filled + j, count, bias, weights, sources, n_in)
                if layers[layer, 4] == RELU:
                    for n in range(count):
                        z = rows[filled + j, n]
                        rows[filled + j, n] = 0.0 if z < 0.0 else z
            filled += n_out
        for j in range(Y.shape[0]):
            output = filled - Y.shape[0] + j
            for n in range(count):
                rows[LOW, n] = rows[output, n] - Y[j, start + n]
            result += dot(rows, LOW, LOW, count)
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
