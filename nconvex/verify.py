"""Verify a path of networks from its file alone: `python verify.py string.npz`. Needs only NumPy.

THE CLAIM. The file holds weights θ₀, θ₁, …, a test set and a threshold L₀. On segment k the network
has the weights Θ(t) = (1-t) θₖ + t θₖ₊₁, 0 ≤ t ≤ 1. Exit status 0 says: in exact real arithmetic on
these numbers no Θ(t) on any segment has a mean loss on the test set above L₀. Nothing else in the
file is believed. The share of errors counts a tie as an error; as L₀ is the float nearest to what
the user wrote, so is the share (errors / samples) that is compared with it.

THE BOUND. Let I = {t: |t-c| ≤ r} and s = t-c. Each unit's activation, for each sample, is written
a(t) = a(c) + s q(t), where the slope q(t) lies in [D-E, D+E] for all t in I.
  Layer     z = Wa + b with W(t) = W + s dW, b(t) = b + s db has the slope Wq + dW a(c) + s dW q + db,
            within E' = |W| E + |dW| r (|D|+E) of D' = W D + dW a(c) + db. The first layer's input is
            constant, so its z is linear in t: the slope z(1)-z(0) is exact and both ends are kept.
  Unit φ    if all [φ(z+h) - φ(z)] / h, |h| ≤ reach = r (|D|+E), lie in [m-w, m+w], the new slope is
            within E' = w |D| + (m+w) E of D' = m D. ReLU's quotients rise with h: at h = -reach
            the quotient is min(z/reach, 1), or 0 if z ≤ 0, at h = reach it is 1, or
            max(1 + z/reach, 0) if z ≤ 0. For sigmoid and tanh the derivative's range serves (mean
            value theorem); it falls with |z|, so it is highest nearest to 0 and lowest farthest.
  Loss      ℓ of the residual ρ is even, convex and rises with |ρ|, and |ρ(t)| ≤ |ρ + sD| + |s|E. So
            the mean loss is at most mean ℓ(|ρ + sD| + |s|E), which is convex in s, hence highest at
            s = r or s = -r: two sums bound the loss on all of I. Cross-entropy is log Σ exp dⱼ with
            dⱼ = logitⱼ - logit of the label, and exp dⱼ ≤ exp(dⱼ + sDⱼ + |s|Eⱼ), whose log-sum is
            convex in s, too. A sample is surely right on I if every dⱼ + r|Dⱼ| + rEⱼ < 0, j ≠ label.
            The dⱼ are computed by a last layer whose weights are the differences to the label's.

ROUNDING. Each computed a(c) has a radius e: it is within e of the true one, W, dW, a(c) being true
values at c. What is assumed: IEEE 754 doubles, round to nearest, gradual underflow: fl(x∘y) =
(x∘y)(1+δ) + η with |δ| ≤ U = 2⁻⁵³, |η| ≤ 2⁻¹⁰⁷⁵; sums in any order, by any number of threads, with or
without fused multiply-adds, then have relative error γₙ = nU/(1-nU) in terms of Σ|terms| (Higham,
ch. 3; matrix products are sums of products, not Strassen's); exp, log, log1p, tanh of NumPy err
by less than 8 units in the last place. Then, with H = |W|+|dW| as computed from two ends whose
relative error is at most U (they are exact, or differences to the label's):
  dW by subtraction and W = Wₐ + c dW are both within 4U H + 2⁻¹⁰⁷³ of the true ones. With n inputs
  and g = (2n+20) U ≥ γ₂ₙ₊₂ + 16U this gives, b and db counting as one more input,
  e' ≥ |W|e + g H(|a|+e),   E' ≥ |W|(E + g(|D|+|a|+e)) + |dW|((r+g)(|D|+E) + e + g(|a|+e)).
  Units: reach is enlarged by e where φ' serves, z ranges over z ± e for ReLU; e' = e (|φ'| ≤ 1) plus
  the error of φ. Slack of 16U (32U with tanh) in w covers m, w, the quotients, and the product m D.
  Radii themselves are sums of products of numbers ≥ 0: their rounding is below 2⁻³¹ relative for
  n < 2²⁰, so a factor FAT = 1 + 2⁻³⁰ covers it; TINY = 2⁻⁹⁶⁰ is added to each, and to |W| and |dW|
  before they multiply a radius, which covers all underflow (g TINY is far above 2⁻¹⁰⁷³).
  e' also contains g|z|, so an overflow makes e' infinite; infinite or NaN bounds prove nothing.
  Losses: 2(T+64)U relative for T terms, and where logarithms are taken, an absolute term.

THE SEARCH. Halve the interval whose bound is highest until no bound is above L₀. c and r are
multiples of 2⁻⁴⁰, so c ± r are exact. A value at c, less its rounding, above L₀ is a counterexample.
"""

