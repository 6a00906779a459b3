"""Write kernels for two networks: the generic ones with their inner passes in straight-line code.

    python -m nconvex.specialise

A pass that works on many units at once, with every weight a local variable and every row at a
fixed place, is about twice as fast as passes over one unit each, whose number is known only at run
time. This module takes `pieces` and `cells`, replaces `mean_loss` and `enclose` by such code
for the draft's network (ReLU, with biases, a linear output), and `mean_loss` of `kernels` for that
of the authors' experiments (sigmoids, no biases), whose time goes into descents. The results are
modules like any other: they are read, tested and cached like them. Everything around the
straight-line code, descent, γ, branch and bound, is the same text.

A test holds the written files to what is written anew.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from nconvex import cells, kernels, pieces

FOLDER = Path(__file__).parent

#: Samples a tile of `mean_loss`: all of its rows fit the first-level cache.
TILE = 256

UNUSED = {
    "kernels": {"set_one", "set_four", "add_one", "add_four", "combine", "dot", "dot_four", "total"}
    | {"activate", "activate_backward", "forward", "backward"},
    "pieces": {"workspace", "ranked", "running_sums", "split", "forward", "backward"}
    | {"_parts_per_length"},
    "cells": {"add_exactly", "plant", "combine", "enclose_relu"},
}


@dataclass(frozen=True)
class Network:
    """What is written for: ReLU with biases and a linear output, or all sigmoids without biases."""

    sizes: tuple[int, ...]
    sigmoids: bool = False

    def __str__(self) -> str:
        kind = "sigmoid network without biases" if self.sigmoids else "ReLU network with biases"
        return "-".join(map(str, self.sizes)) + " " + kind


DRAFT = Network((1, 4, 4, 1))
AUTHORS = Network((1, 4, 4, 1), sigmoids=True)

#: Sigmoids, four at a time where there are as many.
SIGMOIDS = '''
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


'''


def main() -> None:
    """Write the modules."""
    for name, text in modules().items():
        (FOLDER / f"{name}.py").write_text(text, encoding="utf-8")


def modules() -> dict[str, str]:
    """Return the specialised modules' sources by name."""
    return {
        "pieces_1_4_4_1": _rewritten(DRAFT, pieces, {"mean_loss": mean_loss_by_pieces(DRAFT)}),
        "cells_1_4_4_1": _rewritten(
            DRAFT, cells, {"enclose": enclose(DRAFT), "total_loss": total_loss(DRAFT)}
        ),
        "kernels_authors": _rewritten(AUTHORS, kernels, {"mean_loss": mean_loss(AUTHORS)}),
    }


def _rewritten(network: Network, original: ModuleType, code: dict[str, list[str]]) -> str:
    """Return a module's source with some functions replaced and those without a use left out."""
    assert original.__file__ is not None
    module = original.__name__.split(".")[-1]
    source = Path(original.__file__).read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    docstring, *body = tree.body
    replaced = " and ".join(f"`{name}`" for name in code)
    kept = [
        f'"""`{module}` for a {network}. Written by `specialise`: edit that.',
        "",
        f"All but {replaced} is `{module}`'s own text; names and shapes are explained there.",
        '"""',
    ]
    end = docstring.end_lineno or 0
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name in {*code, *UNUSED[module]}:
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
            kept += [*_without_headings(lines[end:start]), "", ""]
            kept += code.get(node.name, [])
            end = node.end_lineno or 0
    text = "\n".join(kept + lines[end:])
    return re.sub(r"\n{4,}", "\n\n\n", text).rstrip("\n") + "\n"


def _without_headings(lines: list[str]) -> list[str]:
    """Leave out comments between functions: they speak of what is gone."""
    while lines and (not lines[-1] or lines[-1].startswith("# ")):
        lines = lines[:-1]
    return lines


