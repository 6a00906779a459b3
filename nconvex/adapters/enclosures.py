"""How far the units of any network move on an interval of t: the centred form, on tensors.

*The claim.* Let t = c + σ r with |σ| ≤ 1. For every unit and sample an *enclosure* (v, d, e, ε)
says that its exact value at Θ(θ₁, θ₂, t) is

    a(t) ∈ v + σ [d - e, d + e] ± ε   for all |σ| ≤ 1.                              (*)

It is `centred`'s, with D and E multiplied by r, and with what floating-point arithmetic may have
added in ε, carried along. v, d, e are (N, …), for N samples; ε is (1, …), the worst of them. None
stands for a d or an e of zero. S = |d| + e is how far a unit moves, M = max over the samples of
|v| + S. Each rule below takes (*) of a layer's inputs to (*) of its outputs.

*A linear map* with weights W(t) = W + σ w, w = r (W(θ₂) - W(θ₁)), likewise b(t), be it a matrix or
a convolution. From W(t) a(t) - W v = σ (W q + w v + σ w q),

    v' = W v + b,   d' = W d + w v + w_b,   e' = |W| e + |w| S.

*A product* of x and y, the same with both sides enclosed:

    v' = x y,   d' = x d_y + y d_x,   e' = |x| e_y + |y| e_x + S_x S_y.

*Batch normalization* in evaluation is ((a - mean) / √(var + ϵ)) · weight + bias, a sum and two
products, each statistic and weight of a channel being linear in t or frozen. What is left is
i(t) = (var(t) + ϵ)^(-1/2), a convex function of something linear.

*Convex functions.* Let f be convex, f(σ) = φ(v + σ q). Its slope (f(σ) - f(0)) / σ rises with σ, so
that it lies between f(0) - f(-1) and f(1) - f(0). If φ also rises, then with q in [d - e, d + e]

    u₊ = φ(v + d + e),   u₋ = φ(v - d + e),
    v' = φ(v),   d' = (u₊ - u₋)/2,   e' = (u₊ + u₋)/2 - v',

for no φ(v + q) exceeds u₊, no φ(v - q) exceeds u₋; q may depend on σ, for the bound at σ is that of
the constant q(σ). *ReLU* and *leaky ReLU* (slope in [0, 1]) are of this kind; so is *max pooling*,
of several inputs at once: φ(a) = max a_k is convex and rises with each. These are the tightest d'
and e' for what is known of the inputs.

*Smooth functions.* φ(z + h) - φ(z) = h (φ'(z) + h/2 φ''(ξ)) by Taylor, with |ξ| ≥ |z| - S, |h| ≤ S.
Let |φ''(x)| ≤ B(|x|), B falling. The slope lies in φ'(z) ± S/2 B(max(|z| - S, 0)), and, being a
mean of φ', in the range of φ' over the reach of z. Let [m - w, m + w] be what both leave; then

    v' = φ(z),   d' = m d,   e' = w |d| + (|m| + w) e.

  *Tanh*: φ' = 1 - tanh² falls with |z|; |φ''| = 2 |tanh| φ' ≤ B = 2 φ', and ≤ 4/√27.
  *Sigmoid* s(z) = (1 + tanh(z/2))/2: φ' = s(1-s), B = φ', and ≤ 1/√108.
  *GELU* z P(z), P and p the normal distribution and its density: φ' = P + z p in [-0.13, 1.13];
  φ'' = (2 - z²) p, B = (2 + z²) p, whose derivative is -z³ p ≤ 0.
  *SiLU* z s(z): φ' = s + z s(1-s) in [-0.1, 1.1]; φ'' = s(1-s) (2 - z tanh(z/2)), and B =
  s(1-s) (2 + z tanh(z/2)) falls: with y = z/2, T = tanh y, B' has the sign of y - T - 3 y T², and
  y - T ≤ y³/3, 3 y T² ≥ 2.2 y³ where 3 T² < 1, elsewhere y (1 - 3 T²) ≤ 0 < T.

*Pooling by means, reshaping, addition* are linear with weights of at least 0: each of v, d, e, ε is
passed through.

*Rounding.* u = 2⁻⁵³, γ_n = n u / (1 - n u), assumptions as in `proof.rounding`; erf is as good as
exp. All is float64, for which processors have no faster and less exact kernels; sums may be added
in any order. Let A = max(|W(θ₁)|, |W(θ₂)|), elementwise; |W| + |w| ≤ A on every interval, and
|w| ≤ A/2, as r ≤ 1/4. The terms of v', of d' and of e' add up to at most A M + A_b each, taken
absolutely, A M being A applied to M. No term suffers more than n = 2 n_in + 16 roundings: three for
a weight at c, two for w, one for S, the product, and sums of at most 2 n_in + 2 terms. So, three
such errors at most,

    ε' = A (ε + 3 γ_n M) + 3 γ_n A_b.

A function of slopes within ±Λ passes ε on as Λ ε. What it adds:
  *Convex*: v ± d + e errs by 2 u M, leaky ReLU multiplies once more, and v', d', e' err by less
  than 12 u M together: 16 u M.
  *Smooth*: φ' and the ends of its range err by 20 u. S/2 B is rounded up, B by 64 u and by 2⁻⁴⁰ of
  itself, which is more than its error, and |z| - S is rounded down. So m and w err by 21 u each and
  the slopes' products by 48 u S in all; φ errs by 24 u (1 + |z|), its argument's included. Together
  less than 96 u (1 + M).
  *Products*: 16 u M_x M_y, and the inherited M_x ε_y + M_y ε_x + ε_x ε_y.
  *i(t)*: var(c ± r) + ϵ is a sum of positive terms, which errs by 5 u relatively; i, d and e err by
  32 u (u₊ + u₋ + i) together.
  *Means* of k: γ_(k+8) M. *Sums*: 8 u M.
ν = 2⁻⁹⁶⁰, added to every A and to every ε, stands for all products that underflow. Each ε is a sum
of positive terms, with a relative error far below 1e-6; losses multiply by 1.01.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

U = 2.0**-53
NU = 2.0**-960


class Enclosure(NamedTuple):
    """The enclosure (*) of one layer's units for N samples."""

    v: Tensor
    d: Tensor | None
    e: Tensor | None
    eps: Tensor

    def map(self, f: Callable[[Tensor], Tensor]) -> Enclosure:
        """Apply a linear f with weights of at least 0 to all four."""
        d = None if self.d is None else f(self.d)
        e = None if self.e is None else f(self.e)
        return Enclosure(f(self.v), d, e, f(self.eps))

    def plus_rounding(self, eps: Tensor) -> Enclosure:
        """Return the same with a larger ε."""
        return self._replace(eps=self.eps + eps + NU)