import argparse
import heapq
import json
import math
import re
import sys
import time
import zipfile
import zlib
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
U, FAT, TINY = 2.0**-53, 1.0 + 2.0**-30, 2.0**-960
HUBER_DELTA = 0.1  # the double nearest to it
LARGEST_FILE, LARGEST_RATIO, LARGEST_LAYER = 2**30, 100, 2**20
CLASSIFIERS, LOGARITHMS = ("cross-entropy", "error"), ("cross-entropy", "log-cosh")
UNITS = ("relu", "sigmoid", "tanh", "identity")


class State(NamedTuple):
    """Of units (columns) and samples (rows): a(c) within e, slopes within E of D."""

    a: Array
    e: Array
    D: Array
    E: Array


def linear(x: State, ends: tuple[Array, ...], c: float, r: float) -> State:
    """Z = Wa + b on the interval; ends are W, b at t = 0 and W, b at t = 1."""
    dW, db = ends[2] - ends[0], ends[3] - ends[1]
    W, b = ends[0] + c * dW, ends[1] + c * db
    P, Q, B = abs(W) + TINY, abs(dW) + TINY, abs(b) + abs(db)
    g = (2 * len(W) + 20) * U
    z, D = x.a @ W + b, x.D @ W + x.a @ dW + db
    aD, G = abs(x.D), g * (abs(x.a) + x.e) + TINY
    e = FAT * ((x.e + G) @ (P + Q) + g * (B + abs(z))) + TINY
    E = (x.E + g * aD + G) @ P + ((r + g) * (aD + x.E) + x.e + G) @ Q
    return State(z, e, D, FAT * (E + g * B) + TINY)


def unit(x: State, name: str, r: float) -> State:
    """φ(z) on the interval."""
    if name == "identity":
        return x
    z, e, D, E = x
    reach = FAT * (r * (abs(D) + E)) + TINY
    if name == "relu":
        low = np.minimum(np.maximum((z - e) / reach, 0.0), 1.0)
        high = np.minimum(np.maximum(1.0 + (z + e) / reach, 0.0), 1.0)
        value, slack = np.maximum(z, 0.0), 16 * U
    else:  # tanh z, or sigmoid: 1/2 + 1/2 tanh(z/2)
        k = 1.0 if name == "tanh" else 0.5
        reach = FAT * (reach + e)
        low = k * k * (1.0 - np.tanh(k * (abs(z) + reach)) ** 2)
        high = k * k * (1.0 - np.tanh(k * np.maximum(abs(z) - reach, 0.0)) ** 2)
        value, slack, e = (1.0 - k) + k * np.tanh(k * z), 32 * U, FAT * e + 16 * U
    m, w = 0.5 * (low + high), 0.5 * (high - low) + slack
    return State(value, e, m * D, FAT * (w * abs(D) + (m + w) * E) + TINY)


def loss_of(residual: Array, name: str) -> Array:
    """ℓ of residuals ≥ 0; rising, and right to 8 roundings (log-cosh: 16 U (1 + residual))."""
    if name == "mse":
        return residual * residual
    if name == "huber":
        inner = np.minimum(residual, HUBER_DELTA)
        return inner * (residual - 0.5 * inner)
    return residual if name == "mae" else residual + np.log1p(np.exp(-2 * residual)) - math.log(2)


def log_sum_exp(d: Array) -> Array:
    """Log Σ exp dⱼ of each row."""
    top = d.max(axis=1)
    return top + np.log(np.exp(d - top[:, None]).sum(axis=1))


