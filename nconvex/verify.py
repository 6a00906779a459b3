"""Verify a path of networks from its file alone: `python verify.py string.npz`. Needs only NumPy.

THE CLAIM. The file holds weights θ₀, θ₁, …, a test set and a threshold L₀. On segment k the network
has the weights Θ(t) = (1-t) θₖ + t θₖ₊₁, 0 ≤ t ≤ 1. Exit status 0 says: in exact real arithmetic on
these numbers no Θ(t) on any segment has a mean loss on the test set above L₀. Nothing else in the
file is believed. A sample's loss is Σ ℓ(ρ) over its outputs with ρ = output - target and ℓ(ρ) = ρ²,
|ρ|, log cosh ρ or Huber's; or its label's cross-entropy; or 1 if another logit is at least the
label's, a share rounded as L₀ was. To all but that ½ Σ κ Θ(t)² is added, with weight_decay κ ≥ 0.
THE BOUND. Let I = {t: |t-c| ≤ r} and s = t-c. Each unit's activation, for each sample, is written
a(t) = a(c) + s q(t), where the slope q(t) lies in [D-E, D+E] for all t in I.
  Layer   z = Wa + b with W(t) = W + s dW, b(t) = b + s db has slope W q + dW a(c) + s dW q + db,
          within E' = |W| E + |dW| r (|D|+E) of D' = W D + dW a(c) + db; the first's is z(1)-z(0).
  Unit φ  If all [φ(z+h) - φ(z)] / h, |h| ≤ reach = r (|D|+E), lie in [m-w, m+w], the new slope is
          within E' = w |D| + (m+w) E of D' = m D. ReLU is convex, so quotients rise with h: from
          clip(z/reach) to clip(1 + z/reach), clip to [0, 1]; both rise with z. Leaky ReLU, l z for
          z < 0: l + (1-l) times that. Sigmoid, tanh: the range of φ' serves, which falls with |z|.
  Loss    ℓ of a residual ρ is even, convex and rises with |ρ|, and |ρ(t)| ≤ |ρ + sD| + |s|E. So
          mean ℓ(|ρ + sD| + |s|E) bounds the mean loss. It is convex in s: its values at s = ±r, two
          sums, bound the loss on all of I. Cross-entropy is log Σ exp dⱼ, dⱼ = logitⱼ - the label's
          logit, from a last layer of differences of weights; dⱼ(t) ≤ dⱼ + sDⱼ + |s|Eⱼ, whose log-
          sum-exp is convex; so is ½ Σ κ Θ². Surely right on I: dⱼ + r|Dⱼ| + rEⱼ < 0, j ≠ label.
ROUNDING. Each computed a(c) has a radius e: the true one is within e. What is assumed: IEEE 754
doubles, to nearest, gradual underflow: fl(x∘y) = (x∘y)(1+δ) + η, |δ| ≤ U = 2⁻⁵³, |η| ≤ 2⁻¹⁰⁷⁵;
matrix products sum products (not Strassen's) in any order, by any number of threads, fused or not:
n products err by γₙ Σ|products| at most, γₙ = nU/(1-nU) (Higham, Accuracy and Stability, ch. 3);
NumPy's exp, log, log1p and tanh err by 8 ulp at most, that is 16U relative. Let two ends of W be
known to a relative U (they are exact, or differences to the label's) and H = |W|+|dW| as computed.
Then dW by subtraction and W = Wₐ + c dW err by 4U H + 2⁻¹⁰⁷³ at most. With n inputs, and 1 for b,
      e' = H (e + g(|a|+e)),   E' = |W| (E + g|D| + g(|a|+e)) + |dW| ((r+g)(|D|+E) + e + g(|a|+e))
cover all errors, where g = (2n+20) U > γ₂ₙ₊₂ + 16U. Units: z ranges over z ± e; e' is e, as |φ'| ≤
1, plus the error of φ; slack in w of 16U, 64U with tanh, covers the quotients, m, w and mD. Radii,
sums of products of numbers ≥ 0, err by less than 2⁻³¹ relative for n < 2¹⁸: a factor FAT = 1 + 2⁻³⁰
covers that. TINY = 2⁻⁹⁶⁰ is added to each, and to |W| and |dW| before they multiply radii: more
than any underflow, as g TINY > 2⁻¹⁰⁷³. Radii contain g|z|: overflow makes them infinite, which like
NaN proves nothing. Sums of T terms get 2(T+64)U relative and TINY, logarithms more.
THE SEARCH. Halve the interval of the highest bound until none is above L₀, or a value at c less its
rounding is: a counterexample. c and r are multiples of 2⁻⁴², so c ± r are exact.
"""