def mean_loss(network: Network) -> list[str]:
    """The straight-line `mean_loss` of a network of sigmoids without biases, as lines."""
    sizes = network.sizes
    names = Names(network)
    depth = len(sizes) - 1
    code = [
        *SIGMOIDS.strip("\n").split("\n"),
        "",
        "",
        "@part",
        "def mean_loss(theta, layers, loss, X, Y, activations, deltas, gradient):",
        f'    """As in `kernels`, for a {network}."""',
        "    samples = X.shape[1]",
        "    rows = activations.ravel()",
        "    result = 0.0",
        "    for p in range(gradient.size):",
        "        gradient[p] = 0.0",
        *names.unpack(),
        f"    for start in range(0, samples, {TILE}):",
        f"        count = {TILE} if samples - start > {TILE} else samples - start",
        *[f"        x{i} = X[{i}][start : start + count]" for i in range(sizes[0])],
    ]
    for layer in range(1, depth + 1):
        code += _forward(names, layer)
    for k in range(sizes[-1]):
        out, slope = names.row("a", depth, k), names.row("d", depth, k)
        code += [
            "        result += residual_loss(",
            f"            rows[{out} : {out} + count],",
            f"            Y[{k}][start : start + count],",
            f"            rows[{slope} : {slope} + count],",
            "            loss,",
            "        )",
        ]
    code += ["        if gradient.size == 0:", "            continue"]
    for layer in range(depth, 0, -1):
        code += _backward(names, layer)
    return [
        *code,
        "    for p in range(gradient.size):",
        "        gradient[p] /= samples",
        "    return result / samples",
    ]


def mean_loss_by_pieces(network: Network) -> list[str]:
    """The straight-line `mean_loss` of `pieces` for a ReLU network of one input, as lines.

    Layers are nested loops over pieces: sl_k x + tl_k is unit k of layer l on a piece of the layer
    below, el_k and fl_k are the sums of its dL/dz and of x dL/dz over that.
    """
    sizes = network.sizes
    names = Names(network)
    code = [
        "@part",
        "def mean_loss(theta, layers, loss, X, Y, ranks, sums, lines, cuts, turns, gradient):",
        f'    """As in `pieces`, for a {network}."""',
        "    samples = X.shape[1]",
        "    by_sums = sums.shape[0] > 0",
        "    x = X[0]",
        *[f"    y{o} = Y[{o}]" for o in range(sizes[-1])],
        *[f"    pieces{layer} = cuts[0, {layer}]" for layer in range(1, len(sizes) - 1)],
        "    result = 0.0",
        "    start0 = 0",
        "    end0 = samples",
        *names.unpack(),
        *[f"    g_{p} = 0.0" for p in range(names.offsets[-1])],
    ]
    for k in range(sizes[1]):
        code += [f"    s1_{k} = w1_0{k}", f"    t1_{k} = b1_{k}"]
    code += _pieces(names, 1, "    ")
    for k in range(sizes[1]):
        code += [
            f"    g_{names.weight(1, 0, k)} += f1_{k}",
            f"    g_{names.weight(1, 1, k)} += e1_{k}",
        ]
    code.append("    if gradient.size > 0:")
    code += [f"        gradient[{p}] = g_{p} / samples" for p in range(names.offsets[-1])]
    return [*code, "    return result / samples"]


