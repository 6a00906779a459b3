import signal
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell has started the tests with "&"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send Ctrl-C to programs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "examples"))
sys.path.append(str(ROOT / "benchmarks"))

#: What compiles most kernels: two halves, for two processors.
KERNELS = (
    "p = nc.mnist.problem('subset', nc.MLP((784, 8, 10)))\n"
    "theta = nc.run_pair(p, L0=1.0).trainings[0].theta\n"
    "p.loss_and_gradient(theta)\n",
    "x = np.linspace(0.0, 1.0, 50)[:, None]\n"
    "tanh = nc.Problem(nc.MLP((1, 4, 4, 1), 'tanh'), 'mse', x, x, x, x)\n"
    "for task in (nc.quad.problem(), tanh):\n"
    "    a, b = (task.model.initial(np.random.default_rng(k)) for k in (0, 1))\n"
    "    task.loss_and_gradient(nc.train(task, L0=1e-2).theta)\n"
    "    task.gamma(a, b, np.array([0.5])), task.bracket(a, b)\n"
    "X = 1.0 + np.random.default_rng(0).random((40, 5))\n"
    "p = nc.Classification(nc.MLP((5, 3, 2)), X, X[:, 0] > 1.5, X, X[:, 0] > 1.5)\n"
    "p.loss_and_gradient(nc.train(p, L0=10.0).theta)\n",
)


def pytest_sessionstart(session):
    """Compile kernels before all tests run, once: otherwise each worker compiles its own."""
    config = session.config
    if hasattr(config, "workerinput") or config.args_source is not config.ArgsSource.TESTPATHS:
        return
    head = "import numpy as np, nconvex as nc\n"
    for process in [subprocess.Popen([sys.executable, "-c", head + code]) for code in KERNELS]:
        process.wait()