import argparse
import heapq
import json
import math
import os
import re
import sys
import zipfile
import zlib
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

SAYS = """{file}: {verdict}: "on these {samples} test samples no weights of the {network} network
on the path of {beads} beads have a loss ({loss}) above {L0}". By {intervals} intervals, with
floating-point rounding included, it is highest between {lower} (segment {segment}, t = {t}) and
{upper}. The file's false claims: {false_claims}."""
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
LEAKS = {"identity": 1.0, "relu": 0.0, "leaky-relu": 0.01}  # slopes below zero
Array = np.ndarray
State = tuple[Array, Array, Array, Array]  # a, e, D, E: samples (rows) by units (columns)
U, FAT, TINY = 2.0**-53, 1.0 + 2.0**-30, 2.0**-960
KEYS = "beads:f2 L0:f0 sizes:i1 activation:U0 output_activation:U0 biases:b0 loss:U0 X_test:f2 "
KEYS += "y_test:f2i1 losses:f1 segment_lower:f1 segment_upper:f1 weight_decay:f1"  # dimensions
FORM = r"\{'descr': '([<|](?:[biu][1248]|f[48]|U\d{1,2}))', 'fortran_order': (False|True), "
FORM += r"'shape': \(([\d, ]*)\), \} *\n"


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
    reach, leak = FAT * r * (aD + E) + TINY, LEAKS.get(name, 0.0)
    if name in LEAKS:
        low = leak + (1.0 - leak) * np.clip((z - e) / reach, 0.0, 1.0)
        high = leak + (1.0 - leak) * np.clip(1.0 + (z + e) / reach, 0.0, 1.0)
        value, slack, e = np.maximum(z, leak * z), 16 * U, FAT * e + 2 * U * leak * abs(z) + TINY
    else:  # tanh z, or sigmoid: 1/2 + 1/2 tanh(z/2)
        k, reach = 1.0 if name == "tanh" else 0.5, FAT * (reach + e)
        low = k * k * (1.0 - np.tanh(k * (abs(z) + reach)) ** 2)
        high = k * k * (1.0 - np.tanh(k * np.maximum(abs(z) - reach, 0.0)) ** 2)
        value, slack, e = (1.0 - k) + k * np.tanh(k * z), 64 * U, FAT * e + 32 * U
    m, w = 0.5 * (low + high), 0.5 * (high - low) + slack
    return value, e, m * D, FAT * (w * aD + (m + w) * E) + TINY


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
    if loss == "cross-entropy":
        d = np.array([z - r * D + radius, z + r * D + radius, z - below])
        top = d.max(axis=2)
        return (top + np.log(np.exp(d - top[..., None]).sum(axis=2))).sum(axis=1)
    d = np.array([abs(z - r * D) + radius, abs(z + r * D) + radius, np.maximum(abs(z) - below, 0)])
    if loss == "huber":  # quadratic up to 0.1, the double nearest to it
        d = np.minimum(d, 0.1) * (d - 0.5 * np.minimum(d, 0.1))
    elif loss == "log-cosh":
        d = d + np.log1p(np.exp(-2.0 * d)) - math.log(2.0)
    return (d * d if loss == "mse" else d).sum(axis=(1, 2))


def need(right: Any, what: str) -> None:
    """Refuse with a message unless it is right."""
    if not right:
        raise ValueError(what)


