"""No bound is ever too low: every layer and whole modules against dense samples, 50 digits and
exact rational arithmetic; planted wrong formulas are caught."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402

from nconvex.adapters import bounds, branching, enclosures  # noqa: E402
from nconvex.adapters.pytorch import TorchLandscape  # noqa: E402

LOSSES = ("cross-entropy", "error", "mse", "mae")


class Residual(nn.Module):
    def __init__(self, channels, activation):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            activation,
            nn.Conv2d(channels, channels, 1, bias=False),
        )

    def forward(self, x):
        return torch.relu(torch.cat([x + self.body(x), x], 1).mean((2, 3)))


#: Layers between a first convolution of (N, 4, 6, 6) units and a last linear layer.
LAYERS = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "average": lambda: nn.AvgPool2d(3, 2, padding=1),
    "max": lambda: nn.MaxPool2d(3, 2, padding=1),
    "adaptive": lambda: nn.AdaptiveAvgPool2d(1),
    "norm": lambda: nn.BatchNorm2d(4),
    "plain norm": lambda: nn.BatchNorm2d(4, affine=False),
    "grouped": lambda: nn.Conv2d(4, 6, 2, groups=2, stride=2, bias=False),
    "dilated": lambda: nn.Sequential(nn.Conv2d(4, 2, 2, dilation=2, padding="same"), nn.Dropout()),
    "residual": lambda: Residual(4, nn.Tanh()),
    "deep": lambda: nn.Sequential(
        nn.GELU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.SiLU(), nn.MaxPool2d(2), nn.Identity()
    ),
}


def make(layer, loss="cross-entropy", seed=0, scale=1.0, buffers=True, samples=7):
    """A landscape with one kind of layer, and two ends of a segment."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), LAYERS[layer](), nn.Flatten(), nn.LazyLinear(3))
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, 1, 8, 8))
    net(torch.zeros(1 if "norm" not in layer and layer not in ("deep", "residual") else 2, 1, 8, 8))
    y = rng.integers(0, 3, samples) if loss in LOSSES[:2] else rng.normal(size=(samples, 3))
    landscape = TorchLandscape(net, loss, (X, y), (X, y), buffers=buffers)
    ends = []
    for _ in range(2):
        theta = landscape.theta_of(net) + scale * rng.normal(size=landscape.n_parameters) * 0.3
        if buffers:  # variances stay positive
            sign = landscape._tensors(torch.from_numpy(theta))
            for name, part in sign.items():
                if "running_var" in name:
                    part.abs_().add_(0.05)
        ends.append(theta)
    return landscape, *ends


def enclose(landscape, theta1, theta2, c, r):
    proof = landscape._proof
    one, two = (landscape._tensors(torch.from_numpy(theta)) for theta in (theta1, theta2))
    sizes = proof._interval(one, two, {}, 0.0, 0.0).sizes
    return proof.enclose(proof._interval(one, two, sizes, c, r))


