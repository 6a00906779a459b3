"""Sums in registers against the plain Python that says what they are."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from nconvex.kernels import vectors
from nconvex.kernels.jit import kernel
from nconvex.kernels.vectors import add_rows, line_residuals


@kernel
def compiled(y, w, indices, values, first, last):
    add_rows(y, w, indices, values, first, last)


def case(h, columns, number, index=np.uint16, values=np.float32):
    rng = np.random.default_rng(h)
    return (
        rng.normal(size=h).astype(number),
        rng.normal(size=(37, columns)).astype(number),
        rng.integers(0, 37, 50).astype(index),
        rng.normal(size=50).astype(values),
    )


# All widths of a loop's columns, what is left over, and rows that are longer than the sum.
@pytest.mark.parametrize("h", [1, 7, 8, 16, 31, 32, 64, 100, 128, 200, 256, 300])
@pytest.mark.parametrize("longer", [0, 3])
@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_they_are_the_sums_of_the_rows(h, longer, number):
    y, w, indices, values = case(h, h + longer, number)
    for first, last in ((0, 50), (3, 4), (13, 45)):
        exact = y + values[first:last].astype(float) @ w[indices[first:last], :h].astype(float)
        found, plain = y.copy(), y.copy()
        compiled(found, w, indices, values, first, last)
        add_rows(plain, w, indices, values, first, last)
        tolerance = 50 * 10 * np.finfo(number).eps
        np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)
        np.testing.assert_allclose(plain, exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("index", "values"),
    [(np.uint8, np.float32), (np.int32, np.float64), (np.int64, np.float32)],
)
def test_any_integers_and_floats_serve(index, values):
    y, w, indices, scales = case(40, 40, np.float64, index, values)
    found = y.copy()
    compiled(found, w, indices, scales, 0, 50)
    np.testing.assert_allclose(found, y + scales.astype(float) @ w[indices], atol=1e-12)


def test_short_weights_are_widened_and_nothing_is_rounded():
    y, w, indices, values = case(100, 103, np.float64)
    w = w.astype(np.float32)
    found, expected = y.copy(), y.copy()
    compiled(found, w, indices, values, 0, 50)
    compiled(expected, w.astype(np.float64), indices, values, 0, 50)
    np.testing.assert_array_equal(found, expected)


def test_no_rows_leave_the_sum_alone_and_neighbours_are_never_touched():
    y, w, indices, values = case(45, 45, np.float32)
    around = np.full(60, 7.0, dtype=np.float32)
    inner = around[5:50]
    inner[:] = y
    compiled(inner, w, indices, values, 9, 9)
    np.testing.assert_array_equal(inner, y)
    compiled(inner, w, indices, values, 0, 50)
    assert not np.array_equal(inner, y)
    np.testing.assert_array_equal(around[:5], 7.0)
    np.testing.assert_array_equal(around[50:], 7.0)


def test_nan_comes_through():
    y, w, indices, values = case(40, 40, np.float32)
    w[indices[4], 21] = np.nan
    compiled(y, w, indices, values, 0, 50)
    assert np.flatnonzero(np.isnan(y)).tolist() == [21]


def test_arrays_that_it_would_misread_are_refused():
    y, w, indices, values = case(40, 40, np.float32)
    with pytest.raises(TypingError, match="add_rows"):
        compiled(y[::2], w, indices, values, 0, 50)
    with pytest.raises(TypingError, match="add_rows"):  # sums would be rounded to float32
        compiled(y, w.astype(np.float64), indices, values, 0, 50)


@pytest.mark.parametrize("most", [1, 4, 8])
def test_the_number_of_registers_changes_nothing(most, monkeypatch):
    monkeypatch.setattr(vectors, "_most_vectors", lambda: most)

    @njit
    def anew(y, w, indices, values, first, last):
        add_rows(y, w, indices, values, first, last)

    y, w, indices, values = case(300, 300, np.float32)
    found = y.copy()
    compiled(found, w, indices, values, 0, 50)
    anew(y, w, indices, values, 0, 50)
    np.testing.assert_allclose(found, y, atol=1e-4)


@njit
def compiled_residuals(x, y, start, end, slope, shift):
    return line_residuals(x, y, start, end, slope, shift)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 32, 64, 100])
def test_residuals_are_those_of_the_line(length):
    rng = np.random.default_rng(length)
    x, y = rng.normal(size=(2, 120))
    x[length + 5 :] = y[:5] = np.nan  # what is outside is not read
    r = 1.5 * x[5 : length + 5] - 0.7 - y[5 : length + 5]
    expected = r @ r, r.sum(), r @ x[5 : length + 5]
    for found in (compiled_residuals, line_residuals):
        sums = found(x, y, 5, length + 5, 1.5, -0.7)
        np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-13)


def test_a_residual_that_is_not_a_number_comes_through():
    x, y = np.ones((2, 40))
    for place in (3, 39):
        broken = y.copy()
        broken[place] = np.nan
        assert np.isnan(compiled_residuals(x, broken, 0, 40, 1.0, 0.0)).all()


def test_residuals_of_arrays_that_they_would_misread_are_refused():
    x, y = np.ones((2, 40))
    for wrong in (x[::2], x.astype(np.float32)):
        with pytest.raises(TypingError, match="line_residuals"):
            compiled_residuals(wrong, y, 0, 10, 1.0, 0.0)
