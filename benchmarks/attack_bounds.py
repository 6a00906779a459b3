"""An attack on the certificate: is any point of an interval higher than its bound?

    python benchmarks/attack_bounds.py --count 200000

Random and adversarial segments of small networks, 16 intervals and one search each. γ(c) and the
bound of each interval are compared with γ at its centre, its ends and two points between them: at
all of these with 64 bits of mantissa instead of 53; at one of them in integers, hence without any
rounding, if the network is one of ReLUs and its loss rational, or else in 60 digits for one of
few intervals. An error is told as a share of what the bound allows for rounding.
"""

import argparse
import collections
import sys
import time
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np

from nconvex import MLP, Classification
from nconvex.kernels import jit
from nconvex.kernels.parts import ACTIVATIONS, CROSS_ENTROPY, ERROR, LEAKY_SLOPE, LOSSES, NONLINEAR
from nconvex.proof import centred, certify

CODES = {**LOSSES, "cross-entropy": CROSS_ENTROPY, "error": ERROR}
KINDS = (
    *("plain", "close ends", "equal ends", "opposite ends", "far ends", "whole numbers"),
    *("half dead", "all scales", "one scale", "outliers", "near overflow", "many samples"),
)
#: What is attacked, as a function that Python can call.
enclose = jit.kernel(centred.enclose.py_func, centred.enclose.targetoptions["fastmath"])

ONE = 2**1074  # all doubles are whole numbers / ONE

#: What 64 bits of mantissa can err by, as a share of the allowance for 53.
EXTENDED = 0.01

mpmath.mp.dps = 60