def _pieces(names: Names, layer: int, indent: str) -> list[str]:
    """Cut a piece by a hidden layer's units, go through its pieces, and leave their e and f."""
    sizes = names.sizes
    n, n_above = sizes[layer : layer + 2]
    last = layer == len(sizes) - 2
    start, end, count = f"start{layer - 1}", f"end{layer - 1}", f"count{layer}"
    code = [f"pieces{layer}[0] = {start}", f"{count} = 1"]
    code += [f"first = x[{start}]", f"last = x[{end} - 1]"]
    for k in range(n):
        line = f"s{layer}_{k}, t{layer}_{k}"
        at, rise = f"at{layer}_{k}", f"rise{layer}_{k}"
        code += [
            f"{at} = {start}",
            f"{rise} = not s{layer}_{k} * first + t{layer}_{k} <= 0.0",
            f"if {rise} != (not s{layer}_{k} * last + t{layer}_{k} <= 0.0):",
            f"    {at} = crossing({line}, x, {start}, {end} - 1, ranks)",
            f"    {rise} = not {rise}",
            f"    {count} = insert(pieces{layer}, {count}, {at})",
        ]
    code.append(f"pieces{layer}[{count}] = {end}")
    sums = [f"{k}{o}" for k in range(n) for o in range(n_above)] if last else range(n)
    for each in sums:
        code += [f"e{layer}_{each} = 0.0", f"f{layer}_{each} = 0.0"]
    start, end = f"start{layer}", f"end{layer}"
    code += [
        f"for piece{layer} in range({count}):",
        f"    {start} = pieces{layer}[piece{layer}]",
        f"    {end} = pieces{layer}[piece{layer} + 1]",
        f"    if {start} == {end}:",
        "        continue",
    ]
    for k in range(n):
        on = f"on{layer}_{k}"
        code += [
            f"    {on} = ({start} >= at{layer}_{k}) == rise{layer}_{k}",
            f"    l{layer}_{k} = s{layer}_{k} if {on} else 0.0",
            f"    m{layer}_{k} = t{layer}_{k} if {on} else 0.0",
        ]
    for o in range(n_above):
        weights = [f"w{layer + 1}_{k}{o}" for k in range(n)]
        slope = " + ".join(f"{w} * l{layer}_{k}" for k, w in enumerate(weights))
        shift = " + ".join(f"{w} * m{layer}_{k}" for k, w in enumerate(weights))
        code += [
            f"    s{layer + 1}_{o} = {slope}",
            f"    t{layer + 1}_{o} = b{layer + 1}_{o} + {shift}",
        ]
    code += _outputs(names, layer) if last else _pieces(names, layer + 1, "    ")
    if not last:
        code.append("    if gradient.size > 0:")
        code += _indented(_indented(_down(names, layer)))
    return [indent + line for line in code] + (_folded(names, layer, indent) if last else [])


def _outputs(names: Names, layer: int) -> list[str]:
    """The residuals of a piece, summed up for the units that are on there."""
    code = []
    for o in range(names.sizes[layer + 1]):
        line, piece = f"s{layer + 1}_{o}, t{layer + 1}_{o}", f"start{layer}, end{layer}"
        code += [
            "    if by_sums:",
            f"        total, moment = residual_sums(sums, {piece}, {line}, {o})",
            "    else:",
            "        value, total, moment = residual_losses(",
            f"            x, y{o}, {piece}, {line}, loss",
            "        )",
            "        result += value",
            f"    g_{names.weight(layer + 1, names.sizes[layer], o)} += total",
        ]
        for k in range(names.sizes[layer]):
            code += [
                f"    e{layer}_{k}{o} += total if on{layer}_{k} else 0.0",
                f"    f{layer}_{k}{o} += moment if on{layer}_{k} else 0.0",
            ]
    return code


def _folded(names: Names, layer: int, indent: str) -> list[str]:
    """Gradients of the output's weights; the sums of its derivatives become the units'."""
    code = []
    outputs = range(names.sizes[layer + 1])
    for k in range(names.sizes[layer]):
        for o in outputs:
            e, f = f"e{layer}_{k}{o}", f"f{layer}_{k}{o}"
            place = names.weight(layer + 1, k, o)
            code.append(f"g_{place} += s{layer}_{k} * {f} + t{layer}_{k} * {e}")
        for kind in "ef":
            terms = " + ".join(f"w{layer + 1}_{k}{o} * {kind}{layer}_{k}{o}" for o in outputs)
            code.append(f"{kind}{layer}_{k} = {terms}")
    return [indent + line for line in code]


