"""Sums of scaled rows, with the sums kept in registers: the inner loop of a sparse first layer.

    y += sum over p in [first, last) of values[p] w[indices[p]]

Left to itself, LLVM loads and stores y anew for each row or for a few of them, and looks each time
whether rows overlap it; that takes as long as the products. Here the loops are written the other
way round, as LLVM's own vector instructions: for eight vectors' width of columns, go through all
rows. `add_rows` says in plain Python what is computed, and is what runs without the JIT.

As with `jit`, numba's cache does not notice an edit of this file.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

#: Bytes of the longest vectors there are; elsewhere LLVM cuts them up.
VECTOR = 64

_INTP = ir.IntType(64)
_FAST = ("reassoc", "contract", "nsz")


def add_rows(
    y: np.ndarray, w: np.ndarray, indices: np.ndarray, values: np.ndarray, first: int, last: int
) -> None:
    """Add to y (h,) the rows ``indices[first:last]`` of w (n, at least h), scaled by ``values``.

    In a kernel all arrays must be contiguous, y and w of one type, float32 or float64, and values
    of either; sums may be reordered, and nothing is checked.
    """
    for p in range(first, last):
        y += values[p] * w[indices[p], : y.size]


@type_callable(add_rows)
def _typed(context: Any) -> Any:
    def typed(y: Any, w: Any, indices: Any, values: Any, first: Any, last: Any) -> Any:
        arrays = all(isinstance(each, types.Array) for each in (y, w, indices, values))
        if (
            arrays
            and {y.layout, w.layout, indices.layout, values.layout} == {"C"}
            and y.dtype == w.dtype
            and {y.dtype, values.dtype} <= {types.float32, types.float64}
        ):
            return types.none
        return None

    return typed


@lower_builtin(
    add_rows,
    types.Array,
    types.Array,
    types.Array,
    types.Array,
    types.Integer,
    types.Integer,
)
def _lowered(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kinds = signature.args
    y, w, indices, values = (
        context.make_array(kind)(context, builder, argument)
        for kind, argument in zip(kinds[:4], arguments[:4], strict=True)
    )
    first, last = (
        context.cast(builder, argument, kind, types.intp)
        for kind, argument in zip(kinds[4:], arguments[4:], strict=True)
    )
    h = builder.extract_value(y.shape, 0)
    stride = builder.extract_value(w.shape, 1)
    number = context.get_value_type(kinds[0].dtype)
    lanes = VECTOR // (kinds[0].dtype.bitwidth // 8)
    with builder.if_then(builder.icmp_signed("<", first, last)):
        column = cgutils.alloca_once_value(builder, _INTP(0))
        for vectors, length in ((_most_vectors(), lanes), (2, lanes), (1, lanes), (1, 1)):
            _columns(
                context, builder, number, vectors, length, column, h, stride,
                y.data, w.data, indices.data, values.data, kinds, first, last,
            )  # fmt: skip
    return context.get_dummy_value()


def _most_vectors() -> int:
    """Vectors of sums that fit into the registers, with room for what is added."""
    return 8 if "avx512f" in _features() else 4


def _features() -> set[str]:
    return {name for name, on in llvmlite.binding.get_host_cpu_features().items() if on}


def _columns(
    context: Any, builder: Any, number: Any, vectors: int, length: int, column: Any, h: Any,
    stride: Any, y: Any, w: Any, indices: Any, values: Any, kinds: Any, first: Any, last: Any,
) -> None:  # fmt: skip
    """While that many columns are left, add all rows to as many vectors of so many numbers."""
    vector = ir.VectorType(number, length)
    width = vectors * length
    alignment = 4 if isinstance(number, ir.FloatType) else 8  # rows begin anywhere

    def parts(base: Any, offset: Any) -> list[Any]:
        return [
            builder.bitcast(
                builder.gep(base, [builder.add(offset, _INTP(k * length))]), vector.as_pointer()
            )
            for k in range(vectors)
        ]

    test, begin, rows, end, done = (
        builder.append_basic_block(f"columns.{width}.{name}")
        for name in ("test", "begin", "rows", "end", "done")
    )
    builder.branch(test)

    builder.position_at_end(test)
    k = builder.load(column)
    beyond = builder.add(k, _INTP(width))
    builder.cbranch(builder.icmp_signed("<=", beyond, h), begin, done)

    builder.position_at_end(begin)
    places = parts(y, k)
    loaded = [builder.load(place, align=alignment) for place in places]
    builder.branch(rows)

    builder.position_at_end(rows)
    p = builder.phi(_INTP)
    p.add_incoming(first, begin)
    sums = [builder.phi(vector) for _ in places]
    for total, value in zip(sums, loaded, strict=True):
        total.add_incoming(value, begin)
    index = builder.load(builder.gep(indices, [p]))
    index = context.cast(builder, index, kinds[2].dtype, types.intp)
    value = builder.load(builder.gep(values, [p]))
    value = context.cast(builder, value, kinds[3].dtype, kinds[0].dtype)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), length), None)
    scale = builder.shuffle_vector(one, one, zeros)
    row = parts(w, builder.add(builder.mul(index, stride), k))
    raised = [
        builder.fadd(
            total,
            builder.fmul(scale, builder.load(place, align=alignment), flags=_FAST),
            flags=_FAST,
        )
        for total, place in zip(sums, row, strict=True)
    ]
    following = builder.add(p, _INTP(1))
    p.add_incoming(following, rows)
    for total, value in zip(sums, raised, strict=True):
        total.add_incoming(value, rows)
    builder.cbranch(builder.icmp_signed("<", following, last), rows, end)

    builder.position_at_end(end)
    for place, value in zip(places, raised, strict=True):
        builder.store(value, place, align=alignment)
    builder.store(beyond, column)
    builder.branch(test)

    builder.position_at_end(done)
