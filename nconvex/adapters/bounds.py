"""γ's bounds on an interval for a traced module: the losses at the end of `enclosures`.

*Residuals.* ρ(t) = f(t) - y lies in v - y + σ [d - e, d + e] ± ε. mse and mae are even, convex and
do not fall away from 0, so that their mean is at most U(σ) = mean ℓ(|v - y + σ d| + |σ| e), a
convex function of σ, which is highest at σ = ±1: two sums.

*Cross-entropy.* Let z_k be the logit of class k less that of the label. Likewise log Σ exp z_k is
at most log Σ exp(v_k + σ d_k + |σ| e_k), again highest at σ = ±1. If the last layer is linear, the
differences are taken of its weights, before they are bounded; else of its outputs: d_k - d_label,
e_k + e_label. A sample is surely *right* on the interval if all z_k of other classes are below 0 at
both ends; the share of the others bounds the share of errors.

*Rounding*, as in `proof.rounding`, whose R is here |v - y| + |y| + |d| + e, each at its largest.
Residuals: e' = ε + 4 u R; mse: 2 (R + e') e' + 4 γ_n R² for each output; mae: e' + 4 γ_n R +
32 u (1 + R). Cross-entropy: a difference of rows has weights of at most A_k + A_label, from which
its ε follows as in a linear map, for one more rounding of a weight is within n; a difference of two
outputs errs by at most 2 ε + 8 u R. With 32 u R for its evaluation that is the *margin*, by
which log Σ exp errs at most. Its own: 16 u (classes + 16) + 2 γ_n (log classes + 4 R), with R ≥
|v| + |d| + e of any difference. n counts N additions for each output and some.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nconvex.adapters import branching
from nconvex.adapters.enclosures import (
    NU,
    Enclosure,
    U,
    Weights,
    gamma,
    linear,
    magnitude,
)
from nconvex.adapters.tracing import Interval, NotCertifiable, Program
from nconvex.definitions import Peak
from nconvex.proof.certify import SHORTEST, SHORTEST_OF_ERRORS

#: Relative difference of the module's outputs and the trace's that nothing but rounding explains.
SAME = 1e-8


class Proof:
    """A module and its test set, ready to bound γ between any two θ.

    Args:
        module: In float64 and evaluation mode.
        loss: "cross-entropy", "error", "mse" or "mae".
        X: (N, …) inputs.
        y: (N,) labels or (N, …) targets.
        chunk: Samples that are bounded at once.

    Raises:
        NotCertifiable: Something stands in the way; the message names it.
    """

    def __init__(self, module: nn.Module, loss: str, X: Tensor, y: Tensor, chunk: int):
        if not X.is_floating_point():
            raise NotCertifiable("inputs that are integers")
        self._program, self._loss = Program(module), loss
        self._tensors = {
            **dict(module.named_parameters()),
            **{name: b for name, b in module.named_buffers() if b.is_floating_point()},
        }
        self._tensors = {name: tensor.detach() for name, tensor in self._tensors.items()}
        self._names = {
            id(tensor): name
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }
        self._samples = len(X)
        self._labelled = loss in ("cross-entropy", "error")
        if self._labelled:  # so that a chunk has few labels
            order = torch.from_numpy(np.argsort(y.numpy(), kind="stable"))
            X, y = X[order], y[order]
        self._chunks = list(zip(X.split(chunk), y.split(chunk), strict=True))
        self._check(module)

    @torch.no_grad()
    def _check(self, module: nn.Module) -> None:
        """Raise NotCertifiable unless the trace computes what the module does."""
        X = self._chunks[0][0][:4]
        outputs = module(X.clone())
        traced = self._program.run(X, self._interval(self._tensors, self._tensors, {}, 0.0, 0.0))
        same = outputs.dtype == torch.float64 and outputs.shape == traced.v.shape
        if not same or not bool(
            ((outputs - traced.v).abs() <= SAME * (1.0 + outputs.abs().max())).all()
        ):
            raise NotCertifiable("the module computes something else than its trace")

    def _interval(
        self,
        one: Mapping[str, Tensor],
        two: Mapping[str, Tensor],
        sizes: Mapping[str, Tensor],
        c: float,
        r: float,
    ) -> Interval:
        ends = {
            name: (one.get(name, frozen), two.get(name, frozen))
            for name, frozen in self._tensors.items()
        }
        sizes = sizes or {name: torch.maximum(a.abs(), b.abs()) for name, (a, b) in ends.items()}
        return Interval(self._names, ends, sizes, c, r)

    def maximum(
        self, one: Mapping[str, Tensor], two: Mapping[str, Tensor], L0: float, gap: float | None
    ) -> Peak:
        """Bracket max γ between two θ, given as tensors by name; see `certify.maximum`."""
        sizes = self._interval(one, two, {}, 0.0, 0.0).sizes
        counts = self._loss == "error"
        return branching.maximum(
            lambda c, r: self.enclose(self._interval(one, two, sizes, c, r)),
            L0,
            gap,
            2.0 / self._samples if counts else 0.0,
            SHORTEST_OF_ERRORS if counts else SHORTEST,
        )

    @torch.no_grad()
    def enclose(self, at: Interval) -> tuple[float, float, float]:
        """γ(c), a bound of γ on the interval, and what rounding can have added to either."""
        sums = np.zeros(3)
        for X, y in self._chunks:
            x = self._program.run(X, at, headless=self._labelled)
            part = self._labelled_sums(x, y, at) if self._labelled else self._residual_sums(x, y)
            sums += part
        value, bound, sigma = (sums / self._samples).tolist()
        return value, bound, 1.01 * sigma + NU if self._loss != "error" else sigma

    def _residual_sums(self, x: Enclosure, y: Tensor) -> tuple[float, float, float]:
        v = (x.v - y).flatten(1)
        d, e = (None if part is None else part.flatten(1) for part in (x.d, x.e))
        R = magnitude(Enclosure(v, d, e, x.eps)) + y.flatten(1).abs().amax(0, keepdim=True)
        err = x.eps.flatten(1) + 4.0 * U * R
        n = gamma(128.0 + self._samples * v.shape[1])
        sums = []
        for sign in (0.0, -1.0, 1.0):
            rho = v.abs() if d is None or sign == 0.0 else (v + sign * d).abs()
            if e is not None and sign != 0.0:
                rho = rho + e
            sums.append(float((rho.square() if self._loss == "mse" else rho).numpy().sum()))
        if self._loss == "mse":
            sigma = 2.0 * (R + err) * err + 4.0 * n * R * R
        else:
            sigma = err + 4.0 * n * R + 32.0 * U * (1.0 + R)
        return sums[0], float(np.maximum(sums[1], sums[2])), len(v) * float(sigma.sum())

    def _labelled_sums(self, x: Enclosure, y: Tensor, at: Interval) -> tuple[float, float, float]:
        sums = np.zeros(3)
        start = 0
        for label, count in zip(
            *(part.tolist() for part in y.unique_consecutive(return_counts=True)), strict=True
        ):
            rows = slice(start, start + count)
            start += count
            group = Enclosure(
                x.v[rows],
                None if x.d is None else x.d[rows],
                None if x.e is None else x.e[rows],
                x.eps,
            )
            sums += self._sums_of(_differences(group, label, self._program.head, at), label)
        return float(sums[0]), float(sums[1]), float(sums[2])

    def _sums_of(self, z: Enclosure, label: int) -> np.ndarray:
        """The three sums for samples of one label, from the logits' differences to it."""
        count, classes = z.v.shape
        R = float(magnitude(z).max())
        margin = float(z.eps.max()) + 32.0 * U * R
        up = z.v if z.e is None else z.v + z.e
        ends = [up] if z.d is None else [up - z.d, up + z.d]
        if self._loss == "error":
            margin = 1.01 * margin + NU
            others = [k for k in range(classes) if k != label]
            wrong = z.v[:, others].amax(1) >= margin
            worst = torch.stack([end[:, others].amax(1) for end in ends]).amax(0)
            unsure = ~(worst < -margin)
            sigma = 0.0 if margin < inf else inf
            return np.array([float(wrong.sum()), float(unsure.sum()), sigma])
        own = 16.0 * U * (classes + 16.0)
        own += 2.0 * gamma(64.0 + self._samples) * (log(classes) + 4.0 * R)
        value = float(z.v.logsumexp(1).numpy().sum())
        bound = np.max([float(end.logsumexp(1).numpy().sum()) for end in ends])
        return np.array([value, bound, count * (margin + own)])


def _differences(x: Enclosure, label: int, head: nn.Linear | None, at: Interval) -> Enclosure:
    """Logits less that of the label, from the head's inputs, or from the logits."""
    if head is None:
        own = x.map(lambda a: a[:, label : label + 1])
        d = None if x.d is None or own.d is None else x.d - own.d
        e = None if x.e is None or own.e is None else x.e + own.e
        if e is not None:
            e[:, label] = 0.0
        eps = 2.0 * x.eps.amax(1, keepdim=True)
        return Enclosure(x.v - own.v, d, e, eps + 8.0 * U * magnitude(x).max())
    weight, bias = at.weights(head.weight), at.optional(head.bias)

    def less(w: Weights | None) -> Weights | None:
        if w is None:
            return None
        d = None if w.d is None else w.d - w.d[label]
        return Weights(w.v - w.v[label], d, w.size + w.size[label])

    difference = less(weight)
    assert difference is not None
    return linear(x, F.linear, difference, less(bias), head.in_features)