def _down(names: Names, layer: int) -> list[str]:
    """Gradients of the layer above, and its share in this layer's sums, on one piece."""
    code = []
    above = range(names.sizes[layer + 1])
    for k in above:
        place = names.weight(layer + 1, names.sizes[layer], k)
        code.append(f"g_{place} += e{layer + 1}_{k}")
    for i in range(names.sizes[layer]):
        for k in above:
            place = names.weight(layer + 1, i, k)
            terms = f"l{layer}_{i} * f{layer + 1}_{k} + m{layer}_{i} * e{layer + 1}_{k}"
            code.append(f"g_{place} += {terms}")
        code.append(f"if on{layer}_{i}:")
        for kind in "ef":
            terms = " + ".join(f"w{layer + 1}_{i}{k} * {kind}{layer + 1}_{k}" for k in above)
            code.append(f"    {kind}{layer}_{i} += {terms}")
    return code


def enclose(network: Network) -> list[str]:
    """The straight-line `enclose` of a ReLU network of one input, as lines; rows have fixed places.

    cl_e is coefficient l of a unit at the cell's end e, xi_l_e that of its input i.
    """
    sizes = network.sizes
    names = Names(network)
    code = [
        "@part",
        "def enclose(",
        "    theta_a, theta_b, layers, cells, members, width, rows, weights, sources, known",
        "):",
        f'    """As in `cells`, for a {network}."""',
        "    count = members.size",
        "    flat = rows.ravel()",
    ]
    for end, column in enumerate(("LEFT", "RIGHT")):
        row = _row(sizes, 0, 0, end)
        code += [
            "    for n in range(count):",
            f"        flat[{row} + n] = cells[members[n], {column}]",
            "    for n in range(count, width):",
            f"        flat[{row} + n] = flat[{row} + count - 1]",
        ]
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), 1):
        for k in range(n_out):
            for i in range(n_in):
                place = names.weight(layer, i, k)
                code += _shares(f"{i}{k}", place, layer)
                if layer > 1:
                    code.append(f"    m_{i}{k} = max(abs(theta_a[{place}]), abs(theta_b[{place}]))")
            code += _shares(f"b{k}", names.weight(layer, n_in, k), layer)
            code += _enclose_unit(sizes, layer, k)
    return [*code, f"    return {_row(sizes, len(sizes) - 1, 0, 0) // cells.TILE}"]


def total_loss(network: Network) -> list[str]:
    """The straight-line `total_loss` of a ReLU network, as lines: one pass over the samples."""
    sizes = network.sizes
    names = Names(network)
    depth = len(sizes) - 1
    code = [
        "@sum_part",
        "def total_loss(theta, layers, X, Y, rows, weights, sources):",
        f'    """As in `cells`, for a {network}."""',
        *names.unpack(),
        "    x0 = X[0]",
        *[f"    y{k} = Y[{k}]" for k in range(sizes[-1])],
        "    result = 0.0",
        "    for n in range(x0.size):",
        "        a0_0 = x0[n]",
    ]
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), 1):
        for k in range(n_out):
            terms = "".join(f" + w{layer}_{i}{k} * a{layer - 1}_{i}" for i in range(n_in))
            code.append(f"        z{k} = b{layer}_{k}{terms}")
            if layer < depth:
                code.append(f"        a{layer}_{k} = 0.0 if z{k} < 0.0 else z{k}")
    code += [f"        result += (z{k} - y{k}[n]) ** 2" for k in range(sizes[-1])]
    return [*code, "    return result"]


def _row(sizes: tuple[int, ...], layer: int, unit: int, row: int) -> int:
    """Where a unit's row begins, as `cells.enclose` lays them out."""
    row += cells.FIRST
    for below in range(layer):
        row += sizes[below] * (2 * below + 3)
    return (row + unit * (2 * layer + 3)) * cells.TILE