class Case:
    """A network, a test set, and the two ends of a segment."""

    def __init__(self, rng, kind):
        self.loss = str(rng.choice([*CODES]))
        self.labelled = self.loss in ("cross-entropy", "error")
        depth = int(rng.integers(1 + self.labelled, 6))
        widest = 3 if kind == "many samples" else 5
        self.sizes = tuple(map(int, rng.integers(1, widest, depth + 1)))
        if self.labelled:
            self.sizes = (*self.sizes[:-1], int(rng.integers(2, 5)))
        self.hidden = str(rng.choice(["relu", *NONLINEAR]))
        outputs = ["identity", *ACTIVATIONS]
        self.output = "identity" if self.labelled else str(rng.choice(outputs))
        self.biases = bool(rng.integers(4)) or self.labelled
        samples = int(rng.choice([1, 1, 2, 3, 5]))
        if kind == "many samples":
            samples = int(rng.choice([127, 128, 129, 257]))
        self.X = numbers(rng, kind, (samples, self.sizes[0]))
        if kind == "near overflow":  # but for the weights
            self.X = rng.choice([0.0, 5e-324, -1e-300, 1e-160], self.X.shape)
        if self.labelled:
            self.y = np.sort(rng.integers(0, self.sizes[-1], samples))
        else:
            self.y = numbers(rng, kind, (samples, self.sizes[-1]))
        model = MLP(self.sizes, self.hidden, self.output, self.biases)
        self.theta1, self.theta2 = self.ends(rng, kind, model.n_parameters)
        if self.labelled and self.hidden == "relu" and rng.integers(2) and kind != "near overflow":
            with np.errstate(over="ignore"):
                self.X = np.clip(self.X, -1e30, 1e30).astype(np.float32).astype(float)
            metric = "error" if self.loss == "error" else "loss"
            data = self.X, self.y
            problem = Classification(model, *data, *data, metric=metric)
            self.segment = problem.segment(self.theta1, self.theta2)
            return
        rest = {"targets": certify.in_tiles(self.y)} if not self.labelled else {}
        tiles, counts = certify.in_tiles(self.X), certify.counts_of(samples)
        if self.labelled:
            groups = [self.X[self.y == label] for label in range(self.sizes[-1])]
            tiles = np.concatenate([certify.in_tiles(rows) for rows in groups if len(rows)])
            counts = np.concatenate([certify.counts_of(len(rows)) for rows in groups])
            labels = [np.full(-(-len(rows) // 128), k) for k, rows in enumerate(groups)]
            rest = {"labels": np.concatenate(labels)}
        data = certify.ProofData(
            model.layers,
            CODES[self.loss],
            counts,
            np.abs(self.X).max(axis=0),
            inputs=tiles,
            largest_target=None if self.labelled else np.abs(self.y).max(axis=0),
            **rest,
        )
        self.segment = certify.Segment(data, self.theta1, self.theta2)

    def ends(self, rng, kind, size):
        """Two vectors of weights."""
        theta1, theta2 = numbers(rng, kind, size), numbers(rng, kind, size)
        if kind in ("equal ends", "close ends"):
            theta2 = theta1 * (1.0 + (kind == "close ends") * 2.0**-52 * rng.integers(-4, 5, size))
        if kind == "opposite ends":
            theta2 = -theta1 * rng.choice([1.0, 1.0 + 2.0**-52, 0.5])
        if kind == "far ends":
            theta2 = theta2 * 10.0 ** rng.uniform(2, 12)
        if kind == "half dead" and self.biases:
            at = 0
            for m, n in pairwise(self.sizes):
                at += (m + 1) * n
                shift = rng.choice([-20.0, 0.0, 20.0], n)
                theta1[at - n : at] += shift
                theta2[at - n : at] += shift * rng.choice([1.0, 1.0, -1.0], n)
        return theta1, theta2

    def forward(self, a, thetas, units, scale=1, one=1):
        """Outputs in any arithmetic; with integers, inputs are multiples of 1/scale, θ of 1/one."""
        for layer, (m, n) in enumerate(pairwise(self.sizes), 1):
            W = thetas[..., : m * n].reshape(*thetas.shape[:-1], m, n)
            a = a @ W
            thetas = thetas[..., m * n :]
            if self.biases:
                a = a + scale * thetas[..., None, :n]
                thetas = thetas[..., n:]
            a = units[self.output if layer == len(self.sizes) - 1 else self.hidden](a)
            scale *= one
        return a, scale

    def differences(self, z):
        """Logits less that of the label, without the label's: (…, N, classes - 1)."""
        own = np.take_along_axis(z, np.broadcast_to(self.y[:, None], (*z.shape[:-1], 1)), -1)
        others = np.arange(z.shape[-1]) != self.y[:, None]
        return (z - own)[..., others].reshape(*z.shape[:-1], -1)

    def extended(self, points):
        """The least and the largest that γ can be at each of the points, to 64 bits."""
        t = points.astype(np.longdouble)[:, None]
        thetas = (1 - t) * self.theta1 + t * self.theta2
        a = np.broadcast_to(self.X.astype(np.longdouble), (len(t), *self.X.shape))
        z, _ = self.forward(a, thetas, UNITS)
        slack = EXTENDED * self.segment.sigma
        if self.labelled:
            d = self.differences(z)
            worst = d.max(axis=-1)
            if self.loss == "error":
                margin = EXTENDED * self.segment.margin
                return (worst >= margin).mean(axis=-1), (worst >= -margin).mean(axis=-1)
            top = np.maximum(worst, 0)
            total = np.exp(-top) + np.exp(d - top[..., None]).sum(axis=-1)
            values = (top + np.log(total)).mean(axis=-1)
        else:
            r = np.abs(z - self.y)
            each = {
                "mse": lambda: r * r,
                "mae": lambda: r,
                "huber": lambda: np.where(r <= 0.1, r * r / 2, 0.1 * (r - np.longdouble(0.1) / 2)),
                "log-cosh": lambda: r + np.log1p(np.exp(-2 * r)) - np.log(np.longdouble(2)),
            }[self.loss]
            values = each().sum(axis=-1).mean(axis=-1)
        return values - slack, values + slack

    @property
    def rational(self):
        """Whether γ can be computed without rounding."""
        units = {self.output} | ({self.hidden} if len(self.sizes) > 2 else set())
        return units <= {"relu", "identity"} and self.loss not in ("log-cosh", "cross-entropy")

    def exact(self, t):
        """γ(t) as a fraction."""
        p, q = Fraction(t).as_integer_ratio()
        thetas = (q - p) * whole(self.theta1) + p * whole(self.theta2)
        relu = np.frompyfunc(lambda v: max(v, 0), 1, 1)
        units = {"relu": relu, "identity": lambda z: z}
        z, scale = self.forward(whole(self.X), thetas, units, ONE, ONE * q)
        N = len(self.X)
        if self.labelled:
            return Fraction(int((self.differences(z).max(axis=-1) >= 0).sum()), N)
        total, delta = Fraction(0), Fraction(0.1)
        for value, target in zip(z.ravel(), self.y.ravel(), strict=True):
            r = abs(Fraction(value, scale) - Fraction(target))
            if self.loss == "huber":
                total += r * r / 2 if r <= delta else delta * (r - delta / 2)
            else:
                total += r * r if self.loss == "mse" else r
        return total / N

    def digits(self, t):
        """γ(t) in 60 digits."""
        t = mpmath.mpf(float(t))
        mp = np.frompyfunc(mpmath.mpf, 1, 1)
        z, _ = self.forward(mp(self.X), (1 - t) * mp(self.theta1) + t * mp(self.theta2), DIGITS)
        if self.labelled:
            d = self.differences(z)
            if self.loss == "error":
                return mpmath.mpf(int((d.max(axis=-1) >= 0).sum())) / len(z)
            return mpmath.fsum(mpmath.log1p(mpmath.fsum(map(mpmath.exp, row))) for row in d) / len(
                z
            )
        delta, total = mpmath.mpf(0.1), mpmath.mpf(0)
        for r in np.abs(z - mp(self.y)).ravel():
            if self.loss == "log-cosh":
                total += r + mpmath.log1p(mpmath.exp(-2 * r)) - mpmath.log(2)
            elif self.loss == "huber":
                total += r * r / 2 if r <= delta else delta * (r - delta / 2)
            else:
                total += r * r if self.loss == "mse" else r
        return total / len(z)


def numbers(rng, kind, shape):
    """Inputs, targets or weights."""
    x = rng.normal(size=shape) * 10.0 ** rng.uniform(-1, 1)
    if kind == "whole numbers":
        return rng.integers(-2, 3, shape) * rng.choice([0.5, 1.0])
    if kind == "all scales":
        return x * 10.0 ** rng.uniform(-320, rng.choice([-150, 20, 150]), shape)
    if kind == "one scale":
        return x * 10.0 ** rng.uniform(-320, 150)
    if kind == "outliers":
        return np.where(rng.random(shape) < 0.2, 10.0 ** rng.uniform(3, 9), 1.0) * x
    if kind == "near overflow":
        sizes = [0.0, 5e-324, 1e-160, 1.0, 1e100, 1e154, 1e290, 1.7e308]
        often = [0.35, 0.05, 0.05, 0.35, 0.05, 0.05, 0.05, 0.05]
        return np.sign(x) * rng.choice(sizes, shape, p=often)
    return x


def whole(x):
    """Doubles as whole numbers, in units of 1/ONE."""
    return np.frompyfunc(lambda v: int(Fraction(v) * ONE), 1, 1)(x)


UNITS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky-relu": lambda z: np.maximum(z, np.longdouble(LEAKY_SLOPE) * z),
    "tanh": np.tanh,
    "sigmoid": lambda z: (1 + np.tanh(z / 2)) / 2,
}
DIGITS = {
    "identity": lambda z: z,
    "relu": np.frompyfunc(lambda z: max(z, mpmath.mpf(0)), 1, 1),
    "leaky-relu": np.frompyfunc(lambda z: max(z, mpmath.mpf(LEAKY_SLOPE) * z), 1, 1),
    "tanh": np.frompyfunc(mpmath.tanh, 1, 1),
    "sigmoid": np.frompyfunc(lambda z: (1 + mpmath.tanh(z / 2)) / 2, 1, 1),
}


def intervals(rng, count):
    """Centres and radii as a search can meet them."""
    levels = np.minimum(2 + rng.geometric(0.15, count), 41)
    r = 2.0**-levels
    return r * (1 + 2 * rng.integers(0, 2 ** (levels - 1))), r


class Tally:
    """What was seen of one kind."""

    def __init__(self):
        self.intervals = self.silent = self.exact = self.digits = self.violations = 0
        self.value = self.bound = 0.0

    def see(self, what, below, above, sigma, ratio):
        """One comparison: is `below` at most `above`, and what share of σ did rounding take?"""
        wrong = not below <= above
        self.violations += wrong
        if 0.0 < sigma < np.inf and ratio is not None:
            setattr(self, what, max(getattr(self, what), float(ratio)))
        return wrong


def attack(rng, kind, tally, count):
    """Attack one segment; yields descriptions of violations."""
    case = Case(rng, kind)
    segment, samples = case.segment, len(case.X)
    sigma, loss_is_error = segment.sigma, case.loss == "error"
    name = f"{kind}: {case.sizes} {case.hidden} {case.output} {case.loss} {samples} samples"
    if segment.tighten(-np.inf, 1e-3, 0) and segment.peak.upper == np.inf:
        tally.silent += count
        if segment.peak.lower > -np.inf:
            tally.violations += 1
            yield f"{name}: lower {segment.peak.lower} of a segment that overflows"
        return
    centres, radii = intervals(rng, count)
    offsets = np.column_stack(
        [np.tile([0, -64, 64], (count, 1)), rng.integers(-64, 65, (count, 2))]
    )
    all_points = centres[:, None] + radii[:, None] * offsets / 64
    all_least, all_most = (part.reshape(count, -1) for part in case.extended(all_points.ravel()))
    highest = all_least.max()
    for c, r, points, least, most in zip(
        centres, radii, all_points, all_least, all_most, strict=True
    ):
        found = enclose(c, r, *segment.network, segment.margin, *segment.workspaces())
        value, bound = (float(sum_) / samples for sum_ in found)
        tally.intervals += 1
        slack = 0.0 if loss_is_error else EXTENDED * sigma
        off = max(least.max() + slack - bound, 0.0) / sigma if sigma else None
        if tally.see("bound", least.max(), np.longdouble(bound) + sigma, sigma, off):
            yield f"{name}: c={c} r={r} bound {bound} + {sigma} < {least.max()}"
        off = abs(least[0] + slack - value) / sigma if sigma else None
        if tally.see("value", np.longdouble(value) - sigma, most[0], sigma, off):
            yield f"{name}: c={c} value {value} - {sigma} > {most[0]}"
        t = points[rng.integers(len(points))]
        if case.rational:
            exact, number, tally.exact = case.exact(t), Fraction, tally.exact + 1
            exact = Fraction(float(exact)) if loss_is_error else exact
        elif tally.intervals % 32 == 0:
            exact, number, tally.digits = case.digits(t), mpmath.mpf, tally.digits + 1
            exact = number(float(exact)) if loss_is_error else exact
        else:
            continue
        off = (exact - number(bound)) / number(sigma) if sigma else None
        if tally.see("bound", exact, number(bound) + number(sigma), sigma, off):
            yield f"{name}: c={c} r={r} t={t} bound {bound} + {sigma} < {float(exact)} exactly"
        if t == c:
            off = abs(exact - number(value)) / number(sigma) if sigma else None
            if tally.see("value", number(value) - number(sigma), exact, sigma, off):
                yield f"{name}: c={c} value {value} - {sigma} > {float(exact)} exactly"
    segment.tighten(-np.inf, 10.0 ** rng.uniform(-9, -1), 20)
    peak = segment.peak
    least, most = case.extended(np.array([peak.t_star, 0.0, 1.0]))
    if not max(highest, least.max()) <= peak.upper or not peak.lower <= most[0]:
        tally.violations += 1
        yield f"{name}: {peak}, but {highest}, {least}"


def main():
    """Attack, print what was found, and fail if that is anything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200_000, help="intervals")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=16, help="intervals of a segment")
    args = parser.parse_args()
    tallies = collections.defaultdict(Tally)
    started, seen = time.perf_counter(), 0
    try:
        for seed in range(-(-args.count // args.each)):
            kind = KINDS[seed % len(KINDS)]
            rng = np.random.default_rng((args.seed, seed))
            with np.errstate(all="ignore"):
                for line in attack(rng, kind, tallies[kind], args.each):
                    print(f"VIOLATION, segment {seed}: {line}", flush=True)
            if seed % 500 == 499:
                print(
                    f"{seed + 1} segments, {time.perf_counter() - started:.0f} s", file=sys.stderr
                )
    except KeyboardInterrupt:
        print("interrupted")
    print("kind: intervals, exact, 60 digits, too large; violations; errors as shares of σ")
    for kind, tally in tallies.items():
        seen += tally.violations
        print(
            f"{kind}: {tally.intervals}, {tally.exact}, {tally.digits}, {tally.silent}; "
            f"{tally.violations}; of γ(c) {tally.value:.3f}, above a bound {tally.bound:.3f}"
        )
    total = sum(tally.intervals for tally in tallies.values())
    print(f"{total} intervals, {seen} violations, {time.perf_counter() - started:.0f} s")
    return int(seen > 0)


if __name__ == "__main__":
    sys.exit(main())