def violated(case, c, r, points=33):
    """Whether a dense evaluation of γ leaves its bounds."""
    value, bound, sigma = enclose(*case, c, r)
    dense = case[0].gamma(*case[1:], np.linspace(c - r, c + r, points))
    own = 1e-12 * (1.0 + dense)  # what the evaluation errs by itself
    counts = case[0].loss_name == "error"
    return (dense > bound + sigma + own).any() or (
        abs(value - dense[points // 2]) > sigma + own[points // 2] and not counts
    )


def interval(rng, level):
    r = 2.0**-level
    return r * (1 + 2 * int(rng.integers(2 ** (level - 1)))), r


@pytest.mark.parametrize("layer", LAYERS)
def test_no_point_of_an_interval_lies_above_its_bound(layer):
    rng = np.random.default_rng(len(layer))
    for seed, loss in enumerate(LOSSES):
        case = make(layer, loss, seed, scale=rng.choice([0.1, 1.0, 4.0]), buffers=seed != 1)
        assert case[0].reason is None
        for level in (2, 4, 9):
            assert not violated(case, *interval(rng, level))


@pytest.mark.parametrize("layer", LAYERS)
def test_bounds_close_with_the_square_of_the_interval(layer):
    case = make(layer, "mse", seed=3, scale=0.3, samples=3)
    excess = []
    for r in (2.0**-8, 2.0**-9, 2.0**-10):
        excess.append(0.0)
        for c in r * (2 * np.arange(0, 2.0**-1 / r, 32) + 1):
            _, bound, _ = enclose(*case, c, r)
            ends = case[0].gamma(*case[1:], np.array([c - r, c, c + r]))
            excess[-1] += bound - ends.max()
    assert excess[0] > 3.0 * (excess[1] / 2) > 9.0 * (excess[2] / 4) > 0


# -- One rule at a time ---------------------------------------------------------------------------

CURVES = {
    "relu": (torch.relu, lambda x: enclosures.rising_convex(x, torch.relu)),
    "leaky": (nn.LeakyReLU(0.3), lambda x: enclosures.rising_convex(x, nn.LeakyReLU(0.3))),
    "max": (nn.MaxPool1d(3, 2), lambda x: enclosures.rising_convex(x, nn.MaxPool1d(3, 2))),
    "mean": (nn.AvgPool1d(3, 2), lambda x: enclosures.mean_pool(x, nn.AvgPool1d(3, 2), 3)),
    "tanh": (torch.tanh, lambda x: enclosures.smooth(x, enclosures.TANH)),
    "sigmoid": (torch.sigmoid, lambda x: enclosures.smooth(x, enclosures.SIGMOID)),
    "gelu": (nn.GELU(), lambda x: enclosures.smooth(x, enclosures.GELU)),
    "silu": (nn.SiLU(), lambda x: enclosures.smooth(x, enclosures.SILU)),
}
SIGMAS = [*np.linspace(-1.0, 1.0, 9).tolist(), 1e-3, -1e-6]


def draw(*shape):
    """An enclosure of random units, some of them at zero or hardly moving."""
    v, d, e = torch.randn(3, *shape, dtype=torch.float64) * 10.0 ** torch.empty(
        3, 1, 1, 1
    ).uniform_(-3, 1.5)
    v = torch.where(torch.rand(shape) < 0.1, 0.0, v)
    return enclosures.Enclosure(v, d, e.abs(), torch.zeros(1, *shape[1:], dtype=torch.float64))


def inside(x):
    """Some units a(σ) = v + σ q that an enclosure allows, one for each σ."""
    for sigma in SIGMAS:
        for corner in (-1.0, 1.0, 2.0 * torch.rand_like(x.v) - 1.0, torch.randn_like(x.v).sign()):
            yield sigma, x.v + sigma * (x.d + corner * (0.0 if x.e is None else x.e))


def holds(y, sigma, a):
    """Whether an enclosure holds a(σ)."""
    e = 0.0 if y.e is None else y.e
    distance = (a - y.v - sigma * y.d).abs() - abs(sigma) * e
    return bool((distance <= y.eps + 1e-15 * (1.0 + a.abs())).all())


def curve_holds(name):
    f, rule = CURVES[name]
    x = draw(40, 3, 15)
    y = rule(x)
    return all(holds(y, sigma, f(a)) for sigma, a in inside(x))


def linear_holds():
    x, W, w = draw(40, 1, 6), *torch.randn(2, 5, 6, dtype=torch.float64)
    weights = enclosures.Weights(W, w, W.abs() + w.abs())
    y = enclosures.linear(x, nn.functional.linear, weights, None, 6)
    return all(holds(y, sigma, a @ (W + sigma * w).T) for sigma, a in inside(x))


def product_holds():
    x, z = draw(40, 3, 15), draw(40, 3, 15)
    y = enclosures.multiply(x, z)
    pairs = zip(inside(x), inside(z), strict=True)
    return all(holds(y, sigma, a * b) for (sigma, a), (_, b) in pairs)


def root_holds():
    x1, x2 = 10.0 ** torch.empty(2, 40, 3, 15, dtype=torch.float64).uniform_(-5, 1)
    y = enclosures.inverse_root(x1, x2, 0.375, 0.125)
    points = [(sigma, 0.375 + 0.125 * sigma) for sigma in SIGMAS]
    return all(holds(y, sigma, (x1 * (1 - t) + x2 * t) ** -0.5) for sigma, t in points)


RULES = {
    **{name: lambda name=name: curve_holds(name) for name in CURVES},
    "linear": linear_holds,
    "product": product_holds,
    "inverse root": root_holds,
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_holds_whatever_its_inputs_do(rule):
    torch.manual_seed(0)
    assert all(RULES[rule]() for _ in range(20))


@pytest.mark.parametrize("name", ["relu", "leaky", "max"])
def test_convex_rules_are_tight(name):
    f, rule = CURVES[name]
    x = draw(40, 3, 15)
    y = rule(x)
    torch.testing.assert_close(y.v + y.d + y.e, f(x.v + x.d + x.e))
    torch.testing.assert_close(y.v - y.d + y.e, f(x.v - x.d + x.e))


PLANTED = {
    "linear": (enclosures, "reach", lambda was: lambda x: x.e),
    "product": (enclosures, "reach", lambda was: lambda x: x.e),
    "relu": (enclosures, "_between", lambda was: lambda *a: (*was(*a)[:2], 0.9 * was(*a)[2])),
    "inverse root": (enclosures, "_between", lambda was: lambda v, up, down: was(v, down, up)),
    "max": (enclosures, "_between", lambda was: lambda v, up, down: was(v, down, up)),
    "mean": (enclosures.Enclosure, "map", lambda was: lambda x, f: was(x._replace(e=None), f)),
    **{
        name: (
            enclosures,
            name.upper(),
            lambda was: was._replace(curvature=lambda x: 0.8 * was.curvature(x)),
        )
        for name in ("tanh", "sigmoid", "gelu", "silu")
    },
}


@pytest.mark.parametrize("rule", PLANTED)
def test_planted_faults_are_caught(rule, monkeypatch):
    where, name, wrong = PLANTED[rule]
    monkeypatch.setattr(where, name, wrong(getattr(where, name)))
    torch.manual_seed(0)
    assert not all(RULES[rule]() for _ in range(30))


# -- Losses, searches, rounding -------------------------------------------------------------------


def test_both_ends_of_an_interval_are_looked_at(monkeypatch):
    monkeypatch.setattr(np, "maximum", lambda a, b: a)
    cases = [make("relu", "mse", seed) for seed in range(9)]
    assert any(violated(case, 0.25, 2.0**-6) for case in cases)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layer", ["relu", "norm", "silu"])
def test_the_bracket_holds_and_is_as_narrow_as_asked(layer, loss):
    landscape, theta1, theta2 = make(layer, loss, seed=5)
    peak = landscape.bracket(theta1, theta2, 1e-2)
    dense = landscape.gamma(theta1, theta2, np.linspace(0, 1, 501))
    assert peak.certified
    assert dense.max() <= peak.upper * (1 + 1e-12)
    gap = max(1e-2 * peak.lower, 2 / 7 if loss == "error" else 0.0)
    assert peak.upper <= peak.lower + gap
    assert peak.lower <= landscape.gamma(theta1, theta2, np.array([peak.t_star]))[0]
    for L0 in (0.9 * peak.lower, 1.01 * peak.upper):
        decided = landscape.max_gamma(theta1, theta2, L0)
        assert decided.lower > L0 or decided.upper <= L0


def test_the_search_keeps_every_interval(monkeypatch):
    height = lambda t: 1.0 - abs(t - 0.3)  # noqa: E731

    def enclose_tent(c, r):
        return height(c), height(min(max(0.3, c - r), c + r)) + r, 0.0

    peak = branching.maximum(enclose_tent, -math.inf, 1e-3, 0.0, 2.0**-40)
    assert peak.lower <= 1.0 <= peak.upper <= 1.0011
    monkeypatch.setattr(branching, "MOST_SPLITS", 3)  # a search that ends early holds, too
    peak = branching.maximum(enclose_tent, -math.inf, 1e-3, 0.0, 2.0**-40)
    assert peak.lower <= 1.0 <= peak.upper < 1.3


def test_weights_that_overflow_prove_nothing():
    landscape, theta1, theta2 = make("relu", "mse")
    peak = landscape.max_gamma(1e200 * theta1, 1e200 * theta2, 1.0)
    assert peak.upper == math.inf
    assert peak.certified


def exact(landscape, theta1, theta2, t, number, curve):
    """γ(t) of a convolution, a curve, means of all of a channel, a linear layer, in any numbers."""
    t = number(t)
    theta = [
        (1 - t) * number(a) + t * number(b)
        for a, b in zip(theta1.tolist(), theta2.tolist(), strict=True)
    ]
    (K, b), (W, c) = (theta[:18], theta[18:20]), (theta[20:26], theta[26:])
    total = number(0)
    for image, target in zip(landscape.X_test.tolist(), landscape.y_test.tolist(), strict=True):
        pixels = [[number(value) for value in row] for row in image[0]]
        means = []
        for k in range(2):
            sums = [
                curve(
                    b[k]
                    + sum(
                        K[9 * k + 3 * i + j] * pixels[row + i][column + j]
                        for i, j in itertools.product(range(3), repeat=2)
                    )
                )
                for row, column in itertools.product(range(2), repeat=2)
            ]
            means.append(sum(sums) / 4)
        z = [W[2 * o] * means[0] + W[2 * o + 1] * means[1] + c[o] for o in range(3)]
        if landscape.loss_name == "cross-entropy":
            total += mpmath.log(sum(mpmath.exp(value - z[target]) for value in z))
        else:
            residuals = [abs(value - number(goal)) for value, goal in zip(z, target, strict=True)]
            total += sum(r * r if landscape.loss_name == "mse" else r for r in residuals)
    return total / len(landscape.X_test)


def tiny(activation, loss, seed, scale):
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), activation, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    )
    X = rng.normal(size=(3, 1, 4, 4))
    y = rng.integers(0, 3, 3) if loss == "cross-entropy" else rng.normal(size=(3, 3))
    landscape = TorchLandscape(net, loss, (X, y), (X, y))
    theta1, theta2 = scale * rng.normal(size=(2, landscape.n_parameters))
    return landscape, theta1, theta2


def quarter(z):
    return max(z, z / 4)


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_rounding_is_accounted_for_in_exact_arithmetic(loss):
    for seed in range(12):
        case = tiny(nn.LeakyReLU(0.25), loss, seed, scale=10.0 ** (seed % 4 - 1))
        for c, r in ((0.25, 0.25), (0.375, 0.0), (0.625, 2.0**-30)):
            value, bound, sigma = enclose(*case, c, r)
            truth = [exact(*case, t, Fraction, quarter) for t in (c - r, c, c + r)]
            assert abs(Fraction(value) - truth[1]) <= Fraction(sigma)
            assert max(truth) <= Fraction(bound) + Fraction(sigma)
            assert sigma <= 1e-9 * (1.0 + value)


@pytest.mark.parametrize(
    ("activation", "curve"),
    [
        (nn.Tanh(), mpmath.tanh),
        (nn.Sigmoid(), lambda z: 1 / (1 + mpmath.exp(-z))),
        (nn.GELU(), lambda z: z * mpmath.ncdf(z)),
        (nn.SiLU(), lambda z: z / (1 + mpmath.exp(-z))),
    ],
)
def test_rounding_is_accounted_for_in_fifty_digits(activation, curve):
    mpmath.mp.dps = 50
    for seed, loss in enumerate(("mse", "cross-entropy", "mae") * 2):
        case = tiny(activation, loss, seed, scale=10.0 ** (seed % 3 - 1))
        for c, r in ((0.375, 0.0), (0.625, 2.0**-40)):
            value, bound, sigma = enclose(*case, c, r)
            truth = [exact(*case, t, mpmath.mpf, curve) for t in (c - r, c, c + r)]
            assert abs(mpmath.mpf(value) - truth[1]) <= sigma
            assert max(truth) <= mpmath.mpf(bound) + sigma
            assert sigma <= 1e-9 * (1.0 + value)


def test_a_planted_fault_in_rounding_is_caught(monkeypatch):
    monkeypatch.setattr(bounds.Proof, "enclose", _without_rounding(bounds.Proof.enclose))
    with pytest.raises(AssertionError):
        test_rounding_is_accounted_for_in_exact_arithmetic("mse")


def _without_rounding(was):
    return lambda self, at: (*was(self, at)[:2], 0.0)
