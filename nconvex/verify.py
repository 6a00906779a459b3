"""Verify a path of networks from its file alone: `python verify.py string.npz`. Needs only NumPy.

THE CLAIM. The file holds weights θ₀, θ₁, …, a test set and a threshold L₀. On segment k the network
has the weights Θ(t) = (1-t) θₖ + t θₖ₊₁, 0 ≤ t ≤ 1. Exit status 0 says: in exact real arithmetic on
these numbers no Θ(t) on any segment has a mean loss on the test set above L₀. Nothing else in the
file is believed. In the share of errors a tie is an error; as L₀ is the double nearest to what the
user wrote, so is the quotient errors / samples that is compared with it.

THE BOUND. Let I = {t: |t-c| ≤ r} and s = t-c. Each unit's activation, for each sample, is written
a(t) = a(c) + s q(t), where the slope q(t) lies in [D-E, D+E] for all t in I.
  Layer   z = Wa + b with W(t) = W + s dW, b(t) = b + s db has slope W q + dW a(c) + s dW q + db,
          within E' = |W| E + |dW| r (|D|+E) of D' = W D + dW a(c) + db. The first layer's input is
          constant, so its z is linear in t, its slope is z(1) - z(0), and both ends are kept.
  Unit φ  If all [φ(z+h) - φ(z)] / h, |h| ≤ reach = r (|D|+E), lie in [m-w, m+w], the new slope is
          within E' = w |D| + (m+w) E of D' = m D. ReLU is convex, so quotients rise with h: from
          clip(z/reach) at h = -reach to clip(1 + z/reach) at h = reach, clip to [0, 1]; both rise
          with z. For sigmoid and tanh the range of the derivative serves (mean value theorem):
          it falls with |z|, so it is highest nearest to 0 and lowest farthest from 0.
  Loss    ℓ of a residual ρ is even, convex and rises with |ρ|, and |ρ(t)| ≤ |ρ + sD| + |s|E. So
          the mean loss is at most mean ℓ(|ρ + sD| + |s|E), which is convex in s, hence highest at
          s = r or s = -r: two sums bound the loss on all of I. Cross-entropy is log Σ exp dⱼ with
          dⱼ = logitⱼ - logit of the label, and dⱼ(t) ≤ dⱼ + sDⱼ + |s|Eⱼ, whose log-sum-exp is
          convex in s, too. A sample is surely right on I if dⱼ + r|Dⱼ| + rEⱼ < 0 for j ≠ label.
          A last layer whose weights are the differences to the label's computes the dⱼ.

ROUNDING. Each computed a(c) has a radius e: the true one is within e. What is assumed: IEEE 754
doubles, to nearest, gradual underflow: fl(x∘y) = (x∘y)(1+δ) + η, |δ| ≤ U = 2⁻⁵³, |η| ≤ 2⁻¹⁰⁷⁵;
matrix products are sums of products (not Strassen's) in any order, by any number of threads, with
or without fused multiply-adds: n products err by γₙ Σ|products| at most, γₙ = nU/(1-nU) (Higham,
Accuracy and Stability, ch. 3); NumPy's exp, log, log1p, tanh err by 8 ulp at most, 16U relative.
Let two ends of W be known to a relative U (they are exact, or differences to the label's) and
H = |W|+|dW| as computed. Then dW by subtraction and W = Wₐ + c dW are within 4U H + 2⁻¹⁰⁷³ of the
true ones. With n inputs and g = (2n+20) U > γ₂ₙ₊₂ + 16U, b and db being one more input,
      e' = H (e + g(|a|+e)),   E' = |W| (E + g|D| + g(|a|+e)) + |dW| ((r+g)(|D|+E) + e + g(|a|+e))
cover all errors. Units: z ranges over z ± e; e' is e (as |φ'| ≤ 1) plus the error of φ; slack in w
of 16U, 64U with tanh, covers the quotients, m, w and the product m D. Radii are sums of products of
numbers ≥ 0 and err by less than 2⁻³¹ relative for n < 2²⁰: a factor FAT = 1 + 2⁻³⁰ covers that.
TINY = 2⁻⁹⁶⁰ is added to each, and to |W| and |dW| before they multiply radii, which covers all
underflow (g TINY is far above 2⁻¹⁰⁷³). Radii contain g|z|, so overflow makes them infinite, and an
infinite or NaN bound proves nothing. A mean of T terms gets 2(T+64)U relative, logarithms more.

THE SEARCH. Halve the interval whose bound is highest until no bound is above L₀. c and r are
multiples of 2⁻⁴², so c ± r are exact. A value at c less its rounding above L₀ is a counterexample.
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
from typing import Any

import numpy as np

Array = np.ndarray
State = tuple[Array, Array, Array, Array]  # a, e, D, E: samples (rows) by units (columns)
U, FAT, TINY = 2.0**-53, 1.0 + 2.0**-30, 2.0**-960
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
HUBER_DELTA = 0.1  # the double nearest to it
MOST_INTERVALS, SHORTEST = 5000, 2.0**-40  # on a segment


def linear(x: State, ends: tuple[Array, ...], c: float, r: float) -> State:
    """Z = Wa + b on the interval; ends are W and b at t = 0, W and b at t = 1."""
    (a, e, D, E), dW, db = x, ends[2] - ends[0], ends[3] - ends[1]
    W, b = ends[0] + c * dW, ends[1] + c * db
    P, Q, B, g = abs(W) + TINY, abs(dW) + TINY, abs(b) + abs(db), (2 * len(W) + 20) * U
    z, slope = a @ W + b, D @ W + a @ dW + db
    aD, G = abs(D), g * (abs(a) + e) + TINY
    radius = (e + G) @ (P + Q) + g * (B + abs(z))
    spread = (E + g * aD + G) @ P + ((r + g) * (aD + E) + e + G) @ Q + g * B
    return z, FAT * radius + TINY, slope, FAT * spread + TINY


def unit(x: State, name: str, r: float) -> State:
    """φ(z) on the interval."""
    (z, e, D, E), aD = x, abs(x[2])
    if name == "identity":
        return x
    reach = FAT * r * (aD + E) + TINY
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
    return value, e, m * D, FAT * (w * aD + (m + w) * E) + TINY


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
    z, e, D, E = (x[0] - y, *x[1:]) if label is None else x
    radius = FAT * (e + r * E + 8 * U * (abs(z) + r * abs(D))) + TINY
    below = FAT * (e + 8 * U * abs(z)) + TINY
    if loss == "error":
        others = np.arange(z.shape[1]) != label
        right = ((z + r * abs(D) + radius)[:, others] < 0.0).all(axis=1)
        wrong = ((z - below)[:, others] >= 0.0).any(axis=1)
        return np.array([(~right).sum(), (~right).sum(), wrong.sum()], dtype=float)
    left, right = z - r * D, z + r * D
    if label is None:
        left, right, z = abs(left), abs(right), np.maximum(abs(z), below)
    return np.array([loss_of(d, loss).sum() for d in (left + radius, right + radius, z - below)])


def need(right: Any, what: str) -> None:
    """Refuse with a message unless it is right."""
    if not right:
        raise ValueError(what)


KEYS = {  # kinds of elements and numbers of dimensions
    "beads": "f2", "L0": "f0", "sizes": "i1", "activation": "U0", "output_activation": "U0",
    "biases": "b0", "loss": "U0", "X_test": "f2", "y_test": "f2 i1", "losses": "f1",
    "segment_lower": "f1", "segment_upper": "f1",
}  # fmt: skip
FORM = r"\{'descr': '([<|](?:[biu][1248]|f[48]|U\d{1,4}))', 'fortran_order': (False|True), "
FORM += r"'shape': \(([\d, ]*)\), \} *\n"


def read(name: str) -> dict[str, Array]:
    """Read what is needed of a file: it stays data, of a size that is known beforehand."""
    found = {}
    with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if m.filename.removesuffix(".npy") in KEYS]
        need(len({m.filename for m in members}) == len(members), "an array occurs twice")
        small = all(m.file_size <= 1000 + 100 * m.compress_size for m in members)
        small &= sum(m.file_size for m in members) <= 2**30
        need(small, "arrays take more than 1 GB, or 100 times the room that they take compressed")
        for m in members:
            data = archive.read(m)  # no more than m.file_size; its checksum is tested
            start = 10 + int.from_bytes(data[8:10], "little")
            header: Any = re.fullmatch(FORM, data[10:start].decode("latin-1"))
            need(header and data[:8] == b"\x93NUMPY\x01\x00", f"{m.filename} is no array")
            shape, dtype = [int(n) for n in re.findall(r"\d+", header[3])], np.dtype(header[1])
            size = math.prod(shape) * dtype.itemsize
            need(0 < size == len(data) - start, f"{m.filename} is not as long as it announces")
            array = np.frombuffer(data, dtype, -1, start)
            need(dtype.kind != "f" or np.isfinite(array).all(), f"{m.filename} is not finite")
            array = array.reshape(shape, order="F" if header[2] == "True" else "C")
            found[m.filename.removesuffix(".npy")] = array
    for key, kinds in KEYS.items():
        need(key in found, f"there is no {key}; save with string.save(path, problem)")
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
        labelled = self.loss in ("cross-entropy", "error") and self.units[-1] == "identity"
        known = labelled or self.loss in ("mse", "mae", "huber", "log-cosh")
        known &= {*self.units} <= {"relu", "sigmoid", "tanh", "identity"} and hidden >= labelled
        need(known, f"{self.loss} is not known with layers of {self.units}")
        need(0 < min(self.sizes) <= max(self.sizes) < 2**20, "sizes are wrong")
        n, N, k = len(self.beads), len(self.X), self.sizes[-1]
        P = sum((inputs + self.biases) * outputs for inputs, outputs in pairwise(self.sizes))
        shapes = {"beads": (max(n, 2), P), "X_test": (N, self.sizes[0]), "losses": (n,)}
        shapes |= {"y_test": (N,) if labelled else (N, k), "segment_lower": (n - 1,)}
        for key, shape in {**shapes, "segment_upper": (n - 1,)}.items():
            need(found[key].shape == shape, f"{key} has shape {found[key].shape}, not {shape}")
        need(not labelled or 0 <= self.y.min() <= self.y.max() < k, "a label is no class")
        step = max(64, 2**15 // max(self.sizes[1:]))  # samples at a time: they fit into the cache
        groups: Any = [(j, np.flatnonzero(self.y == j)) for j in range(k)] if labelled else []
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
        z = self.X.astype(float) @ W + b
        e = g * ((abs(self.X.astype(float)) + TINY) @ (abs(W) + TINY) + abs(b) + abs(z))
        return z, FAT * e + TINY

    def segment(self, k: int, first: tuple[Array, Array], last: tuple[Array, Array]) -> Any:
        """Make enclose(c, r): an upper bound of the loss on I, and a lower bound of it at c."""
        (za, ea), (zb, eb) = first, last
        D, N, outputs = zb - za, len(self.X), self.sizes[-1]
        e = FAT * (ea + eb + 8 * U * (abs(za) + abs(zb) + abs(D))) + TINY
        later = [(*a, *b) for a, b in zip(*map(self.layers, self.beads[k : k + 2]), strict=True)]
        slack = 0.0 if self.loss == "error" else 2 * (N * outputs + 64) * U
        logs = (64 + 2 * outputs) * U * outputs * (self.loss in ("cross-entropy", "log-cosh"))

        def enclose(c: float, r: float) -> list[float]:
            total = np.zeros(3)
            for label, rows in self.chunks:
                x: State = (za[rows] + c * D[rows], e[rows], D[rows], e[rows])
                for layer, ends in enumerate(later[1:], 2):
                    if label is not None and layer == len(later):
                        ends = tuple(end - end[..., label : label + 1] for end in ends)
                    x = linear(unit(x, self.units[layer - 2], r), ends, c, r)
                total += sums(unit(x, self.units[-1], r), self.y[rows], self.loss, label, r)
            if np.isnan(total).any():
                return [math.inf, -math.inf]
            high, low = total[:2].max() / N * (1 + slack) + logs, total[2] / N * (1 - slack) - logs
            return [float(high), float(low)]

        return enclose


def search(path: Path, L0: float, gap: float = math.inf) -> dict[str, Any]:
    """Bound the loss segment by segment, until all is decided against L₀ and within the gap."""
    best, where, ends, segments = -math.inf, (0, 0.0), [], []
    first, due = path.first_layer(path.beads[0]), time.monotonic() + 5.0
    for k in range(len(path.beads) - 1):
        last = path.first_layer(path.beads[k + 1])
        enclose, first, count = path.segment(k, first, last), last, 0
        ends += [enclose(float(t), 0.0) for t in range(k > 0, 2)]
        lower, t = max((ends[-2][1], 0.0), (ends[-1][1], 1.0))
        heap = [(-math.inf, 0.5, 0.5)]
        while True:
            best, where = max((best, where), (lower, (k, t)))
            level = best + gap * abs(best) if gap < math.inf else math.inf
            level = L0 if best <= L0 < level else level
            if -heap[0][0] <= level or count >= MOST_INTERVALS or heap[0][2] <= SHORTEST:
                break
            _, c, r = heapq.heappop(heap)
            for s in (-r / 2, r / 2) if count else (0.0,):  # the first time all of the segment
                high, low = enclose(c + s, abs(s) or r)
                heapq.heappush(heap, (-high, c + s, abs(s) or r))
                lower, t, count = max(low, lower), c + s if low > lower else t, count + 1
            if time.monotonic() > due:
                due = time.monotonic() + 5.0
                print(f"segment {k}: {count} intervals", file=sys.stderr)
        segments.append((lower, -heap[0][0], count))
    low, high, counts = np.array(segments).T
    truth = {"losses": np.array(ends).T[::-1], "segment_lower": np.array([0 * high - np.inf, high])}
    wrong = []  # to a part in a million: claims are rounded
    for key, (least, most) in {**truth, "segment_upper": np.array([low, low + np.inf])}.items():
        claim, margin = path.found[key], 1e-9 + 1e-6 * abs(path.found[key])
        false = np.flatnonzero((claim + margin < least) | (claim - margin > most))
        wrong += [f"{key}[{i}] = {claim[i]:.9g}" for i in false]
    *lengths, across = (math.dist(*ab) for ab in pairwise([*path.beads, path.beads[0]]))
    return {
        "verdict": "refuted" if best > L0 else "proven" if high.max() <= L0 else "open", "L0": L0,
        "loss": path.loss, "samples": len(path.X), "beads": len(ends) - 2, "segment": where[0],
        "t": where[1], "lower": min(max(best, 0.0), 1e308), "intervals": int(sum(counts)),
        "upper": float(high.max()) if high.max() < np.inf else None, "false_claims": wrong,
        "normalized_length": sum(lengths) / across if across else None,
    }  # fmt: skip


def exact_loss(path: Path, point: str) -> Fraction:
    """The loss at Θ(t) on segment k, without rounding; a point is k:t."""
    k, t = int(point.split(":")[0]), Fraction(point.split(":")[-1])
    known = {*path.units} <= {"relu", "identity"} and path.loss in ("mse", "mae", "error")
    need(known, "--exact needs ReLU units, and mse, mae or the share of errors")
    need(0 <= k < len(path.beads) - 1 and 0 <= t <= 1, f"the path has no point {point}")
    one, p, q = 2**1074, t.numerator, t.denominator  # all doubles are whole numbers / 2**1074
    whole = np.frompyfunc(lambda v: int(Fraction(v) * one), 1, 1)
    a, y, scale = whole(path.X.astype(float)), whole(path.y.astype(float)), one
    for layer in zip(*map(path.layers, path.beads[k : k + 2]), path.units, strict=True):
        (V, v), (W, w) = (map(whole, end) for end in layer[:2])
        a = a @ ((q - p) * V + p * W) + scale * ((q - p) * v + p * w)
        a, scale = np.maximum(a, 0) if layer[2] == "relu" else a, scale * q * one
    if path.loss == "error":
        others = [np.delete(row, label) - row[label] for row, label in zip(a, path.y, strict=True)]
        return Fraction(sum(max(row, default=-1) >= 0 for row in others), len(a))
    d, power = abs(one * a - scale * y), 2 if path.loss == "mse" else 1
    return Fraction((d**power).sum(), len(a) * (scale * one) ** power)


def report(found: dict[str, Any]) -> str:
    """Say in words what was found."""
    start = {"proven": "no", "refuted": "NOT PROVEN: some", "open": "NOT PROVEN that no"}
    measure = "share of errors" if found["loss"] == "error" else "loss"
    text = (
        f"on these {found['samples']} test samples {start[found['verdict']]} weights on the path "
    )
    text += f"of {found['beads']} beads have a {measure} above {found['L0']!r}; by "
    text += f"{found['intervals']} intervals, floating-point rounding included, it is highest "
    text += f"between {found['lower']:.9g} (segment {found['segment']}, t = {found['t']!r}) and "
    text += f"{found['upper'] or math.inf:.9g}. The file's claims agree"
    wrong = f", but for {', '.join(found['false_claims'])}" if found["false_claims"] else ""
    exact = [f"\n  exactly at {k}: {float(Fraction(v))!r}" for k, v in found["exact"].items()]
    return text + wrong + "." + "".join(exact)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="verify", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="string.npz")
    parser.add_argument("--L0", type=float, help="another threshold than the file's")
    parser.add_argument(
        "--gap", type=float, default=math.inf, help="bracket the maximum: e.g. 1e-3"
    )
    parser.add_argument("--exact", action="append", default=[], metavar="K:T", help="e.g. 2:1/3")
    parser.add_argument("--json", action="store_true", help="one JSON document a line and file")
    args, status = parser.parse_args(argv), 0
    for name in args.files:
        try:
            path = Path(read(name))
            L0 = path.L0 if args.L0 is None else args.L0
            need(math.isfinite(L0) and args.gap > 0.0, "--L0 must be finite, --gap positive")
            with np.errstate(all="ignore"):
                found = {"file": name, **search(path, L0, args.gap)}
            found["exact"] = {point: str(exact_loss(path, point)) for point in args.exact}
        except (*UNREADABLE, MemoryError, ArithmeticError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print(f"{name}: interrupted, nothing is proven of it", file=sys.stderr)
            return 130
        else:
            print(json.dumps(found) if args.json else f"{name}: {report(found)}")
            status = max(status, found["verdict"] != "proven")
    return status


if __name__ == "__main__":
    sys.exit(main())
