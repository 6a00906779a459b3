"""A path as pictures show it: losses along it, and the test samples on which its models differ."""

from __future__ import annotations

import numpy as np

from nconvex.landscape import Landscape
from nconvex.network.classification import Classification
from nconvex.string import String


def positions(string: String) -> np.ndarray:
    """(n,) each bead's fraction of the path's length."""
    ends = np.concatenate(([0.0], np.cumsum(string.segment_lengths)))
    return ends / max(ends[-1], np.finfo(float).tiny)


def along(landscape: Landscape, string: String, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the path's length and the losses there: every bead, every t*, and between."""
    where = positions(string)
    fractions, losses = [], []
    for k, t_star in enumerate(string.segment_t_star):
        t = np.union1d(np.linspace(0.0, 1.0, max(8, points // len(string.peaks))), [t_star])
        fractions.append(where[k] + t * (where[k + 1] - where[k]))
        losses.append(landscape.gamma(string.beads[k], string.beads[k + 1], t))
    return np.clip(np.concatenate(fractions), 0.0, 1.0), np.concatenate(losses)


def doubtful(problem: Classification, string: String, samples: int) -> np.ndarray:
    """Indices of the test samples whose label's probability varies most, each of another label."""
    labels = problem.labels_test
    everything = np.arange(len(labels))
    models = [string.at(float(u)) for u in np.linspace(0.0, 1.0, 9)]
    seen = [probabilities(problem, theta, everything)[everything, labels] for theta in models]
    order = np.argsort(-np.std(seen, axis=0), kind="stable")
    _, first = np.unique(labels[order], return_index=True)
    return order[np.sort(first)][:samples]


def probabilities(problem: Classification, theta: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(n, C) the softmax of the network's outputs."""
    logits = problem.model.predict(theta, problem.X_test[samples])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
