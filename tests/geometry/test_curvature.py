import numpy as np
import pytest

import nconvex as nc

A = np.diag([-7.0, 5.0, 3.0, 1.0, 0.5, 0.0])


def quadratic(size):
    """A quadratic function whose Hessian is A turned, and zero in all other directions."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(size, size)))[0][:, :6]
    H = Q @ A @ Q.T
    return nc.FunctionLandscape(lambda x: 9 + x @ H @ x / 2, lambda x: H @ x), rng.normal(size=size)


@pytest.mark.parametrize("size", [6, 40, 200])
def test_eigenvalues_of_a_quadratic_are_exact(size):
    landscape, theta = quadratic(size)
    found = nc.curvature(landscape, theta, leading=5)
    assert found.eigenvalues == pytest.approx([-7.0, 5.0, 3.0, 1.0, 0.5], abs=1e-7)
    assert (found.residuals < 1e-6).all()
    assert abs(found.trace - 2.5) <= 4 * found.trace_error + 1e-7
    assert (found.trace_error == 0) == (size <= 60)
    assert found.kinks == 0
    assert found == nc.curvature(landscape, theta, leading=5)


def test_the_hessian_of_a_relu_network_is_that_of_its_piece():
    problem = nc.quad.problem(seed=0, samples=50)
    theta = nc.train(problem, L0=1e-2, seed=1).theta
    found = nc.curvature(problem, theta, leading=33)
    h = 1e-8  # so small that no kink lies between
    H = np.array(
        [
            (problem.loss_and_gradient(theta + h * e)[1] - problem.loss_and_gradient(theta)[1]) / h
            for e in np.eye(33)
        ]
    )
    assert found.trace == pytest.approx(np.trace(H), rel=1e-3)
    assert max(found.eigenvalues) == pytest.approx(np.linalg.eigvalsh((H + H.T) / 2)[-1], rel=1e-3)


def test_kinks_are_counted():
    landscape = nc.FunctionLandscape(lambda x: 1 + abs(x).sum(), np.sign)
    assert nc.curvature(landscape, [1e-9, -1e-9, 1.0]).kinks == 2


def test_what_has_no_gradient_is_refused():
    with pytest.raises(nc.NconvexError, match="must have a gradient"):
        nc.curvature(object(), [1.0])