def sums(x: State, y: Array, loss: str, label: int, r: float) -> Array:
    """Sums of the losses: bounds at s = -r and s = r, and one from below at s = 0."""
    z, e, D, E = x
    if label < 0:
        z = z - y
    aD = abs(D)
    radius = FAT * (e + r * E + 8 * U * (abs(z) + r * aD)) + TINY
    at_c = FAT * (e + 8 * U * abs(z)) + TINY
    if loss == "error":
        others = np.arange(z.shape[1]) != label
        sure = ((z + r * aD + radius)[:, others] < 0.0).all(axis=1)
        wrong = ((z - at_c)[:, others] >= 0.0).any(axis=1)
        return np.array([len(z) - sure.sum(), len(z) - sure.sum(), wrong.sum()], dtype=float)
    left, right = z - r * D, z + r * D
    if label >= 0:
        return np.array([log_sum_exp(d).sum() for d in (left + radius, right + radius, z - at_c)])
    residuals = abs(left) + radius, abs(right) + radius, np.maximum(abs(z) - at_c, 0.0)
    return np.array([loss_of(residual, loss).sum() for residual in residuals])


class Path:
    """A path and its test set, as far as they are needed; see `read` for the checks."""

    def __init__(self, arrays: dict[str, Array], sizes: list[int], units: list[str]):
        self.beads, self.X, self.y = (arrays[name] for name in ("beads", "X_test", "y_test"))
        self.sizes, self.units, self.loss = sizes, units, arrays["loss"].item()
        self.L0, self.biases, self.claims = arrays["L0"].item(), arrays["biases"].item(), arrays
        step = max(128, 2**17 // max(sizes[1:]))
        labels = range(sizes[-1]) if self.loss in CLASSIFIERS else [-1]
        rows = [(k, np.flatnonzero(self.y == k) if k >= 0 else np.arange(len(self.X))) for k in labels]
        self.chunks = [(k, r[i : i + step]) for k, r in rows for i in range(0, len(r), step)]

    def layers(self, theta: Array) -> list[tuple[Array, Array]]:
        """Weights (inputs, outputs), row by row, then biases, layer by layer."""
        found, k = [], 0
        for m, n in pairwise(self.sizes):
            W, k = theta[k : k + m * n].reshape(m, n), k + m * n
            b, k = (theta[k : k + n], k + n) if self.biases else (np.zeros(n), k)
            found.append((W, b))
        return found

    def first_layer(self, theta: Array) -> tuple[Array, Array]:
        """The first layer's z at a bead, and its radius."""
        (W, b), g = self.layers(theta)[0], (2 * self.sizes[0] + 20) * U
        z, radius = np.empty((2, len(self.X), self.sizes[1]))
        for k in range(0, len(z), 1024):
            X = self.X[k : k + 1024].astype(np.float64)
            z[k : k + 1024] = X @ W + b
            radius[k : k + 1024] = FAT * (g * ((abs(X) + TINY) @ (abs(W) + TINY) + abs(b))) + TINY
        return z, radius + FAT * g * abs(z)

    def segment(self, k: int, first: tuple[Array, Array], last: tuple[Array, Array]) -> Any:
        """Make enclose(c, r, enough): an upper bound on I, and a lower bound of the loss at c."""
        (za, ea), (zb, eb) = first, last
        D = zb - za
        e = FAT * (ea + eb + 8 * U * (abs(za) + abs(zb) + abs(D))) + TINY
        pairs = zip(self.layers(self.beads[k])[1:], self.layers(self.beads[k + 1])[1:], strict=True)
        later = [(*a, *b) for a, b in pairs]
        exact, terms = self.loss == "error", len(self.X) * self.sizes[-1]
        slack = 0.0 if exact else 2 * (terms + 64) * U
        logs = (32 + 2 * self.sizes[-1]) * U * self.sizes[-1] * (self.loss in LOGARITHMS)

        def enclose(c: float, r: float, enough: float) -> tuple[float, float]:
            total = np.zeros(3)
            for label, rows in self.chunks:
                x = State(za[rows] + c * D[rows], e[rows], D[rows], e[rows])
                for ends, name in zip(later, self.units, strict=False):
                    if label >= 0 and ends is later[-1]:  # differences to the label's logit
                        ends = tuple(end - end[..., label : label + 1] for end in ends)
                    x = linear(unit(x, name, r), ends, c, r)
                total += sums(unit(x, self.units[-1], r), self.y[rows], self.loss, label, r)
                if total[:2].max() > enough * len(self.X):  # too high already: no use to go on
                    return math.inf, float(total[2] / len(self.X) * (1 - slack) - logs)
            high = max(total[0], total[1]) / len(self.X) * (1 + slack) + logs
            low = total[2] / len(self.X) * (1 - slack) - logs
            return (float(high) if high == high else math.inf), float(low)

        return enclose


def search(path: Path, L0: float, gap: float, most: int, tell: Any) -> dict[str, Any]:
    """Bound the loss on each segment, until it is decided against L₀ and bracketed to the gap."""
    segments, best, found = [], -math.inf, (0, 0.0)
    first, begun = path.first_layer(path.beads[0]), time.perf_counter()
    for k in range(len(path.beads) - 1):
        last = path.first_layer(path.beads[k + 1])
        enclose = path.segment(k, first, last)
        bounded, first = 0, last
        ends = [enclose(t, 0.0, math.inf) for t in (0.0, 1.0)]
        lower = max(low for _, low in ends)
        at = float(np.argmax([low for _, low in ends]))
        heap = [(-math.inf, 0.5, 0.5)]
        while True:
            if lower > best:
                best, found = lower, (k, at)
            level = math.inf if gap == math.inf else best + gap * abs(best)
            level = L0 if best <= L0 < level else level
            if -heap[0][0] <= level or bounded >= most or heap[0][2] <= 2.0**-40:
                break
            _, c, r = heapq.heappop(heap)
            parts = [(c, r)] if bounded == 0 else [(c - r / 2, r / 2), (c + r / 2, r / 2)]
            for c, r in parts:
                high, low = enclose(c, r, level)
                bounded += 1
                heapq.heappush(heap, (-high, c, r))
                if low > lower:
                    lower, at = low, c
            tell(f"segment {k + 1} of {len(path.beads) - 1}: {bounded} intervals")
        segments.append({"lower": lower, "upper": -heap[0][0], "t": at, "intervals": bounded})
        segments[-1]["ends"] = ends
    upper = max(segment["upper"] for segment in segments)
    verdict = "refuted" if best > L0 else "proven" if upper <= L0 else "open"
    lengths = np.sqrt((np.diff(path.beads, axis=0) ** 2).sum(axis=1))
    across = float(np.sqrt(((path.beads[-1] - path.beads[0]) ** 2).sum()))
    return {
        "verdict": verdict, "L0": L0, "loss": path.loss, "samples": len(path.X),
        "beads": len(path.beads) - 2, "intervals": sum(s["intervals"] for s in segments),
        "lower": best, "upper": upper, "segment": found[0], "t": found[1], "segments": segments,
        "normalized_length": float(lengths.sum()) / across if across else None,
        "seconds": time.perf_counter() - begun,
    }  # fmt: skip


def exact_loss(path: Path, k: int, t: Fraction) -> Fraction:
    """The loss at Θ(t) of segment k in rational arithmetic, without rounding."""
    need(set(path.units) <= {"relu", "identity"}, "--exact needs ReLU units")
    need(path.loss in ("mse", "mae", "error"), "--exact needs mse, mae or error")
    need(0 <= k < len(path.beads) - 1 and 0 <= t <= 1, f"there is no point {k}:{t} on the path")
    rational = np.frompyfunc(Fraction, 1, 1)
    a, zero = rational(path.X.astype(float)), Fraction(0)
    ends = zip(path.layers(path.beads[k]), path.layers(path.beads[k + 1]), strict=True)
    for ((Wa, ba), (Wb, bb)), name in zip(ends, path.units, strict=True):
        W, b = ((1 - t) * rational(p) + t * rational(q) for p, q in ((Wa, Wb), (ba, bb)))
        a = a @ W + b
        a = np.maximum(a, zero) if name == "relu" else a
    if path.loss == "error":
        right = [all(v < row[y] for j, v in enumerate(row) if j != y) for row, y in zip(a, path.y)]
        return 1 - Fraction(sum(right), len(a))
    residuals = abs(a - rational(path.y.astype(float)))
    return (residuals**2 if path.loss == "mse" else residuals).sum() / len(a)


class Refused(Exception):
    """The file cannot be read or is not what it has to be, or a request makes no sense."""


def need(right: Any, what: str) -> None:
    """Refuse with a message unless it is right."""
    if not right:
        raise Refused(what)


HEADER = r"\{'descr': '([<|][biufU]\d{1,4})', 'fortran_order': (False|True), 'shape': \(([\d, ]*)\), \}\s*"
NEEDED = ("beads", "L0", "sizes", "activation", "output_activation", "biases", "loss", "X_test", "y_test")
CLAIMS = ("losses", "segment_lower", "segment_upper")


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read an array of numbers or text that has exactly the announced size."""
    data = archive.read(member)  # no more than member.file_size, and its checksum is right
    start = 10 + int.from_bytes(data[8:10], "little")
    header = re.fullmatch(HEADER, data[10:start].decode("latin-1"))
    need(data[:8] == b"\x93NUMPY\x01\x00" and header, f"{member.filename} is not an array")
    shape = [int(length) for length in re.findall(r"\d+", header[3])]
    dtype = np.dtype(header[1])
    right = 0 < math.prod(shape) * dtype.itemsize == len(data) - start
    need(right, f"{member.filename} is not as long as it announces")
    order = "F" if header[2] == "True" else "C"
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order=order)


def read(name: str) -> Path:
    """Read and check a file; it stays data, and takes no memory before its size is known."""
    wanted = [f"{key}.npy" for key in NEEDED + CLAIMS]
    try:
        with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
            members = [info for info in archive.infolist() if info.filename in wanted]
            need(len({info.filename for info in members}) == len(members), "an array occurs twice")
            need(sum(info.file_size for info in members) <= LARGEST_FILE, "arrays are too large")
            for info in members:
                packed = LARGEST_RATIO * info.compress_size + 1000
                need(info.file_size <= packed, f"{info.filename} is suspiciously well compressed")
            arrays = {info.filename[:-4]: read_array(archive, info) for info in members}
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(f"cannot be read: {error}") from None
    for key in NEEDED + CLAIMS:
        need(key in arrays, f"has no {key}: was it saved without its problem?")
    scalars = {"L0": "f", "activation": "U", "output_activation": "U", "biases": "b", "loss": "U"}
    for key, kind in scalars.items():
        need(arrays[key].shape == () and arrays[key].dtype.kind == kind, f"{key} is of a wrong type")
    beads, X, y, loss = arrays["beads"], arrays["X_test"], arrays["y_test"], arrays["loss"].item()
    need(arrays["sizes"].dtype.kind == "i" and arrays["sizes"].ndim == 1, "sizes are no integers")
    sizes, classes = arrays["sizes"].tolist(), loss in CLASSIFIERS
    need(len(sizes) > 1 + classes and 0 < min(sizes) <= max(sizes) < LARGEST_LAYER, "wrong sizes")
    units = [arrays["activation"].item()] * (len(sizes) - 2) + [arrays["output_activation"].item()]
    need(set(units) <= set(UNITS) and not (classes and units[-1] != "identity"), "unknown units")
    need(loss in (*CLASSIFIERS, "mse", "mae", "huber", "log-cosh"), "unknown loss")
    parameters = sum((m + bool(arrays["biases"])) * n for m, n in pairwise(sizes))
    need(beads.dtype == np.float64 and beads.ndim == 2, "beads are no rows of doubles")
    need(len(beads) > 1 and beads.shape[1] == parameters, f"beads have not {parameters} weights")
    need(X.dtype in (np.float32, np.float64) and X.ndim == 2, "X_test holds no rows of floats")
    need(X.shape[1] == sizes[0], f"X_test has not {sizes[0]} columns")
    if classes:
        need(y.dtype.kind == "i" and y.shape == X.shape[:1], "y_test has not a label a sample")
        need(0 <= y.min() and y.max() < sizes[-1], "y_test names a class that there is not")
    else:
        need(y.dtype == np.float64 and y.shape == (len(X), sizes[-1]), "y_test is of a wrong shape")
    need(all(np.isfinite(array).all() for array in (beads, X, y, arrays["L0"])), "is not finite")
    return Path(arrays, sizes, units)


def contradictions(path: Path, found: dict[str, Any]) -> list[str]:
    """What the file claims and is not so, to a part in a million."""
    segments = found["segments"]
    ends = [segment["ends"][0] for segment in segments] + [segments[-1]["ends"][1]]
    truth = {
        "losses": ends,
        "segment_lower": [(s["upper"], -math.inf) for s in segments],
        "segment_upper": [(math.inf, s["lower"]) for s in segments],
    }
    wrong = []
    for key, brackets in truth.items():
        claimed = path.claims[key]
        if claimed.shape != (len(brackets),) or claimed.dtype != np.float64:
            wrong.append(f"{key} is of a wrong shape")
            continue
        for k, (value, (high, low)) in enumerate(zip(claimed.tolist(), brackets, strict=True)):
            if not low - 1e-6 * abs(low) - 1e-9 <= value <= high + 1e-6 * abs(high) + 1e-9:
                wrong.append(f"{key}[{k}] = {value:.9g}, but it is from {low:.9g} to {high:.9g}")
    return wrong


def report(found: dict[str, Any]) -> str:
    """Say in words what was found."""
    on = f"on these {found['samples']} test samples"
    measure = "share of errors" if found["loss"] == "error" else "loss"
    L0, beads, n = f"{found['L0']:.9g}", found["beads"], found["intervals"]
    where = f"segment {found['segment']}, t = {found['t']!r}"
    if found["verdict"] == "proven":
        text = f"{on} no weights on the path of {beads} beads have a {measure} above {L0}: proven "
        text += f"with {n} intervals, floating-point rounding included; the highest {measure} is "
        text += f"between {found['lower']:.9g} ({where}) and {found['upper']:.9g}"
    elif found["verdict"] == "refuted":
        text = f"NOT PROVEN, and not so: {on} the {measure} at {where} is at least "
        text += f"{found['lower']:.9g}, above {L0}"
    else:
        text = f"NOT PROVEN within {n} intervals: {on} the highest {measure} is between "
        text += f"{found['lower']:.9g} ({where}) and {found['upper']:.9g}, where {L0} was asked for"
    claims = found["claims"]
    return f"{text}. " + (f"The file claims {'; '.join(claims)}." if claims else "Its claims agree.")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="verify", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="string.npz")
    parser.add_argument("--L0", type=float, help="another threshold than the file's")
    parser.add_argument("--gap", type=float, default=math.inf, help="bracket the highest loss, too")
    parser.add_argument("--intervals", type=int, default=5000, help="at most, on a segment")
    parser.add_argument("--exact", action="append", metavar="K:T", help="segment K, t = T, e.g. 0:1/3")
    parser.add_argument("--json", action="store_true", help="one JSON document a file")
    args = parser.parse_args(argv)
    statuses = []
    for name in args.files:
        try:
            path = read(name)
            L0 = path.L0 if args.L0 is None else args.L0
            need(args.gap > 0 and math.isfinite(L0), "--gap must be positive, L0 finite")
            shown = [time.monotonic()]

            def tell(text: str, shown: list[float] = shown, name: str = name) -> None:
                if time.monotonic() > shown[0] + 5:
                    print(f"{name}: {text}", file=sys.stderr)
                    shown[0] = time.monotonic()

            with np.errstate(all="ignore"):
                found = search(path, L0, args.gap, args.intervals, tell)
            found["claims"] = contradictions(path, found)
            points = {}
            for point in args.exact or ():
                k, _, t = point.partition(":")
                points[point] = exact_loss(path, int(k), Fraction(t))
        except (Refused, MemoryError, ValueError, ZeroDivisionError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            statuses.append(2)
            continue
        except KeyboardInterrupt:
            print(f"{name}: interrupted; nothing is proven of it", file=sys.stderr)
            return 130
        statuses.append(0 if found["verdict"] == "proven" else 1)
        if args.json:
            found["exact"] = {point: str(value) for point, value in points.items()}
            text = json.dumps({"file": name, **found})
            print(re.sub(r"-?Infinity|NaN", "null", text))
        else:
            print(f"{name}: {report(found)}")
            for point, value in points.items():
                side = "above" if value > Fraction(L0) else "not above"
                print(f"  exactly at {point}: {float(value)!r}, {side} {L0!r}")
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
