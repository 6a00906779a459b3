"""The peers of `suite`: the same work in JAX, PyTorch, scikit-learn and plain NumPy.

Every method returns {name: (work, factor)}: `work` does it once, compiled before, and `factor` says
how many times less it does than ours (slow peers do fewer steps). What several formulations of one
peer take, the fastest counts. PyTorch's Dynamic String Sampling is the plain algorithm, as ours
but with 101 points for a maximum and no proof.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import nconvex as nc

MODULES = ("jax", "torch", "sklearn")
HAS = {name: importlib.util.find_spec(name) is not None for name in MODULES}
Ways = dict[str, tuple[Callable[[], object], float]]


def fastest(formulations: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """Pick the formulation with the shortest of three calls, after one that compiles."""
    times = []
    for work in formulations:
        work()
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - began)
        times.append(best)
    return formulations[int(np.argmin(times))]


def unpacked(model: nc.MLP, theta: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """θ as (W, b) of each layer."""
    return [(W.copy(), b.copy()) for W, b in model.unpack(theta) if b is not None]


class Quad:
    """Polynomial regression with 1-4-4-1, mean squared error, full batch, float64."""

    def __init__(self, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray):
        self.X, self.y, self.X_test, self.y_test = X, y, X_test, y_test
        self.model = nc.MLP((1, 4, 4, 1))

    # -- NumPy -------------------------------------------------------------------------------------

    def numpy_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient as a textbook writes them."""
        layers = self.model.unpack(theta)
        activations = [self.X]
        for k, (W, b) in enumerate(layers):
            z = activations[-1] @ W + b
            activations.append(np.maximum(z, 0.0) if k < len(layers) - 1 else z)
        r = activations[-1] - self.y
        d = 2.0 * r / len(r)
        parts: list[np.ndarray] = []
        for k in range(len(layers) - 1, -1, -1):
            parts += [d.sum(axis=0), (activations[k].T @ d).ravel()]
            if k:
                d = (d @ layers[k][0].T) * (activations[k] > 0)
        return float(np.mean(r * r)), np.concatenate(parts[::-1])

    def numpy_loss(self, theta: np.ndarray) -> float:
        """Test loss."""
        r = self.model.predict(theta, self.X_test) - self.y_test
        return float(np.mean(r * r))

    # -- PyTorch -----------------------------------------------------------------------------------

    def torch_net(self, theta: np.ndarray) -> Any:
        """A network with these weights."""
        import torch

        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float64)
        net = torch.nn.Sequential(
            torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4), torch.nn.ReLU(),
            torch.nn.Linear(4, 1),
        )  # fmt: skip
        load(net, self.model, theta)
        return net

    # -- Rows --------------------------------------------------------------------------------------

    def gradient(self, theta: np.ndarray) -> Ways:
        """Loss and gradient."""
        ways: Ways = {}
        if HAS["jax"]:
            ways["JAX"] = (fastest(self._jax_gradients(theta)), 1.0)
        if HAS["torch"]:
            import torch

            net = self.torch_net(theta)
            X, y = torch.from_numpy(self.X), torch.from_numpy(self.y)
            parameters = list(net.parameters())

            def eager() -> object:
                return torch.autograd.grad(((net(X) - y) ** 2).mean(), parameters)

            eager()
            ways["PyTorch eager"] = (eager, 1.0)
        ways["NumPy"] = (lambda: self.numpy_gradient(theta), 1.0)
        return ways

    def _jax_losses(self) -> list[Callable[..., Any]]:
        import jax.numpy as jnp

        X, y = jnp.asarray(self.X), jnp.asarray(self.y)

        def rows(layers: Any) -> Any:
            a = X
            for W, b in layers[:-1]:
                a = jnp.maximum(a @ W + b, 0.0)
            return jnp.mean((a @ layers[-1][0] + layers[-1][1] - y) ** 2)

        def columns(layers: Any) -> Any:
            a = X.T
            for W, b in layers[:-1]:
                a = jnp.maximum(W.T @ a + b[:, None], 0.0)
            return jnp.mean((layers[-1][0].T @ a + layers[-1][1][:, None] - y.T) ** 2)

        def sums(layers: Any) -> Any:  # no matrix product: what XLA fuses best
            a = [X[:, i] for i in range(1)]
            for k, (W, b) in enumerate(layers):
                z = [sum(a[i] * W[i, j] for i in range(len(a))) + b[j] for j in range(b.size)]
                a = [jnp.maximum(v, 0.0) for v in z] if k < len(layers) - 1 else z
            return jnp.mean((a[0] - y[:, 0]) ** 2)

        return [rows, columns, sums]

    def _jax_gradients(self, theta: np.ndarray) -> list[Callable[[], object]]:
        import jax

        layers = jax.device_put(unpacked(self.model, theta))
        works = []
        for loss in self._jax_losses():
            compiled = jax.jit(jax.value_and_grad(loss))
            works.append(lambda f=compiled: jax.block_until_ready(f(layers)))
        return works

    def descent(self, theta: np.ndarray, steps: int, few: int, settings: nc.RMSProp) -> Ways:
        """RMSProp from θ, full batch."""
        ways: Ways = {}
        decay, epsilon, shrink = settings.decay, settings.epsilon, settings.shrink
        if HAS["jax"]:
            import jax
            import jax.numpy as jnp

            def runner(loss: Callable[..., Any]) -> Callable[[], object]:
                gradient = jax.grad(loss)

                def step(state: Any) -> Any:
                    n, layers, v = state
                    g = gradient(layers)
                    v = jax.tree.map(lambda v, g: decay * v + (1 - decay) * g * g, v, g)
                    rate = settings.learning_rate * shrink**n
                    layers = jax.tree.map(
                        lambda w, g, v: w - rate * g / (jnp.sqrt(v) + epsilon), layers, g, v
                    )
                    return n + 1, layers, v

                @jax.jit
                def run(layers: Any) -> Any:
                    v = jax.tree.map(jnp.zeros_like, layers)
                    return jax.lax.while_loop(lambda s: s[0] < steps, step, (0, layers, v))[1]

                layers = jax.device_put(unpacked(self.model, theta))
                return lambda: jax.block_until_ready(run(layers))

            ways["JAX"] = (fastest([runner(loss) for loss in self._jax_losses()]), 1.0)
        if HAS["torch"]:
            import torch

            X, y = torch.from_numpy(self.X), torch.from_numpy(self.y)

            def eager(compiled: bool) -> Callable[[], object]:
                net = self.torch_net(theta)
                optimizer = torch.optim.RMSprop(
                    net.parameters(), settings.learning_rate, decay, epsilon
                )

                def step() -> None:
                    optimizer.zero_grad()
                    ((net(X) - y) ** 2).mean().backward()
                    optimizer.step()

                if compiled:
                    step = torch.compile(step)

                def run() -> None:
                    for _ in range(few):
                        step()

                step()
                step()
                return run

            ways["PyTorch eager"] = (eager(False), steps / few)
            try:
                ways["PyTorch compiled"] = (eager(True), steps / few)
            except Exception as error:  # needs a C++ compiler
                print(f"PyTorch compiled is left out: {type(error).__name__}")

        def numpy_run() -> None:
            w, v = theta.copy(), np.zeros_like(theta)
            for n in range(few):
                _, g = self.numpy_gradient(w)
                v = decay * v + (1 - decay) * g * g
                w -= settings.learning_rate * shrink**n * g / (np.sqrt(v) + epsilon)

        ways["NumPy"] = (numpy_run, steps / few)
        return ways

    def gamma(self, a: np.ndarray, b: np.ndarray, t: np.ndarray) -> Ways:
        """The interpolated loss at many t."""
        ways: Ways = {}
        thetas = nc.interpolate(a, b, t[:, None])
        if HAS["jax"]:
            import jax
            import jax.numpy as jnp

            one, other = (jax.device_put(unpacked(self.model, theta)) for theta in (a, b))

            def at(loss: Callable[..., Any]) -> Callable[..., Any]:
                return lambda s: loss(jax.tree.map(lambda u, v: u * (1 - s) + v * s, one, other))

            works = []
            for loss in self._jax_losses():
                single = at(loss)
                mapped = jax.jit(jax.vmap(single))
                looped = jax.jit(lambda ts, f=single: jax.lax.map(f, ts))
                for f in (mapped, looped):
                    works.append(lambda f=f: jax.block_until_ready(f(jnp.asarray(t))))
            ways["JAX"] = (fastest(works), 1.0)
        if HAS["torch"]:
            import torch

            X, y = torch.from_numpy(self.X_test), torch.from_numpy(self.y_test)
            nets = [self.torch_net(theta) for theta in thetas]

            def eager() -> object:
                with torch.no_grad():
                    return [((net(X) - y) ** 2).mean() for net in nets]

            eager()
            ways["PyTorch eager"] = (eager, 1.0)
        ways["NumPy"] = (lambda: [self.numpy_loss(theta) for theta in thetas], 1.0)
        return ways

    def pair(self, L0: float, problem: nc.Problem) -> Ways:
        """Train two networks and connect them."""
        if not HAS["torch"]:
            return {}
        import torch

        X, y = torch.from_numpy(self.X), torch.from_numpy(self.y)
        X_test, y_test = torch.from_numpy(self.X_test), torch.from_numpy(self.y_test)
        settings = problem.rmsprop

        def test_loss(net: Any) -> float:
            with torch.no_grad():
                return float(((net(X_test) - y_test) ** 2).mean())

        def descend(theta: np.ndarray, target: float) -> np.ndarray | None:
            net = self.torch_net(theta)
            optimizer = torch.optim.RMSprop(
                net.parameters(), settings.learning_rate, settings.decay, settings.epsilon
            )
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, settings.shrink)
            for step in range(settings.budget):
                if step % settings.check_every == 0 and test_loss(net) <= target:
                    return save(net, self.model)
                optimizer.zero_grad()
                ((net(X) - y) ** 2).mean().backward()
                optimizer.step()
                schedule.step()
            return None

        def heights(thetas: np.ndarray) -> list[float]:
            return [test_loss(self.torch_net(theta)) for theta in thetas]

        seeds = iter(range(10**6))

        def run() -> None:
            seed = next(seeds) % 10
            ends: list[np.ndarray] = []
            while len(ends) < 2:
                rng = np.random.default_rng((seed, len(ends)))
                end = descend(problem.initial(rng), L0)
                while end is None:
                    end = descend(problem.initial(rng), L0)
                ends.append(end)
            dynamic_string_sampling(ends[0], ends[1], L0, descend, heights, 10)

        run()
        return {"PyTorch": (run, 1.0)}


