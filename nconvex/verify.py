"""Verify a path of networks from its file alone: `python verify.py string.npz`. Needs only NumPy.

THE CLAIM. The file holds weights θ₀, θ₁, …, a test set and a threshold L₀. On segment k the network
has the weights Θ(t) = (1-t) θₖ + t θₖ₊₁, 0 ≤ t ≤ 1. Exit status 0 says: in exact real arithmetic on
these numbers no Θ(t) on any segment has a mean loss on the test set above L₀. Nothing else in the
file is believed. In the share of errors a tie is an error; as L₀ is the double nearest to what the
user wrote, so is the quotient errors / samples that is compared with it.

THE BOUND. Let I = {t: |t-c| ≤ r} and s = t-c. Each unit's activation, for each sample, is written
a(t) = a(c) + s q(t), where the slope q(t) lies in [D-E, D+E] for all t in I.
  Layer     z = Wa + b with W(t) = W + s dW, b(t) = b + s db has the slope Wq + dW a(c) + s dW q + db,
            within E' = |W| E + |dW| r (|D|+E) of D' = W D + dW a(c) + db. The first layer's input is
            constant, so its z is linear in t, its slope is z(1) - z(0), and both ends are kept.
  Unit φ    If all [φ(z+h) - φ(z)] / h, |h| ≤ reach = r (|D|+E), lie in [m-w, m+w], the new slope is
            within E' = w |D| + (m+w) E of D' = m D. ReLU's quotients rise with h (convexity): from
            clip(z/reach) at h = -reach to clip(1 + z/reach) at h = reach, clip to [0, 1]; both rise
            with z. For sigmoid and tanh the range of the derivative serves (mean value theorem):
            it falls with |z|, so it is highest nearest to 0 and lowest farthest from 0.
  Loss      ℓ of a residual ρ is even, convex and rises with |ρ|, and |ρ(t)| ≤ |ρ + sD| + |s|E. So
            the mean loss is at most mean ℓ(|ρ + sD| + |s|E), which is convex in s, hence highest at
            s = r or s = -r: two sums bound the loss on all of I. Cross-entropy is log Σ exp dⱼ with
            dⱼ = logitⱼ - logit of the label, and dⱼ(t) ≤ dⱼ + sDⱼ + |s|Eⱼ, whose log-sum-exp is
            convex in s, too. A sample is surely right on I if dⱼ + r|Dⱼ| + rEⱼ < 0 for j ≠ label.
            A last layer whose weights are the differences to the label's computes the dⱼ.

ROUNDING. Each computed a(c) has a radius e: the true one is within e. What is assumed: IEEE 754
doubles, round to nearest, gradual underflow, so fl(x∘y) = (x∘y)(1+δ) + η, |δ| ≤ U = 2⁻⁵³, |η| ≤ 2⁻¹⁰⁷⁵;
matrix products are sums of products (not Strassen's) in any order, by any number of threads, with
or without fused multiply-adds, so that a sum of n products errs by γₙ Σ|products| at most, γₙ =
nU/(1-nU) (Higham, Accuracy and Stability, ch. 3); NumPy's exp, log, log1p, tanh err by 8 ulp at most,
16U relative. Let two ends of W be known to a relative U (they are exact, or differences to the
label's) and H = |W|+|dW| as computed. Then dW by subtraction and W = Wₐ + c dW are within 4U H +
2⁻¹⁰⁷³ of the true ones. With n inputs and g = (2n+20) U > γ₂ₙ₊₂ + 16U, b and db being one more input,
          e' = H (e + g(|a|+e)),   E' = |W| (E + g|D| + g(|a|+e))
                                      + |dW| ((r+g)(|D|+E) + e + g(|a|+e))
  cover all errors. Units: z ranges over z ± e; e' is e (as |φ'| ≤ 1) plus the error of φ; slack in w
  of 16U, 64U with tanh, covers the quotients, m, w and the product m D. Radii are sums of products
  of numbers ≥ 0 and err by less than 2⁻³¹ relative for n < 2²⁰: a factor FAT = 1 + 2⁻³⁰ covers that.
  TINY = 2⁻⁹⁶⁰ is added to each, and to |W| and |dW| before they multiply radii, which covers all
  underflow (g TINY is far above 2⁻¹⁰⁷³). Radii contain g|z|, so overflow makes them infinite, and an
  infinite or NaN bound proves nothing. A mean of T terms gets 2(T+64)U relative, logarithms more.

THE SEARCH. Halve the interval whose bound is highest until no bound is above L₀. c and r are
multiples of 2⁻⁴², so c ± r are exact. A value at c, less its rounding, above L₀ is a counterexample.
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
MOST_INTERVALS, SHORTEST = 5000, 2.0**-40  # on a segment


class State(NamedTuple):
    """Samples (rows) by units (columns): a(c) within e, slopes within E of D."""

    a: Array
    e: Array
    D: Array
    E: Array


def linear(x: State, ends: tuple[Array, ...], c: float, r: float) -> State:
    """Z = Wa + b on the interval; ends are W and b at t = 0, W and b at t = 1."""
    dW, db = ends[2] - ends[0], ends[3] - ends[1]
    W, b = ends[0] + c * dW, ends[1] + c * db
    P, Q, B, g = abs(W) + TINY, abs(dW) + TINY, abs(b) + abs(db), (2 * len(W) + 20) * U
    z, D = x.a @ W + b, x.D @ W + x.a @ dW + db
    aD, G = abs(x.D), g * (abs(x.a) + x.e) + TINY
    e = (x.e + G) @ (P + Q) + g * (B + abs(z))
    E = (x.E + g * aD + G) @ P + ((r + g) * (aD + x.E) + x.e + G) @ Q + g * B
    return State(z, FAT * e + TINY, D, FAT * E + TINY)


def unit(x: State, name: str, r: float) -> State:
    """φ(z) on the interval."""
    if name == "identity":
        return x
    z, e, D, E = x
    reach = FAT * r * (abs(D) + E) + TINY
    if name == "relu":
        low = np.minimum(np.maximum((z - e) / reach, 0.0), 1.0)
        high = np.minimum(np.maximum(1.0 + (z + e) / reach, 0.0), 1.0)
        value, slack = np.maximum(z, 0.0), 16 * U
    else:  # tanh z, or sigmoid: 1/2 + 1/2 tanh(z/2)
        k, reach = 1.0 if name == "tanh" else 0.5, FAT * (reach + e)
        low = k * k * (1.0 - np.tanh(k * (abs(z) + reach)) ** 2)
        high = k * k * (1.0 - np.tanh(k * np.maximum(abs(z) - reach, 0.0)) ** 2)
        value, slack, e = (1.0 - k) + k * np.tanh(k * z), 64 * U, FAT * e + 32 * U
    m, w = 0.5 * (low + high), 0.5 * (high - low) + slack
    return State(value, e, m * D, FAT * (w * abs(D) + (m + w) * E) + TINY)


def loss_of(d: Array, loss: str) -> Array:
    """ℓ of residuals d ≥ 0, or the cross-entropy of rows of dⱼ."""
    if loss == "cross-entropy":
        top = d.max(axis=1)
        return top + np.log(np.exp(d - top[:, None]).sum(axis=1))
    if loss == "huber":
        return np.minimum(d, HUBER_DELTA) * (d - 0.5 * np.minimum(d, HUBER_DELTA))
    if loss == "log-cosh":
        return d + np.log1p(np.exp(-2.0 * d)) - math.log(2.0)
    return d * d if loss == "mse" else d


def sums(x: State, y: Array, loss: str, label: int | None, r: float) -> Array:
    """Sums of losses: bounds of them at s = -r and at s = r, and from below at s = 0."""
    z, aD = (x.a - y if label is None else x.a), abs(x.D)
    radius = FAT * (x.e + r * x.E + 8 * U * (abs(z) + r * aD)) + TINY
    below = FAT * (x.e + 8 * U * abs(z)) + TINY
    if loss == "error":
        others = np.arange(z.shape[1]) != label
        unsure = ~((z + r * aD + radius)[:, others] < 0.0).all(axis=1)
        wrong = ((z - below)[:, others] >= 0.0).any(axis=1)
        return np.array([unsure.sum(), unsure.sum(), wrong.sum()], dtype=float)
    left, right = z - r * x.D, z + r * x.D
    if label is None:
        left, right, z = abs(left), abs(right), np.maximum(abs(z), below)
    return np.array([loss_of(d, loss).sum() for d in (left + radius, right + radius, z - below)])


class Refused(Exception):
    """The file cannot be read or is not what it has to be, or a request makes no sense."""


def need(right: Any, what: str) -> None:
    """Refuse with a message unless it is right."""
    if not right:
        raise Refused(what)


KEYS = {  # what is read: kind of element and number of dimensions
    "beads": "f2", "L0": "f0", "sizes": "i1", "activation": "U0", "output_activation": "U0",
    "biases": "b0", "loss": "U0", "X_test": "f2", "y_test": "f2 i1",
    "losses": "f1", "segment_lower": "f1", "segment_upper": "f1",
}  # fmt: skip
FORM = re.compile(
    r"\{'descr': '([<|](?:[biu][1248]|f[48]|U\d{1,4}))', 'fortran_order': (False|True), "
    r"'shape': \(([\d, ]*)\), \} *\n"
)


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read an array of numbers or text that has exactly the announced size."""
    data = archive.read(member)  # no more than member.file_size; its checksum is tested
    start = 10 + int.from_bytes(data[8:10], "little")
    header = FORM.fullmatch(data[10:start].decode("latin-1"))
    if data[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise Refused(f"{member.filename} is not an array of numbers or text")
    shape, dtype = [int(n) for n in re.findall(r"\d+", header[3])], np.dtype(header[1])
    size = math.prod(shape) * dtype.itemsize
    need(0 < size == len(data) - start, f"{member.filename} is not as long as it announces")
    array = np.frombuffer(data, dtype, -1, start).reshape(shape, order="CF"[header[2] == "True"])
    need(dtype.kind != "f" or np.isfinite(array).all(), f"{member.filename} is not finite")
    return array


def read(name: str) -> dict[str, Array]:
    """Read what is needed of a file: it stays data, of a size that is known beforehand."""
    wanted = {f"{key}.npy" for key in KEYS}
    try:
        with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if member.filename in wanted]
            need(len({m.filename for m in members}) == len(members), "an array occurs twice")
            small = all(m.file_size <= 1000 + 100 * m.compress_size for m in members)
            small &= sum(m.file_size for m in members) <= 2**30
            need(small, "its arrays take more than 1 GB, or 100 times what they take compressed")
            found = {m.filename[: -len(".npy")]: read_array(archive, m) for m in members}
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(f"cannot be read ({error})") from None
    for key, kinds in KEYS.items():
        need(key in found, f"has no {key}; save it with string.save(path, problem)")
        kind = f"{found[key].dtype.kind}{found[key].ndim}"
        need(kind in kinds.split(), f"{key} has elements and dimensions {kind}, not {kinds}")
    return found