class Weights(NamedTuple):
    """A parameter on an interval: its value at c, w = r (θ₂ - θ₁), and A; w is None if frozen."""

    v: Tensor
    d: Tensor | None
    size: Tensor

    def map(self, f: Callable[[Tensor], Tensor]) -> Weights:
        """Apply a change of shape to all three."""
        return Weights(f(self.v), None if self.d is None else f(self.d), f(self.size))

    def enclosure(self) -> Enclosure:
        """As an enclosure; a channel's weight has a shape that ends its samples' own."""
        return Enclosure(self.v, self.d, None, 4.0 * U * self.size)


#: A linear map of x with weights and, or not, a bias.
Map = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def gamma(n: float) -> float:
    """γ_n = n u / (1 - n u)."""
    return n * U / (1.0 - n * U)


def total(*terms: Tensor | None) -> Tensor | None:
    """The sum of those terms that are not None."""
    found: Tensor | None = None
    for term in terms:
        if term is not None:
            found = term if found is None else found + term
    return found


def reach(x: Enclosure) -> Tensor | None:
    """S = |d| + e."""
    return total(None if x.d is None else x.d.abs(), x.e)


def magnitude(x: Enclosure) -> Tensor:
    """M, or a little more: the largest |v|, |d| and e of the samples, added up; (1, …)."""
    size = x.v.abs().amax(0, keepdim=True)
    for part in (x.d, x.e):
        if part is not None:
            size += part.abs().amax(0, keepdim=True)
    return size


def linear(x: Enclosure, f: Map, weight: Weights, bias: Weights | None, n_in: int) -> Enclosure:
    """A matrix or a convolution f with n_in inputs a unit."""
    W, w, size = weight
    b, w_b, size_b = bias or (None, None, None)
    if w is None and w_b is not None:
        w = torch.zeros_like(W)
    d = None if x.d is None else f(x.d, W, None)
    e = None if x.e is None else f(x.e, W.abs(), None)
    S = reach(x)
    if w is not None:
        d = total(d, f(x.v, w, w_b))
        if S is not None:
            e = total(e, f(S, w.abs(), None))
    rounding = 3.0 * gamma(2.0 * n_in + 16.0)
    offset = None if size_b is None else rounding * size_b
    eps = f(x.eps + rounding * magnitude(x) + NU, size + NU, offset)
    return Enclosure(f(x.v, W, b), d, e, eps + NU)


def add(x: Enclosure, y: Enclosure, sign: float = 1.0) -> Enclosure:
    """X + y, or x - y with sign -1."""
    d = total(x.d, None if y.d is None else sign * y.d)
    sum_ = Enclosure(x.v + sign * y.v, d, total(x.e, y.e), x.eps + y.eps)
    return sum_.plus_rounding(8.0 * U * (magnitude(x) + magnitude(y)))


def multiply(x: Enclosure, y: Enclosure) -> Enclosure:
    """X y, elementwise."""
    d = total(None if y.d is None else x.v * y.d, None if x.d is None else y.v * x.d)
    S_x, S_y = reach(x), reach(y)
    e = total(
        None if y.e is None else x.v.abs() * y.e,
        None if x.e is None else y.v.abs() * x.e,
        None if S_x is None or S_y is None else S_x * S_y,
    )
    M_x, M_y = magnitude(x), magnitude(y)
    eps = M_x * y.eps + M_y * x.eps + x.eps * y.eps
    return Enclosure(x.v * y.v, d, e, eps).plus_rounding(16.0 * U * (M_x * M_y))