def _shares(name: str, place: int, degree: int) -> list[str]:
    """Both ends' shares of a parameter in each coefficient."""
    code = []
    for k in range(degree + 1):
        share = f"{k} / {degree}"
        if k < degree:
            left = f"theta_a[{place}]"
            code.append(f"    u_{name}_{k} = " + (f"(1.0 - {share}) * {left}" if k else left))
        if k > 0:
            right = f"theta_b[{place}]"
            code.append(f"    v_{name}_{k} = " + (f"({share}) * {right}" if k < degree else right))
    return code


def _enclose_unit(sizes: tuple[int, ...], layer: int, unit: int) -> list[str]:
    inputs = range(sizes[layer - 1])
    relu = layer < len(sizes) - 1

    def below(i: int, k: int, end: int) -> str:
        return f"flat[{_row(sizes, layer - 1, i, 2 * k + end)} + n]"

    def coefficient(k: int, end: int) -> str:
        bias = [f"u_b{unit}_{k}"] * (k < layer) + [f"v_b{unit}_{k}"] * (k > 0)
        terms = [f"({bias[0]} + {bias[1]})" if len(bias) == 2 else bias[0]]
        for i in inputs:
            terms += [f"u_{i}{unit}_{k} * x{i}_{k}_{end}"] * (k < layer)
            terms += [f"v_{i}{unit}_{k} * x{i}_{k - 1}_{end}"] * (k > 0)
        return " + ".join(terms)

    code = []
    groups = [range(layer + 2)] if relu else [range(2), range(2, layer + 2)]
    for group in groups:  # an output's coefficients are too many for one pass
        code.append("    for n in range(width):")
        needed = sorted({j for k in group for j in (k - 1, k) if 0 <= j < layer and k <= layer})
        code += [
            f"        x{i}_{j}_{end} = {below(i, j, end)}"
            for i in inputs
            for j in needed
            for end in range(2)
        ]
        found = []
        for k in group:
            if k <= layer:
                for end in range(2):
                    code.append(f"        c{k}_{end} = {coefficient(k, end)}")
                    found.append((2 * k + end, f"c{k}_{end}"))
            else:
                terms = " + ".join(f"m_{i}{unit} * {below(i, layer, 0)}" for i in inputs)
                code.append(f"        radius = {terms if layer > 1 else '0.0'}")
                found.append((2 * layer + 2, "radius"))
        if relu:
            code += ["        lo = c0_0", "        hi = c0_0"]
            for _, c in found[1:-1]:
                code.append(f"        lo = {c} if {c} < lo else lo")
                code.append(f"        hi = {c} if {c} > hi else hi")
            code.append("        slope, shift = relu_line(lo - radius, hi + radius)")
        for row, value in found:
            new = f"slope * {value} + shift" if relu else value
            code.append(f"        flat[{_row(sizes, layer, unit, row)} + n] = {new}")
    return code


def _indented(code: list[str]) -> list[str]:
    return ["    " + line for line in code]


class Names:
    """Where things are: weights in θ, rows of activations (a) and of derivatives (d)."""

    def __init__(self, network: Network):
        self.sizes = sizes = network.sizes
        self.sigmoids = network.sigmoids
        self._rows: dict[tuple[str, int, int], int] = {}
        for kind in "ad":
            for layer, size in enumerate(sizes[1:], 1):
                for unit in range(size):
                    self._rows[kind, layer, unit] = TILE * len(self._rows)
        self.offsets = [0]
        for n_in, n_out in pairwise(sizes):
            rows = n_in if self.sigmoids else n_in + 1
            self.offsets.append(self.offsets[-1] + rows * n_out)

    def row(self, kind: str, layer: int, unit: int) -> int:
        """Where a row begins."""
        return self._rows[kind, layer, unit]

    def weight(self, layer: int, i: int, k: int) -> int:
        """Where in θ the weight from input i to unit k lies; i = n_in for the bias."""
        return self.offsets[layer - 1] + i * self.sizes[layer] + k

    def unpack(self, theta: str = "theta") -> list[str]:
        """Make every parameter a local variable."""
        code = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.sizes), 1):
            for k in range(n_out):
                for i in range(n_in):
                    code.append(f"    w{layer}_{i}{k} = {theta}[{self.weight(layer, i, k)}]")
                if not self.sigmoids:
                    code.append(f"    b{layer}_{k} = {theta}[{self.weight(layer, n_in, k)}]")
        return code

    def load(self, kind: str, layer: int, unit: int) -> str:
        """Read one sample of a row."""
        return f"x{unit}[n]" if layer == 0 else f"rows[{self.row(kind, layer, unit)} + n]"


