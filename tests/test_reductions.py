"""Sums whose order is fixed: right, and the same for any number of BLAS threads."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nconvex.reductions import dot, inverse_gram, norm, product, triangle

PACKAGE = Path(__file__).parents[1] / "nconvex"


@given(st.integers(0, 2**32), st.integers(-1000, 1000), st.integers(1, 40), st.integers(1, 6))
def test_lengths_neither_overflow_nor_vanish(seed, exponent, n, rows):
    a = np.random.default_rng(seed).normal(size=(rows, n))
    expected = np.ldexp(np.linalg.norm(a, axis=1), exponent)
    np.testing.assert_allclose(norm(np.ldexp(a, exponent)), expected, rtol=1e-14)
    assert norm(np.zeros(n)) == 0.0
    assert norm(np.zeros((rows, 0))).tolist() == [0.0] * rows


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_products_and_triangles_are_those_of_linear_algebra(seed, m, n, k):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(m, n)), rng.normal(size=(n, k))
    np.testing.assert_allclose(product(A, B), A @ B, atol=1e-13)
    assert dot(A[0], B[:, 0]) == pytest.approx(A[0] @ B[:, 0], abs=1e-13)
    R = triangle(A)
    np.testing.assert_array_equal(R, np.triu(R))
    np.testing.assert_allclose(R.T @ R, A.T @ A, atol=1e-12)


def test_the_inverse_tells_dependent_columns_from_nearly_dependent_ones():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(50, 4))
    A[:, 3] = 2.0 * A[:, 0] - A[:, 1] + 1e-9 * A[:, 3]  # squared, 1e-18 would be rounding
    P = inverse_gram(A)
    residual = A[:, 3] - A[:, :3] @ np.linalg.lstsq(A[:, :3], A[:, 3], rcond=None)[0]
    assert 1.0 / np.sqrt(P[3, 3]) == pytest.approx(np.linalg.norm(residual), rel=1e-4)
    np.testing.assert_allclose(-P[3, :3] / P[3, 3], [2.0, -1.0, 0.0], atol=1e-8)
    A[:, 3] = 2.0 * A[:, 0] - A[:, 1]
    A[:, 2] = 0.0
    P = inverse_gram(A)
    np.testing.assert_allclose(-P[3, :3] / P[3, 3], [2.0, -1.0, 0.0], atol=1e-8)


#: Everything that adds up over long vectors, on vectors as long as an MNIST network's.
LONG = """
import hashlib
import numpy as np
import nconvex as nc
from nconvex.baselines.assignment import aligned
from nconvex.samplers.merging import connectivity
from nconvex.network.redundancy import revive
from nconvex.baselines.curves import bezier, nudged_elastic_band

rng = np.random.default_rng(0)
P = 40_001
weights = rng.random(P) / P


def say(what, *arrays):
    hashes = [hashlib.sha256(np.asarray(each).tobytes()).hexdigest()[:16] for each in arrays]
    print(what, *hashes)


# 1 on the sphere r = 0, and a ridge between its two poles
landscape = nc.FunctionLandscape(
    lambda x: float(np.sum(weights * (x * x - 1) ** 2)) + 1e-3,
    lambda x: 4 * x * (x * x - 1) * weights,
    nc.RMSProp(learning_rate=1e-2, budget=200),
)
left, right = np.ones(P), np.ones(P)
right[: P // 2] = -1
left += 1e-2 * rng.normal(size=P)
settings = nc.RMSProp(learning_rate=2e-2, final_learning_rate=1e-3, budget=5)
string = nc.connect(landscape, left, right, L0=0.2, depth=2, sampler=nc.Springs(rmsprop=settings))
say("springs", string.beads, string.path_length, string.normalized_length)
detour = left + rng.normal(size=P) * 0.1
loose = nc.string_through(landscape, [left, detour, left + 0.2], 0.5)
tight = nc.tighten(landscape, loose, sweeps=1).after
say("tighten", tight.beads, tight.normalized_length, loose.principal_coordinates(2))
for method in (bezier, nudged_elastic_band):
    curve = method(landscape, left, right, 0.2, budget=8)
    say(method.__name__, curve.beads, curve.normalized_length)

model = nc.MLP((784, 20, 10))
X = rng.random((300, 784)) * (rng.random((300, 784)) < 0.2)
theta, other = model.initial(rng), model.initial(rng)
W, b = model.unpack(theta)[0]
b[:5] = -100.0  # dead
loss = lambda theta: float(np.sum(model.predict(theta, X) ** 2))
say("revive", *revive(model, theta, loss, X, X, np.random.default_rng(1)))
say("predict", model.predict(theta, X))
say("aligned", aligned(model, theta, other))
"""

#: The promise where it is made: a pair of the command's own kind.
DIGITS = """
import nconvex as nc
problem = nc.mnist.problem("subset", nc.MLP((784, 32, 10)))
pair = nc.run_pair(problem, L0=0.8, seed=1, sampler="springs")
string = nc.tighten(problem, pair.string).after if pair.string.connected else pair.string
say("digits", string.beads, string.segment_upper, string.normalized_length, pair.string.beads)
"""


def test_results_do_not_depend_on_the_number_of_blas_threads():
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", LONG + DIGITS],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            cwd=PACKAGE.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in ("1", "2")
    ]
    one, two = (run.communicate()[0].splitlines() for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert len(one) == 8
    assert one == two


#: Where linear algebra may stay, and why.
EXEMPT = {
    "reductions": "it says what is to be used instead",
    "degenerate_path": "matrices of three rows, which BLAS does not split",
    "width_below": "vectors of three numbers",
    "flood": "a vector of two numbers",
    "curvature": "matrices of sixty rows at most",
    "planes": "eigenvectors of a small matrix, which are drawn",
    "string": "eigenvectors of a small matrix, which are drawn",
    "verify": "its bounds cover sums in any order",
    "vectors": "what runs without the JIT, for tests",
}


def test_nothing_that_reaches_a_result_goes_through_blas():
    for path in sorted(PACKAGE.glob("**/*.py")):
        found = []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
                found.append(f"line {node.lineno}: @")
            if isinstance(node, ast.Attribute) and node.attr in (
                *("linalg", "dot", "vdot", "inner", "matmul", "tensordot", "polyfit", "corrcoef"),
                *("cov", "convolve", "correlate"),
            ):
                found.append(f"line {node.lineno}: {node.attr}")
        assert not found or path.stem in EXEMPT, f"{path.name}: {found}; use nconvex.reductions"