def dynamic_string_sampling(
    left: np.ndarray,
    right: np.ndarray,
    L0: float,
    descend: Callable[[np.ndarray, float], np.ndarray | None],
    heights: Callable[[np.ndarray], list[float]],
    depth: int,
) -> bool:
    """Steps 2 to 5 with 101 points for a maximum."""
    t = np.linspace(0.0, 1.0, 101)
    points = nc.interpolate(left, right, t[:, None])
    gamma = heights(points)
    if max(gamma) <= L0:
        return True
    if depth == 0:
        return False
    bead = descend(points[int(np.argmax(gamma))], 0.8 * L0)
    if bead is None:
        return False
    halves = [
        dynamic_string_sampling(a, b, L0, descend, heights, depth - 1)
        for a, b in ((left, bead), (bead, right))
    ]
    return all(halves)


def load(net: Any, model: nc.MLP, theta: np.ndarray) -> None:
    """Put θ into a PyTorch network."""
    import torch

    linear = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer, (W, b) in zip(linear, model.unpack(theta), strict=True):
            layer.weight.copy_(torch.from_numpy(W.T.copy()))
            layer.bias.copy_(torch.from_numpy(np.array(b)))


def save(net: Any, model: nc.MLP) -> np.ndarray:
    """Read θ from a PyTorch network."""
    theta = np.empty(model.n_parameters)
    tensors = [p.detach().numpy() for p in net.parameters()]
    for (W, b), weight, bias in zip(model.unpack(theta), tensors[::2], tensors[1::2], strict=True):
        W[:] = weight.T
        if b is not None:
            b[:] = bias
    return theta