def _forward(names: Names, layer: int) -> list[str]:
    """One layer of sigmoids in one pass, four of them by one division, stored."""
    inputs, size = range(names.sizes[layer - 1]), names.sizes[layer]
    code = ["        for n in range(count):"]
    code += [f"            a{layer - 1}_{i} = {names.load('a', layer - 1, i)}" for i in inputs]
    for k in range(size):
        terms = " + ".join(f"w{layer}_{i}{k} * a{layer - 1}_{i}" for i in inputs)
        code.append(f"            z{k} = {terms}")
    first = 0
    while first < size:
        count = next(count for count in (4, 1) if first + count <= size)
        units = range(first, first + count)
        left = ", ".join(f"a{layer}_{k}" for k in units)
        code.append(f"            {left} = sigmoids_{count}({', '.join(f'z{k}' for k in units)})")
        first += count
    for k in range(size):
        code.append(f"            rows[{names.row('a', layer, k)} + n] = a{layer}_{k}")
    return code


def _backward(names: Names, layer: int) -> list[str]:
    """Gradients of a layer's weights, and the derivatives below it; the first layer's with them."""
    n_in, n_out = names.sizes[layer - 1 : layer + 1]
    if layer == 1:
        return []  # summed with the derivatives of the layer above
    code = []
    if layer == len(names.sizes) - 1:
        for k in range(n_out):
            a, d = names.load("a", layer, k), names.load("d", layer, k)
            code += ["        for n in range(count):", f"            {d} *= {a} * (1.0 - {a})"]
    for first in range(0, n_out, 2):  # more sums than ten at a time would not stay in registers
        outputs = range(first, min(first + 2, n_out))
        code += [f"        s{i}{k} = 0.0" for k in outputs for i in range(n_in)]
        code.append("        for n in range(count):")
        code += [f"            a{i} = {names.load('a', layer - 1, i)}" for i in range(n_in)]
        for k in outputs:
            code.append(f"            d{k} = {names.load('d', layer, k)}")
            code += [f"            s{i}{k} += d{k} * a{i}" for i in range(n_in)]
        for k in outputs:
            code += [
                f"        gradient[{names.weight(layer, i, k)}] += s{i}{k}" for i in range(n_in)
            ]
    below = names.sizes[layer - 2] if layer == 2 else 0
    code += [f"        s{j}{i} = 0.0" for i in range(n_in) for j in range(below)]
    code.append("        for n in range(count):")
    code += [f"            d{k} = {names.load('d', layer, k)}" for k in range(n_out)]
    code += [f"            u{j} = x{j}[n]" for j in range(below)]
    for i in range(n_in):
        terms = " + ".join(f"w{layer}_{i}{k} * d{k}" for k in range(n_out))
        a = names.load("a", layer - 1, i)
        code += [f"            e{i} = {terms}", f"            e{i} *= {a} * (1.0 - {a})"]
        if layer == 2:
            code += [f"            s{j}{i} += e{i} * u{j}" for j in range(below)]
        else:
            code.append(f"            {names.load('d', layer - 1, i)} = e{i}")
    for i in range(n_in):
        code += [f"        gradient[{names.weight(1, j, i)}] += s{j}{i}" for j in range(below)]
    return code


if __name__ == "__main__":
    main()