def _between(v: Tensor, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """V', d' and e' of a convex function from φ(v), u₊ and u₋."""
    return v, 0.5 * (above - below), (0.5 * (above + below) - v).clamp_min_(0.0)


def rising_convex(x: Enclosure, f: Callable[[Tensor], Tensor]) -> Enclosure:
    """ReLU, leaky ReLU or max pooling; slopes within [0, 1]."""
    if x.d is None and x.e is None:
        return x.map(f).plus_rounding(U * f(magnitude(x)))
    v, d, e = x.v, x.d, x.e
    up, down = (v, v) if d is None else (v + d, v - d)
    if e is not None:
        up, down = up + e, down + e
    return Enclosure(*_between(f(v), f(up), f(down)), f(x.eps + 16.0 * U * magnitude(x)) + NU)


def inverse_root(x1: Tensor, x2: Tensor, c: float, r: float) -> Enclosure:
    """(x₁ (1 - t) + x₂ t)^(-1/2), where it is positive."""
    x1, x2 = (torch.where(x > 0.0, x, torch.nan) for x in (x1, x2))
    centre, left, right = ((x1 * (1.0 - t) + x2 * t).rsqrt() for t in (c, c - r, c + r))
    v, d, e = _between(centre, right, left)
    return Enclosure(v, d, e, 32.0 * U * (centre + left + right))


class Smooth(NamedTuple):
    """A smooth function φ, for `smooth`.

    Attributes:
        value: φ and φ' of z.
        curvature: B(x) for x ≥ 0.
        slopes: The range of φ' on |z| in [near, far].
        lipschitz: Λ.
    """

    value: Callable[[Tensor], tuple[Tensor, Tensor]]
    curvature: Callable[[Tensor], Tensor]
    slopes: Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor | float]]
    lipschitz: float


def smooth(x: Enclosure, phi: Smooth) -> Enclosure:
    """Tanh, sigmoid, GELU or SiLU."""
    z = x.v
    v, slope = phi.value(z)
    eps = phi.lipschitz * x.eps + 96.0 * U * (1.0 + magnitude(x)) + NU
    S = reach(x)
    if S is None or x.d is None:
        return Enclosure(v, None, None if x.e is None else phi.lipschitz * x.e, eps)
    S = (1.0 + 8.0 * U) * S
    size = (1.0 - 8.0 * U) * z.abs()
    near = (size - S).clamp_min_(0.0)
    bend = 0.5 * S * ((1.0 + 2.0**-40) * phi.curvature(near) + 64.0 * U)
    lowest, highest = phi.slopes(near, size + S)
    low = torch.maximum(slope - bend, torch.as_tensor(lowest, dtype=z.dtype))
    high = torch.minimum(slope + bend, torch.as_tensor(highest, dtype=z.dtype))
    m = 0.5 * (high + low)
    w = (0.5 * (high - low)).clamp_min_(0.0)
    e = w * x.d.abs()
    if x.e is not None:
        e += (m.abs() + w) * x.e
    return Enclosure(v, m * x.d, e, eps)


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    v = z.tanh()
    return v, 1.0 - v * v


def _sigmoid(z: Tensor) -> tuple[Tensor, Tensor]:
    v = z.sigmoid()
    return v, v * (1.0 - v)


def _density(z: Tensor) -> Tensor:
    return (-0.5 * z * z).exp() * 0.3989422804014327


def _gelu(z: Tensor) -> tuple[Tensor, Tensor]:
    P = 0.5 * (1.0 + (z * 0.7071067811865476).erf())
    return z * P, P + z * _density(z)


def _silu(z: Tensor) -> tuple[Tensor, Tensor]:
    s = z.sigmoid()
    return z * s, s + z * (s * (-z).sigmoid())


TANH = Smooth(
    _tanh,
    lambda x: (2.0 * _tanh(x)[1]).clamp_max_(0.7698003589195011),
    lambda near, far: (_tanh(far)[1], _tanh(near)[1]),
    1.0,
)
SIGMOID = Smooth(
    _sigmoid,
    lambda x: _sigmoid(x)[1].clamp_max_(0.09622504486493764),
    lambda near, far: (_sigmoid(far)[1], _sigmoid(near)[1]),
    0.25,
)
GELU = Smooth(
    _gelu,
    lambda x: (2.0 + x * x) * _density(x),
    lambda near, far: (-0.13, 1.13),
    1.13,
)
SILU = Smooth(
    _silu,
    lambda x: x.sigmoid() * (-x).sigmoid() * (2.0 + x * (0.5 * x).tanh()),
    lambda near, far: (-0.1, 1.1),
    1.1,
)


def mean_pool(x: Enclosure, f: Callable[[Tensor], Tensor], n_in: int) -> Enclosure:
    """Pooling f by means of n_in inputs."""
    return x.map(f).plus_rounding(gamma(n_in + 8.0) * f(magnitude(x)))