class Path:
    """A path and its test set, read from a file, which stays data, and checked."""

    def __init__(self, name: str):
        keys, found = dict(item.split(":") for item in KEYS.split()), {}
        need(os.path.isfile(name) or not os.path.exists(name), "this is no regular file")
        with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if m.filename.removesuffix(".npy") in keys]
            need(sum(m.file_size for m in members) <= 2**30, "arrays take more than 1 GB")
            for m in members:
                packed = m.compress_type in (0, 8) and 100 * m.compress_size + 1000 >= m.file_size
                need(packed, f"{m.filename} is compressed too well, or not by deflate")
                data = archive.open(m).read(m.file_size)  # and no more; its checksum is tested
                start = 10 + int.from_bytes(data[8:10], "little")
                header: Any = re.fullmatch(FORM, data[10:start].decode("latin-1"))
                need(header and data[:8] == b"\x93NUMPY\x01\x00", f"{m.filename} is no array")
                lengths = [int(n) for n in re.findall(r"\d+", header[3])]
                array = np.frombuffer(data, header[1], -1, start)  # all of the data
                array = array.reshape(lengths, order="F" if header[2] == "True" else "C")
                found[m.filename.removesuffix(".npy")] = array
        need(len(members) == len(found), "an array occurs twice")
        found.setdefault("weight_decay", np.zeros(np.shape(found.get("beads", 0))[-1:]))
        for key, kinds in keys.items():
            need(key in found, f"there is no {key}; save with string.save(path, problem)")
            kind = f"{found[key].dtype.kind}{found[key].ndim}"
            need(kind in kinds, f"{key} has elements and dimensions {kind}, not {kinds}")
            need("f" not in kinds or np.isfinite(found[key]).all(), f"{key} is not finite")
        self.found, self.sizes, self.biases = found, found["sizes"].tolist(), bool(found["biases"])
        self.beads, self.X, self.y = found["beads"].astype(float), found["X_test"], found["y_test"]
        self.L0, self.loss, hidden = float(found["L0"]), str(found["loss"]), len(self.sizes) - 2
        self.units = [str(found["activation"])] * hidden + [str(found["output_activation"])]
        labelled = self.loss in ("cross-entropy", "error") and self.units[-1] == "identity"
        known = labelled or self.loss in ("mse", "mae", "huber", "log-cosh")
        known &= {*self.units} <= {*LEAKS, "sigmoid", "tanh"} and hidden >= labelled
        known &= 0 < min(self.sizes) <= max(self.sizes) < 2**18
        need(known, f"{self.loss!r} is not known with layers of {self.sizes}, {self.units}")
        n, N, k = len(self.beads), len(self.X), self.sizes[-1]
        P = sum((inputs + self.biases) * outputs for inputs, outputs in pairwise(self.sizes))
        shapes = {"beads": (max(n, 2), P), "X_test": (max(N, 1), self.sizes[0]), "losses": (n,)}
        shapes |= {"y_test": (N,) if labelled else (N, k), "segment_lower": (n - 1,)}
        for key, shape in {**shapes, "segment_upper": (n - 1,), "weight_decay": (P,)}.items():
            need(found[key].shape == shape, f"{key} has shape {found[key].shape}, not {shape}")
        self.decay = found["weight_decay"].astype(float) * (self.loss != "error")
        need(self.decay.min() >= 0.0, "a weight_decay is negative")
        need(N * self.sizes[1] < 2**27, "the first layer takes more than 1 GB")
        need(not labelled or 0 <= self.y.min() <= self.y.max() < k, "a label is no class")
        step = max(64, 2**15 // max(self.sizes[1:]))  # samples at a time: they fit into the cache
        of: Any = {j: np.where(self.y == j)[0] for j in range(k * labelled)} or {None: np.arange(N)}
        self.chunks = [(j, r[i : i + step]) for j, r in of.items() for i in range(0, len(r), step)]

    def layers(self, theta: Array) -> list[tuple[Array, Array]]:
        """Layer by layer, weights (inputs, outputs) row by row, then biases."""
        layers = []
        for m, n in pairwise(self.sizes):
            W, b, theta = np.split(theta, [m * n, (m + self.biases) * n])
            layers.append((W.reshape(m, n), b if self.biases else np.zeros(n)))
        return layers

    def segment(self, k: int) -> Any:
        """Make enclose(c, r): an upper bound of the loss on I, and a lower bound of it at c."""
        layers = [self.layers(theta) for theta in self.beads[k : k + 2]]
        X, N, outputs = self.X.astype(float), len(self.X), self.sizes[-1]
        za, zb = (X @ W + b for (W, b), *_ in layers)
        D, H = zb - za, sum((abs(X) + TINY) @ (abs(W) + TINY) + abs(b) for (W, b), *_ in layers)
        e = FAT * (2 * len(X[0]) + 20) * U * (H + abs(za) + abs(zb) + abs(D)) + TINY
        later = [(*a, *b) for a, b in zip(*layers, strict=True)]
        rest = TINY + 66 * outputs**2 * U * (self.loss in ("cross-entropy", "log-cosh"))  # logs'
        slack, rest = (2 * (N * outputs + 64) * U, rest) if self.loss != "error" else (0.0, 0.0)
        A, B = both = self.beads[k : k + 2] * self.decay.any()  # zeros if there is no penalty
        rest += 2 * (len(A) + 64) * U * (self.decay * both**2).sum() + TINY * abs(both).sum()

        def enclose(c: float, r: float) -> list[float]:
            w = np.array([(1.0 - t) * A + t * B for t in (c - r, c + r, c)])
            total = 0.5 * N * (self.decay * w * w).sum(axis=1)
            for label, rows in self.chunks:
                x: State = (za[rows] + c * D[rows], e[rows], D[rows], e[rows])
                for layer, ends in enumerate(later[1:], 2):
                    if label is not None and layer == len(later):
                        ends = tuple(end - end[..., label : label + 1] for end in ends)
                    x = linear(unit(x, self.units[layer - 2], r), ends, c, r)
                total += sums(unit(x, self.units[-1], r), self.y[rows], self.loss, label, r)
            total = np.where(np.isfinite(total), total, [np.inf, np.inf, 0.0])
            return [total[:2].max() / N * (1 + slack) + rest, total[2] / N * (1 - slack) - rest]

        return enclose


def search(path: Path, L0: float, gap: float = math.inf) -> dict[str, Any]:
    """Bound the loss segment by segment, until all is decided against L₀ and within the gap."""
    best, where, ends, segments = -math.inf, (0, 0.0), [], []
    for k in range(len(path.beads) - 1):
        enclose, count, heap = path.segment(k), 0, [(-math.inf, 0.5, 0.5)]
        ends += [enclose(float(t), 0.0) for t in range(k > 0, 2)]
        lower, t = max((ends[-2][1], 0.0), (ends[-1][1], 1.0))
        while True:
            best, where = max((best, where), (lower, (k, t)))
            level = best + gap * abs(best) if gap < math.inf else math.inf
            level = L0 if best <= L0 < level else level
            if -heap[0][0] <= level or count >= 5000 or heap[0][2] <= 2.0**-40:
                break
            _, c, r = heapq.heappop(heap)
            for s in (-r / 2, r / 2) if count else (0.0,):  # the first time all of the segment
                high, low = enclose(c + s, abs(s) or r)
                heapq.heappush(heap, (-high, c + s, abs(s) or r))
                lower, t, count = max(low, lower), c + s if low > lower else t, count + 1
        segments.append((lower, -heap[0][0], count))
    low, high, counts = np.array(segments).T
    claims: Any = [("losses", *np.array(ends).T[::-1]), ("segment_lower", -np.inf, high)]
    wrong = []  # to a part in a million: claims are rounded
    for key, least, most in [*claims, ("segment_upper", low, np.inf)]:
        claim, margin = path.found[key], 1e-9 + 1e-6 * abs(path.found[key])
        false = np.flatnonzero((claim + margin < least) | (claim - margin > most))
        wrong += [f"{key}[{i}] = {claim[i]:.9g}" for i in false]
    *lengths, across = (math.dist(*ab) for ab in pairwise([*path.beads, path.beads[0]]))
    return {
        "verdict": "refuted" if best > L0 else "proven" if high.max() <= L0 else "not decided",
        "loss": path.loss + " + weight decay" * bool(path.decay.any()), "L0": L0, "t": where[1],
        "network": "-".join(map(str, path.sizes)), "beads": len(ends) - 2, "segment": where[0],
        "samples": len(path.X), "lower": max(best, 0.0), "intervals": int(sum(counts)),
        "upper": float(high.max()) if high.max() < np.inf else None, "false_claims": wrong,
        "normalized_length": sum(lengths) / across if sum(lengths) < math.inf and across else None,
    }  # fmt: skip


def exact_loss(path: Path, point: str) -> Fraction:
    """The loss at Θ(t) on segment k, without rounding; a point is k:t."""
    k, t = int(point.split(":")[0]), Fraction(point.split(":")[-1])
    known = {*path.units} <= {*LEAKS} and path.loss in ("mse", "mae", "error")
    known &= 0 <= k < len(path.beads) - 1 and 0 <= t <= 1 and not path.decay.any()
    need(known, f"{point} is not on the path, or not of ReLUs with mse, mae or error alone")
    one, p, q = 2**1074, t.numerator, t.denominator  # all doubles are whole numbers / 2**1074
    whole = np.frompyfunc(lambda v: int(Fraction(v) * one), 1, 1)
    a, y, scale = whole(path.X.astype(float)), whole(path.y.astype(float)), one
    for left, right, name in zip(*map(path.layers, path.beads[k : k + 2]), path.units, strict=True):
        W, b = ((q - p) * whole(v) + p * whole(w) for v, w in zip(left, right, strict=True))
        a = a @ W + scale * b
        a, scale = np.maximum(one * a, whole(LEAKS[name]) * a), scale * q * one**2
    if path.loss == "error":
        return Fraction(sum(map(lambda z, j: max(np.delete(z, j)) >= z[j], a, path.y)), len(a))
    d, power = abs(one * a - scale * y), 2 if path.loss == "mse" else 1
    return Fraction((d**power).sum(), len(a) * (scale * one) ** power)


def main(argv: list[str] | None = None, prog: str | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="string.npz")
    parser.add_argument("--L0", type=float, metavar="LOSS", help="instead of the file's L0")
    parser.add_argument("--gap", type=float, default=math.inf, help="relative width of the bracket")
    parser.add_argument("--exact", action="append", default=[], metavar="K:T", help="e.g. 2:1/3")
    parser.add_argument("--json", action="store_true", help="one JSON document a line and file")
    args, status = parser.parse_args(argv), 0
    for name in args.files:
        try:
            path = Path(name)
            L0 = path.L0 if args.L0 is None else args.L0
            need(math.isfinite(L0) and args.gap > 0.0, "--L0 must be finite, --gap positive")
            exact = {p: [float(v := exact_loss(path, p)), v <= L0] for p in args.exact}
            with np.errstate(all="ignore"):
                found = {"file": name, **search(path, L0, args.gap), "exact": exact}
            says = SAYS + " Exact losses, and whether they are at most {L0}: {exact}." * bool(exact)
            print(json.dumps(found) if args.json else says.format(**found).replace("\n", " "))
            status = max(status, int(found["verdict"] != "proven"))
        except (*UNREADABLE, MemoryError, ArithmeticError) as error:
            print(f"{name}: {error!s:.200}".replace("\n", " "), file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print(f"{name}: interrupted, nothing is proven of it", file=sys.stderr)
            return 130
    return status


if __name__ == "__main__":
    sys.exit(main(prog="python -m nconvex.verify" if __spec__ else None))  # or a copy of the file
