"""``python -m nconvex.data.mnist_subset.make`` draws the subset from MNIST."""

from __future__ import annotations

import numpy as np

from nconvex.data.digits import CLASSES, SUBSET, Digits, load
from nconvex.definitions import generator
from nconvex.files import write_arrays

SEED = 0

#: Images of each digit.
TRAINING, TEST = 500, 100


def draw(labels: np.ndarray, count: int, stream: int) -> np.ndarray:
    """Draw `count` images of each digit without repetition, in random order.

    Only uniform numbers are drawn, and sorted: NumPy promises least change to these.

    Args:
        labels: (N,) from 0 to 9.
        count: Images of each digit.
        stream: Names the random stream: SEED's child of this number.

    Returns:
        (10 count,) positions.
    """
    rng = generator((SEED, stream))
    keys = rng.random(len(labels))
    chosen = np.concatenate(
        [
            (where := np.flatnonzero(labels == digit))[np.argsort(keys[where])[:count]]
            for digit in range(CLASSES)
        ]
    )
    return chosen[np.argsort(rng.random(len(chosen)))]


def subset(full: Digits) -> dict[str, np.ndarray]:
    """Draw the subset, as the fields of `Digits`."""
    training = draw(full.labels, TRAINING, 0)
    test = draw(full.labels_test, TEST, 1)
    return {
        "X": full.X[training],
        "labels": full.labels[training],
        "X_test": full.X_test[test],
        "labels_test": full.labels_test[test],
    }


if __name__ == "__main__":
    write_arrays(SUBSET, subset(load("full", print)), deflate=True)
