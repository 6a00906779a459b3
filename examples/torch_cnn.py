"""Two convolutional networks on 8 x 8 digits, connected by a path that is proven to stay below L0.

    pip install "nconvex[torch]" scikit-learn
    python examples/torch_cnn.py

Takes half a minute. For networks of your own that were trained elsewhere, two `.pt` files with
state dicts say, the ends are `landscape.theta_of(torch.load("a.pt"))` and so on.
"""

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

import nconvex as nc

L0 = 0.5


def main():
    """Train, connect, and print the verdict."""
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 1, 8, 8) / 16.0
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)),
    )
    test = np.arange(len(y)) % 6 == 0
    landscape = nc.TorchLandscape(
        net,
        "cross-entropy",
        train=(images[~test], y[~test]),
        test=(images[test], y[test]),
        rmsprop=nc.RMSProp(learning_rate=2e-3, final_learning_rate=1e-4, budget=1000),
        buffers=True,
    )
    a, b = (nc.train(landscape, L0=L0, seed=seed) for seed in (1, 2))
    string = nc.connect(landscape, a.theta, b.theta, L0=L0, alpha=0.8)
    print(landscape)
    print(f"straight line: up to {string.line_max_error:.3f}")
    print(f"{string.status.value} = {L0} ({string.evidence}: {string.max_error:.4f})")
    return string


if __name__ == "__main__":
    main()