class Digits:
    """Classification of digits, one hidden ReLU layer; peers in float32 unless they say float64."""

    def __init__(self, problem: nc.Classification):
        self.problem, self.model = problem, problem.model
        self.hidden = problem.model.sizes[1]

    def torch_net(self, theta: np.ndarray) -> Any:
        """A network with these weights."""
        import torch

        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        net = torch.nn.Sequential(
            torch.nn.Linear(784, self.hidden), torch.nn.ReLU(), torch.nn.Linear(self.hidden, 10)
        )
        load(net, self.model, theta)
        return net

    def _jax_layers(self, theta: np.ndarray, number: Any = np.float32) -> Any:
        import jax

        return jax.device_put(
            [(W.astype(number), b.astype(number)) for W, b in unpacked(self.model, theta)]
        )

    @staticmethod
    def _jax_loss(layers: Any, X: Any, labels: Any) -> Any:
        import jax
        import jax.numpy as jnp

        z = jnp.maximum(X @ layers[0][0] + layers[0][1], 0.0) @ layers[1][0] + layers[1][1]
        chosen = jnp.take_along_axis(z, labels[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - chosen)

    def epoch(self, theta: np.ndarray, batch: int) -> Ways:
        """One epoch of minibatch RMSProp and the test loss after it (scikit-learn: Adam, none)."""
        ways: Ways = {}
        problem = self.problem
        batches = len(problem.X) // batch
        order = np.random.default_rng(0).permutation(len(problem.X))[: batches * batch]
        order = order.reshape(batches, batch)
        if HAS["jax"]:
            import jax
            import jax.numpy as jnp

            X, labels = jnp.asarray(problem.X), jnp.asarray(problem.labels)
            X_test, labels_test = jnp.asarray(problem.X_test), jnp.asarray(problem.labels_test)
            gradient = jax.grad(self._jax_loss)

            @jax.jit
            def run(layers: Any, order: Any) -> Any:
                def step(state: Any, members: Any) -> Any:
                    layers, v = state
                    g = gradient(layers, X[members], labels[members])
                    v = jax.tree.map(
                        lambda v, g: jnp.float32(0.9) * v + jnp.float32(0.1) * g * g, v, g
                    )
                    layers = jax.tree.map(
                        lambda w, g, v: w
                        - jnp.float32(1e-3) * g / (jnp.sqrt(v) + jnp.float32(1e-8)),
                        layers, g, v,
                    )  # fmt: skip
                    return (layers, v), None

                v = jax.tree.map(jnp.zeros_like, layers)
                (layers, v), _ = jax.lax.scan(step, (layers, v), order)
                return layers, self._jax_loss(layers, X_test, labels_test)

            layers, device_order = self._jax_layers(theta), jnp.asarray(order)
            work = lambda: jax.block_until_ready(run(layers, device_order))  # noqa: E731
            work()
            ways["JAX"] = (work, 1.0)
        if HAS["torch"]:
            import torch

            X, labels = torch.from_numpy(problem.X), torch.from_numpy(problem.labels)
            X_test = torch.from_numpy(problem.X_test)
            labels_test = torch.from_numpy(problem.labels_test)
            torch_order = torch.from_numpy(order)
            loss = torch.nn.functional.cross_entropy

            def eager() -> None:
                net = self.torch_net(theta)
                optimizer = torch.optim.RMSprop(net.parameters(), 1e-3, 0.9, 1e-8)
                for members in torch_order:
                    optimizer.zero_grad()
                    loss(net(X[members]), labels[members]).backward()
                    optimizer.step()
                with torch.no_grad():
                    loss(net(X_test), labels_test)

            eager()
            ways["PyTorch eager"] = (eager, 1.0)
        if HAS["sklearn"]:
            from sklearn.neural_network import MLPClassifier

            classifier = MLPClassifier((self.hidden,), batch_size=batch, learning_rate_init=1e-3)
            classes = np.arange(10)
            classifier.partial_fit(problem.X[:256], problem.labels[:256], classes=classes)
            ways["scikit-learn"] = (
                lambda: classifier.partial_fit(problem.X, problem.labels, classes=classes),
                1.0,
            )
        return ways

    def loss(self, theta: np.ndarray) -> Ways:
        """Mean cross-entropy on the test set."""
        ways: Ways = {}
        problem = self.problem
        if HAS["jax"]:
            import jax
            import jax.numpy as jnp

            compiled = jax.jit(self._jax_loss)
            for name, number in (("JAX", np.float32), ("JAX float64", np.float64)):
                layers = self._jax_layers(theta, number)
                data = jnp.asarray(problem.X_test, number), jnp.asarray(problem.labels_test)
                work = partial(lambda *of: jax.block_until_ready(compiled(*of)), layers, *data)
                work()
                ways[name] = (work, 1.0)
        if HAS["torch"]:
            import torch

            net = self.torch_net(theta)
            X, labels = torch.from_numpy(problem.X_test), torch.from_numpy(problem.labels_test)

            def eager() -> object:
                with torch.no_grad():
                    return torch.nn.functional.cross_entropy(net(X), labels)

            eager()
            ways["PyTorch eager"] = (eager, 1.0)
        return ways

    def gamma(self, a: np.ndarray, b: np.ndarray, t: np.ndarray, short: bool) -> Ways:
        """The interpolated loss at many t; plain forward passes at a tenth of them."""
        if not HAS["jax"]:
            return {}
        import jax
        import jax.numpy as jnp

        ways: Ways = {}
        for name, number in (("JAX", jnp.float32), ("JAX float64", jnp.float64)):
            kept, plain = self._jax_gamma(a, b, number)
            points = jnp.asarray(t)
            some = points[:: len(t) // 10]
            first = partial(lambda of, ts: jax.block_until_ready(of(ts)), kept, points)
            second = partial(lambda of, ts: [jax.block_until_ready(of(s)) for s in ts], plain, some)
            first()
            second()
            ways[f"{name}, first layers kept"] = (first, 1.0)
            ways[f"{name}, forward passes"] = (second, len(t) / len(some))
        return ways

    def _jax_gamma(self, a: np.ndarray, b: np.ndarray, number: Any) -> Any:
        """At many t with the first layers kept; at one t by a forward pass."""
        import jax
        import jax.numpy as jnp

        problem = self.problem
        X, labels = jnp.asarray(problem.X_test, number), jnp.asarray(problem.labels_test)
        one, other = self._jax_layers(a, number), self._jax_layers(b, number)
        z_one, z_other = (X @ layers[0][0] + layers[0][1] for layers in (one, other))

        def between(s: Any) -> Any:
            s = s.astype(number)
            return jax.tree.map(lambda u, v: u * (1 - s) + v * s, one, other)

        def trick(s: Any) -> Any:
            W, bias = between(s)[1]
            s = s.astype(number)
            z = jnp.maximum(z_one * (1 - s) + z_other * s, 0.0) @ W + bias
            chosen = jnp.take_along_axis(z, labels[:, None], axis=1)[:, 0]
            return jnp.mean(jax.nn.logsumexp(z, axis=1) - chosen)

        return (
            jax.jit(lambda ts: jax.lax.map(trick, ts)),
            jax.jit(lambda s: self._jax_loss(between(s), X, labels)),
        )

    def pair(self, L0: float, short: bool) -> Ways:
        """Train two networks and connect them."""
        if not HAS["torch"] or short:
            return {}
        import torch

        problem = self.problem
        X, labels = torch.from_numpy(problem.X), torch.from_numpy(problem.labels)
        X_test = torch.from_numpy(problem.X_test)
        labels_test = torch.from_numpy(problem.labels_test)
        loss = torch.nn.functional.cross_entropy
        settings, batch = problem.rmsprop, problem.batch

        def descend(theta: np.ndarray, target: float) -> np.ndarray | None:
            net = self.torch_net(theta)
            optimizer = torch.optim.RMSprop(
                net.parameters(), settings.learning_rate, settings.decay, settings.epsilon
            )
            step = 0
            while step < settings.budget:
                for members in torch.randperm(len(X)).split(batch):
                    if step % settings.check_every == 0:
                        with torch.no_grad():
                            if loss(net(X_test), labels_test) <= target:
                                return save(net, self.model)
                    optimizer.zero_grad()
                    loss(net(X[members]), labels[members]).backward()
                    optimizer.step()
                    step += 1
            return None

        def heights(thetas: np.ndarray) -> list[float]:
            with torch.no_grad():
                return [float(loss(self.torch_net(v)(X_test), labels_test)) for v in thetas]

        def run() -> None:
            torch.manual_seed(0)
            ends = [descend(problem.initial(np.random.default_rng(k)), L0) for k in (1, 2)]
            assert ends[0] is not None
            assert ends[1] is not None
            dynamic_string_sampling(ends[0], ends[1], L0, descend, heights, 10)

        return {"PyTorch": (run, 1.0)}
