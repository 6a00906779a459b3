"""Two inner loops in LLVM's vector instructions, and arrays that suit them.

`add_rows` is the inner loop of a sparse first layer. LLVM's own code loads and stores y again for
each row or for a few of them, and tests each time whether they overlap; that takes as long as the
products. Here the sums stay in registers: for columns as wide as eight vectors, all rows are added.

`line_residuals` is the inner loop of `regions`, mostly of about a hundred samples. LLVM's own code
takes 32 samples at once, and the rest one by one; here the rest is one masked vector.

Each function is written in plain Python, too, which runs without the JIT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, wraps
from math import prod
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

#: Bytes of the longest vectors. For processors with shorter ones LLVM splits them.
VECTOR = 64

_INTP = ir.IntType(64)
_FAST = ("reassoc", "contract", "nsz")


def aligned(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    """Make an array of zeros that begins on a cache line.

    NumPy's large arrays begin 16 bytes after one, so that each long vector crosses two lines.
    """
    item = np.dtype(dtype).itemsize
    buffer = np.zeros(prod(shape) + VECTOR // item, dtype=dtype)
    start = -buffer.ctypes.data % VECTOR // item
    return buffer[start : start + prod(shape)].reshape(shape)


def once_a_thread(make: Callable[..., Any]) -> Callable[..., Any]:
    """Call a function once in each thread for the same arguments: it makes workspaces."""
    own = threading.local()

    @wraps(make)
    def made(*arguments: Any) -> Any:
        if not hasattr(own, "made"):
            own.made = cache(make)
        return own.made(*arguments)

    return made


def add_rows(
    y: np.ndarray, w: np.ndarray, indices: np.ndarray, values: np.ndarray, first: int, last: int
) -> None:
    """Add to y (h,) the rows ``indices[first:last]`` of w (n, at least h), scaled by ``values``.

    In a kernel the arrays must be contiguous, and all but the indices of float32 or float64.
    Products and sums have y's type, which must not be shorter than w's. Sums may be reordered, and
    indices are not checked.
    """
    for p in range(first, last):
        y += values[p] * w[indices[p], : y.size]


def line_residuals(
    x: np.ndarray, y: np.ndarray, start: int, end: int, slope: float, shift: float
) -> tuple[float, float, float]:
    """Sum r², r and r x with r = slope x + shift - y over [start, end) of x and y (n,).

    In a kernel both must be contiguous, of float64. Sums are reordered; indices are not checked.
    """
    x, y = x[start:end], y[start:end]
    r = slope * x + shift - y
    return r @ r, r.sum(), r @ x


@type_callable(add_rows)
def _typed(context: Any) -> Any:
    def typed(y: Any, w: Any, indices: Any, values: Any, first: Any, last: Any) -> Any:
        arrays = (y, w, indices, values)
        fits = (
            all(isinstance(each, types.Array) and each.layout == "C" for each in arrays)
            and {y.dtype, w.dtype, values.dtype} <= {types.float32, types.float64}
            and w.dtype.bitwidth <= y.dtype.bitwidth
        )
        return types.none if fits else None

    return typed


@lower_builtin(add_rows, *[types.Array] * 4, *[types.Integer] * 2)
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
    number, weight = (context.get_value_type(kind.dtype) for kind in kinds[:2])
    lanes = VECTOR * 8 // kinds[0].dtype.bitwidth
    most = _most_vectors()

    def columns(k: Any, vectors: int, length: int) -> None:
        """Add all rows to the columns from k on, `vectors` of them with `length` numbers each."""
        vector, loaded = ir.VectorType(number, length), ir.VectorType(weight, length)
        pointers = _pointers(builder, y.data, k, vector, vectors)
        nothing = ir.Constant(vector, None)
        # If there are few sums, rows are taken in pairs, because each sum must wait for its last
        # addition.
        ways = max(1, min(2, most // vectors))
        sums = [[_variable(builder, _load(builder, pointer)) for pointer in pointers]]
        sums += [[_variable(builder, nothing) for _ in pointers] for _ in range(ways - 1)]

        def add(p: Any, into: list[Any]) -> None:
            index = builder.load(builder.gep(indices.data, [p]))
            index = context.cast(builder, index, kinds[2].dtype, types.intp)
            value = builder.load(builder.gep(values.data, [p]))
            value = context.cast(builder, value, kinds[3].dtype, kinds[0].dtype)
            scale = _repeated(builder, value, length)
            begin = builder.add(builder.mul(index, stride), k)
            rows = _pointers(builder, w.data, begin, loaded, vectors)
            for pointer, total in zip(rows, into, strict=True):
                row = _load(builder, pointer)
                row = row if number == weight else builder.fpext(row, vector)
                term = builder.fmul(scale, row, flags=_FAST)
                builder.store(builder.fadd(builder.load(total), term, flags=_FAST), total)

        together = builder.add(first, _whole(builder, builder.sub(last, first), ways))
        with cgutils.for_range_slice(builder, first, together, _INTP(ways)) as (p, _):
            for way in range(ways):
                add(builder.add(p, _INTP(way)), sums[way])
        if ways > 1:
            with cgutils.for_range_slice(builder, together, last, _INTP(1)) as (p, _):
                add(p, sums[0])
        for pointer, *several in zip(pointers, *sums, strict=True):
            total = builder.load(several[0])
            for each in several[1:]:
                total = builder.fadd(total, builder.load(each), flags=_FAST)
            builder.store(total, pointer, align=_alignment(pointer))

    with builder.if_then(builder.icmp_signed("<", first, last)):
        begin = _INTP(0)
        for vectors, length in ((most, lanes), (4, lanes), (2, lanes), (1, lanes), (1, 1)):
            width = vectors * length
            end = builder.add(begin, _whole(builder, builder.sub(h, begin), width))
            with cgutils.for_range_slice(builder, begin, end, _INTP(width)) as (k, _):
                columns(k, vectors, length)
            begin = end
    return context.get_dummy_value()


@type_callable(line_residuals)
def _typed_residuals(context: Any) -> Any:
    def typed(x: Any, y: Any, start: Any, end: Any, slope: Any, shift: Any) -> Any:
        fits = all(
            isinstance(each, types.Array) and each.layout == "C" and each.dtype == types.float64
            for each in (x, y)
        )
        return types.UniTuple(types.float64, 3) if fits else None

    return typed


@lower_builtin(line_residuals, *[types.Array] * 2, *[types.Integer] * 2, *[types.Float] * 2)
def _lowered_residuals(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    lanes = 2 * VECTOR // 8  # two vectors, whose sums need not wait for each other
    number = ir.DoubleType()
    vector, bits = ir.VectorType(number, lanes), ir.VectorType(ir.IntType(1), lanes)
    x, y = (
        context.make_array(kind)(context, builder, argument)
        for kind, argument in zip(signature.args[:2], arguments[:2], strict=True)
    )
    start, end = (
        context.cast(builder, argument, kind, types.intp)
        for kind, argument in zip(signature.args[2:4], arguments[2:4], strict=True)
    )
    slope, shift = (_repeated(builder, argument, lanes) for argument in arguments[4:])
    nothing = ir.Constant(vector, None)
    sums = [_variable(builder, nothing) for _ in range(3)]

    def residuals(xs: Any, ys: Any) -> Any:
        line = builder.fadd(builder.fmul(slope, xs, flags=_FAST), shift, flags=_FAST)
        return builder.fsub(line, ys, flags=_FAST)

    def add(r: Any, xs: Any) -> None:
        for pointer, factor in zip(sums, (r, None, xs), strict=True):
            term = r if factor is None else builder.fmul(r, factor, flags=_FAST)
            builder.store(builder.fadd(builder.load(pointer), term, flags=_FAST), pointer)

    whole = builder.add(start, _whole(builder, builder.sub(end, start), lanes))
    with cgutils.for_range_slice(builder, start, whole, _INTP(lanes)) as (n, _):
        xs, ys = (_load(builder, _pointers(builder, each.data, n, vector, 1)[0]) for each in (x, y))
        add(residuals(xs, ys), xs)
    left = builder.sub(end, whole)
    with builder.if_then(builder.icmp_signed(">", left, _INTP(0))):
        numbers = ir.Constant(ir.VectorType(_INTP, lanes), list(range(lanes)))
        inside = builder.icmp_signed("<", numbers, _repeated(builder, left, lanes))
        masked = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector.as_pointer(), ir.IntType(32), bits, vector]),
            f"llvm.masked.load.v{lanes}f64.p0v{lanes}f64",
        )
        eight = ir.IntType(32)(8)
        pointers = [_pointers(builder, each.data, whole, vector, 1)[0] for each in (x, y)]
        xs, ys = (builder.call(masked, [each, eight, inside, nothing]) for each in pointers)
        add(builder.select(inside, residuals(xs, ys), nothing), xs)
    total = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(number, [number, vector]),
        f"llvm.vector.reduce.fadd.v{lanes}f64",
    )
    results = [
        builder.call(total, [number(0.0), builder.load(each)], fastmath=("reassoc",))
        for each in sums
    ]
    return context.make_tuple(builder, signature.return_type, results)


def _variable(builder: Any, value: Any) -> Any:
    """Make a variable, which LLVM keeps in a register."""
    pointer = cgutils.alloca_once(builder, value.type)
    builder.store(value, pointer)
    return pointer


def _whole(builder: Any, count: Any, power: int) -> Any:
    """Count, rounded down to a multiple of a power of two."""
    return builder.and_(count, _INTP(-power))


def _repeated(builder: Any, value: Any, lanes: int) -> Any:
    """A vector of one number."""
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(one, one, zeros)


def _most_vectors() -> int:
    """How many vectors of sums fit the registers, beside the terms."""
    return 8 if llvmlite.binding.get_host_cpu_features().get("avx512f", False) else 4


def _pointers(builder: Any, base: Any, offset: Any, vector: Any, vectors: int) -> list[Any]:
    """Pointers to several vectors, one behind the other."""
    return [
        builder.bitcast(
            builder.gep(base, [builder.add(offset, _INTP(k * vector.count))]), vector.as_pointer()
        )
        for k in range(vectors)
    ]


def _alignment(pointer: Any) -> int:
    """Rows are not aligned, only their numbers."""
    return 4 if isinstance(pointer.type.pointee.element, ir.FloatType) else 8


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(pointer, align=_alignment(pointer))