class Path:
    """A path and its test set, checked."""

    def __init__(self, found: dict[str, Array]):
        self.found, self.sizes, self.biases = found, found["sizes"].tolist(), bool(found["biases"])
        self.beads, self.X, self.y = found["beads"].astype(float), found["X_test"], found["y_test"]
        self.L0, self.loss, hidden = float(found["L0"]), str(found["loss"]), len(self.sizes) - 2
        self.units = [str(found["activation"])] * hidden + [str(found["output_activation"])]
        labelled = self.loss in ("cross-entropy", "error")
        known = labelled or self.loss in ("mse", "mae", "huber", "log-cosh")
        known &= {*self.units} <= {"relu", "sigmoid", "tanh", "identity"}
        known &= not labelled or (hidden > 0 and self.units[-1] == "identity")
        need(known, f"there is no verification for loss {self.loss} with layers of {self.units}")
        need(self.sizes and 0 < min(self.sizes) <= max(self.sizes) < 2**20, "sizes are wrong")
        n, N, k = len(self.beads), len(self.X), self.sizes[-1]
        P = sum((inputs + self.biases) * outputs for inputs, outputs in pairwise(self.sizes))
        shapes = [(max(n, 2), P), (N, self.sizes[0]), (N,) if labelled else (N, k), (n,), (n - 1,)]
        keys = ("beads", "X_test", "y_test", "losses", "segment_lower", "segment_upper")
        for key, shape in zip(keys, [*shapes, shapes[-1]], strict=True):
            need(found[key].shape == shape, f"{key} has shape {found[key].shape}, not {shape}")
        need(not labelled or 0 <= self.y.min() <= self.y.max() < k, "a label is no class")
        step = max(64, 2**15 // max(self.sizes[1:]))  # samples at a time: they fit into the cache
        groups = [(j, np.flatnonzero(self.y == j)) for j in range(k)] if labelled else []
        groups = groups or [(None, np.arange(N))]
        self.chunks = [(j, r[i : i + step]) for j, r in groups for i in range(0, len(r), step)]

    def layers(self, theta: Array) -> list[tuple[Array, Array]]:
        """Layer by layer, weights (inputs, outputs) row by row, then biases."""
        layers, k = [], 0
        for m, n in pairwise(self.sizes):
            W, k = theta[k : k + m * n].reshape(m, n), k + m * n
            b, k = (theta[k : k + n], k + n) if self.biases else (np.zeros(n), k)
            layers.append((W, b))
        return layers

    def first_layer(self, theta: Array) -> tuple[Array, Array]:
        """The first layer's z at a bead, and its radius."""
        (W, b), g = self.layers(theta)[0], (2 * self.sizes[0] + 20) * U
        z, e = np.empty((2, len(self.X), self.sizes[1]))
        for k in range(0, len(z), 1024):
            X, rows = self.X[k : k + 1024].astype(float), slice(k, k + 1024)
            z[rows] = X @ W + b
            e[rows] = g * ((abs(X) + TINY) @ (abs(W) + TINY) + abs(b) + abs(z[rows]))
        return z, FAT * e + TINY

    def segment(self, k: int, first: tuple[Array, Array], last: tuple[Array, Array]) -> Any:
        """Make enclose(c, r, enough): a bound of the loss on I, and one from below at c."""
        (za, ea), (zb, eb) = first, last
        D, N, outputs = zb - za, len(self.X), self.sizes[-1]
        e = FAT * (ea + eb + 8 * U * (abs(za) + abs(zb) + abs(D))) + TINY
        later = [(*a, *b) for a, b in zip(*map(self.layers, self.beads[k : k + 2]), strict=True)]
        slack = 0.0 if self.loss == "error" else 2 * (N * outputs + 64) * U
        logs = (64 + 2 * outputs) * U * outputs * (self.loss in ("cross-entropy", "log-cosh"))

        def enclose(c: float, r: float, enough: float) -> tuple[float, float]:
            total = np.zeros(3)
            for label, rows in self.chunks:
                x = State(za[rows] + c * D[rows], e[rows], D[rows], e[rows])
                for layer, ends in enumerate(later[1:], 2):
                    if label is not None and layer == len(later):
                        ends = tuple(end - end[..., label : label + 1] for end in ends)
                    x = linear(unit(x, self.units[layer - 2], r), ends, c, r)
                total += sums(unit(x, self.units[-1], r), self.y[rows], self.loss, label, r)
                if max(total[:2]) > enough * N * (1 + slack):  # too high: the rest will not mend it
                    total[0] = math.inf
                    break
            high = float(max(total[:2]) / N * (1 + slack) + logs)
            return high if high == high else math.inf, float(total[2] / N * (1 - slack) - logs)

        return enclose


def search(path: Path, L0: float, gap: float, tell: Any) -> dict[str, Any]:
    """Bound the loss segment by segment, until all is decided against L₀ and within the gap."""
    best, where, ends, segments = -math.inf, (0, 0.0), [], []
    first = path.first_layer(path.beads[0])
    for k in range(len(path.beads) - 1):
        last = path.first_layer(path.beads[k + 1])
        enclose, first, count = path.segment(k, first, last), last, 0
        ends += [enclose(float(t), 0.0, math.inf) for t in range(k > 0, 2)]
        lower, t = max((ends[-2][1], 0.0), (ends[-1][1], 1.0))
        heap = [(-math.inf, 0.5, 0.5)]
        while True:
            best, where = max((best, where), (lower, (k, t)))
            level = best + gap * abs(best) if gap < math.inf else math.inf
            level = L0 if best <= L0 < level else level
            if -heap[0][0] <= level or count >= MOST_INTERVALS or heap[0][2] <= SHORTEST:
                break
            _, c, r = heapq.heappop(heap)
            for c, r in ((c - r / 2, r / 2), (c + r / 2, r / 2)) if count else ((c, r),):
                high, low = enclose(c, r, level)
                heapq.heappush(heap, (-high, c, r))
                lower, t, count = max(low, lower), c if low > lower else t, count + 1
            tell(f"segment {k + 1} of {len(path.beads) - 1}, {count} intervals")
        segments.append((lower, -heap[0][0], count))
    lowers, uppers, counts = zip(*segments, strict=True)
    steps = np.diff(np.concatenate([path.beads, path.beads[:1]]), axis=0)
    *lengths, across = (math.hypot(*step) for step in steps)
    return {
        "verdict": "refuted" if best > L0 else "proven" if max(uppers) <= L0 else "open",
        "L0": L0, "loss": path.loss, "samples": len(path.X), "beads": len(path.beads) - 2,
        "lower": best, "upper": max(uppers), "segment": where[0], "t": where[1],
        "intervals": sum(counts), "normalized_length": sum(lengths) / (across or math.inf),
        "false_claims": false_claims(path.found, ends, lowers, uppers),
    }  # fmt: skip


def false_claims(found: dict[str, Array], ends: Any, lowers: Any, uppers: Any) -> list[str]:
    """What the file claims and is not so, to a part in a million: claims are rounded."""
    high, low = np.array(ends).T
    brackets = {"losses": (low, high), "segment_lower": (-np.inf, uppers)}
    brackets |= {"segment_upper": (lowers, np.inf)}
    wrong = []
    for key, (low, high) in brackets.items():
        below = found[key] < np.subtract(low, 1e-9 + 1e-6 * np.abs(low))
        above = found[key] > np.add(high, 1e-9 + 1e-6 * np.abs(high))
        wrong += [f"{key}[{k}] = {found[key][k]:.9g}" for k in np.flatnonzero(below | above)]
    return wrong


def whole(*arrays: Array) -> tuple[list[Array], int]:
    """The arrays times a power of two that makes whole numbers of all their doubles."""
    ratios = [[v.as_integer_ratio() for v in array.ravel().tolist()] for array in arrays]
    scale = max(d for ratio in ratios for _, d in ratio)
    numbers = [np.array([n * (scale // d) for n, d in ratio], dtype=object) for ratio in ratios]
    return [n.reshape(array.shape) for n, array in zip(numbers, arrays, strict=True)], scale


def exact_loss(path: Path, k: int, t: Fraction) -> Fraction:
    """The loss at Θ(t) on segment k, without rounding."""
    need({*path.units} <= {"relu", "identity"}, "--exact needs ReLU units")
    need(path.loss in ("mse", "mae", "error"), "--exact needs mse, mae or the share of errors")
    need(0 <= k < len(path.beads) - 1 and 0 <= t <= 1, f"the path has no point {k}:{t}")
    ([a], scale), ([y], one), p, q = whole(path.X), whole(path.y), t.numerator, t.denominator
    for left, right, name in zip(*map(path.layers, path.beads[k : k + 2]), path.units, strict=True):
        (V, v, W, w), unit = whole(*left, *right)
        a = a @ ((q - p) * V + p * W) + scale * ((q - p) * v + p * w)
        a, scale = np.maximum(a, 0) if name == "relu" else a, scale * q * unit
    if path.loss == "error":
        wrong = [any(row[j] >= row[c] for j in range(len(row)) if j != c) for row, c in zip(a, y)]
        return Fraction(sum(wrong), len(a))
    d = abs(one * a - scale * y)
    power = 2 if path.loss == "mse" else 1
    return Fraction((d**power).sum(), len(a) * (scale * one) ** power)


def report(found: dict[str, Any]) -> str:
    """Say in words what was found."""
    measure = "share of errors" if found["loss"] == "error" else "loss"
    lower = f"{found['lower']:.9g} (segment {found['segment']}, t = {found['t']!r})"
    tests = f"on these {found['samples']} test samples"
    highest = f"the highest {measure} is between {lower} and {found['upper']:.9g}"
    count, beads, L0 = found["intervals"], found["beads"], f"{found['L0']:.9g}"
    return {
        "proven": f"{tests} no weights on the path of {beads} beads have a {measure} above {L0}; "
        f"proven with {count} intervals, floating-point rounding included; {highest}. ",
        "refuted": f"NOT so: {tests} the {measure} is at least {lower}, which is above {L0}. ",
        "open": f"NOT proven within {count} intervals that none is above {L0}: {tests} {highest}. ",
    }[found["verdict"]] + (
        f"The file's claims are wrong: {'; '.join(found['false_claims'])}."
        if found["false_claims"]
        else "The file's claims agree."
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="verify", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="string.npz")
    parser.add_argument("--L0", type=float, help="another threshold than the file's")
    parser.add_argument(
        "--gap", type=float, default=math.inf, help="bracket the maximum, e.g. 1e-3"
    )
    parser.add_argument("--exact", action="append", default=[], metavar="K:T", help="e.g. 2:1/3")
    parser.add_argument("--json", action="store_true", help="one JSON document a line and file")
    args, status, told = parser.parse_args(argv), 0, [time.monotonic()]

    def tell(text: str) -> None:
        if time.monotonic() > told[0] + 5.0:
            print(f"{name}: {text}", file=sys.stderr)
            told[0] = time.monotonic()

    for name in args.files:
        try:
            path = Path(read(name))
            L0 = path.L0 if args.L0 is None else args.L0
            need(math.isfinite(L0) and args.gap > 0.0, "--L0 must be finite, --gap positive")
            with np.errstate(all="ignore"):
                found = search(path, L0, args.gap, tell)
            points = [(point, *point.split(":")) for point in args.exact]
            exact = {point: exact_loss(path, int(k), Fraction(t)) for point, k, t in points}
        except (Refused, MemoryError, ValueError, ZeroDivisionError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 2
            continue
        except KeyboardInterrupt:
            print(f"{name}: interrupted, nothing is proven of it", file=sys.stderr)
            return 130
        status = max(status, 0 if found["verdict"] == "proven" else 1)
        values = {point: str(value) for point, value in exact.items()}
        finite = {key: None if v in (math.inf, -math.inf) else v for key, v in found.items()}
        print(
            json.dumps({"file": name, **finite, "exact": values})
            if args.json
            else f"{name}: {report(found)}"
        )
        for point, value in () if args.json else exact.items():
            side = "above" if value > Fraction(L0) else "not above"
            print(f"  exactly at {point}: {float(value):.17g}, which is {side} {L0!r}")
    return status


if __name__ == "__main__":
    sys.exit(main())
