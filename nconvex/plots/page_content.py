"""What the page's sliders show, as plain numbers and text for its script."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nconvex.definitions import Insertion, Move, beside
from nconvex.landscape import Landscape
from nconvex.network.base import NetworkLandscape
from nconvex.network.classification import Classification
from nconvex.plots.strings import losses_along
from nconvex.reductions import norm
from nconvex.string import String

#: What may lead to a bead.
INSERTING = (Move.INSERT, Move.REPEAT, Move.REVIVE)

#: Points of a path's curve, and of them at most so many places where the slider stops.
POINTS, STOPS = 240, 121

#: Beads at most of a string whose growth is shown; of more, a step is too small to be seen.
GROWN = 100

#: Test samples whose predictions are shown, images among them, and classes.
SAMPLES, IMAGES, CLASSES = 100, 4, 30

#: Pixels from which on a square of inputs that are not negative is shown as an image.
PIXELS = 64


def growth(landscape: Landscape, string: String, measure: str) -> dict[str, Any]:
    """Return the string after each recursion: bead k is there from step births[k] on.

    Curves are filed as "i-j", of the segment between beads i and j, for all that ever existed. A
    string whose trace does not tell its beads apart, e.g. of another sampler, grows in one step.
    """
    births = _births(string)
    if births is None:
        births, steps = (
            [1] * string.n_beads,
            ["All beads at once, as the record does not tell when each came."],
        )
    else:
        steps = [_told(k, each, string, measure) for k, each in enumerate(string.trace, 1)]
    times = f"{beside(string.line_max_error, string.L0)}, "
    times += f"{string.line_max_error / string.L0:.3g} times L0"
    steps.insert(0, f"The straight line between the two models: its highest {measure} is {times}.")
    born = np.array([0, *births, 0])
    curves = {}
    for step in sorted({0, *births}):
        there = np.flatnonzero(born <= step).tolist()
        for i, j in itertools.pairwise(there):
            if f"{i}-{j}" not in curves:
                curves[f"{i}-{j}"] = _curve(landscape, string, i, j, born)
    return {
        "births": born.tolist(),
        "steps": steps,
        "curves": curves,
        "coordinates": _short(_plane(string)),
        "losses": _sided(string.losses, string.L0),
    }


def _curve(
    landscape: Landscape, string: String, i: int, j: int, born: np.ndarray
) -> dict[str, Any]:
    """γ between beads i and j; of what was halved, with the t* of the recursion that did."""
    left, right = string.beads[i], string.beads[j]
    t_star = float(string.segment_t_star[i])
    if j - i > 1 and string.trace:
        t_star = string.trace[born[i + 1 : j].min() - 1].t_star
    points = POINTS * (j - i) // len(string.peaks)
    t = np.linspace(0.0, 1.0, min(max(9, points), 60))
    t = np.union1d(t, [t_star])
    length, L0 = _short(norm(right - left)), string.L0
    return {"length": length, "t": _short(t), "loss": _sided(landscape.gamma(left, right, t), L0)}


def _plane(string: String) -> np.ndarray:
    """(n, 2) the beads' first two principal components, which begin at the left."""
    plane = string.principal_coordinates(2)
    return plane if plane[0, 0] <= plane[-1, 0] else -plane


def _births(string: String) -> list[int] | None:
    """The recursion, from 1, that inserted each bead; None if the trace does not tell.

    In the order of the path, a place's own bead stands between its halves' beads. That the losses
    agree shows that these are the beads.
    """
    inserted = {
        each.place: (number, each.loss_after)
        for number, each in enumerate(string.trace, 1)
        if each.loss_after <= string.L0 and each.move in INSERTING
    }
    if len(inserted) != string.n_beads or string.n_beads > GROWN:
        return None
    ordered = [inserted[place] for place in sorted(inserted, key=lambda place: place + "M")]
    if string.n_beads == 0:
        return []
    for each in (ordered, ordered[::-1]):  # a reversed string keeps its trace
        numbers, losses = zip(*each, strict=True)
        if np.allclose(losses, string.losses[1:-1], rtol=1e-6, atol=0.0):
            return list(numbers)
    return None


def _told(number: int, insertion: Insertion, string: String, measure: str) -> str:
    """One recursion in words."""
    halves = {"L": "left", "R": "right"}
    where = " of the ".join(f"{halves[half]} half" for half in insertion.place[::-1])
    if insertion.depth > 3:
        where = f"segment {insertion.place} (halves from the outermost, left or right)"
    after, reached = beside(insertion.loss_after, string.L0), "a new bead"
    if not insertion.loss_after <= string.L0:
        reached = "too high for a bead, so none was inserted"
    return (
        f"Recursion {number}, on the {where or 'whole line'}: the highest {measure} "
        f"{beside(insertion.gamma_before, string.L0)} is at t* = {insertion.t_star:.3f}. "
        f"{insertion.steps} steps of descent from there led to {after}: {reached}."
    )


def path(landscape: Landscape, string: String) -> dict[str, Any]:
    """Return losses along the path and along the straight line, and where the slider stops."""
    s, loss = losses_along(landscape, string, POINTS)
    t = np.linspace(0.0, 1.0, POINTS // 2)
    line = landscape.gamma(string.beads[0], string.beads[-1], t)
    spread = np.rint(np.linspace(0, len(s) - 1, STOPS - 1)).astype(int)
    stops = np.union1d(spread, [int(np.argmax(loss))])
    where, coordinates = string.positions, _plane(string)
    return {
        "s": _short(s),
        "loss": _sided(loss, string.L0),
        "stops": stops.tolist(),
        "line": {"t": _short(t), "loss": _sided(line, string.L0)},
        "positions": _short(where),
        "losses": _sided(string.losses, string.L0),
        "coordinates": _short(coordinates),
        "places": _short(
            np.stack([np.interp(s[stops], where, axis) for axis in coordinates.T], axis=1)
        ),
        "segments": np.clip(np.searchsorted(where, s[stops], "right"), 1, len(where) - 1).tolist(),
    }


def models(
    landscape: Landscape, string: String, fractions: Sequence[float], names: Sequence[object]
) -> dict[str, Any] | None:
    """Return what the networks at some fractions of the path compute, if there are networks."""
    if not isinstance(landscape, NetworkLandscape):
        return None
    thetas = [string.at(float(s)) for s in fractions]
    model, X = landscape.model, landscape.X_test
    if isinstance(landscape, Classification):
        labels = [str(name)[:40] for name in (names or landscape.classes_.tolist())]
        side = int(np.sqrt(X.shape[1]))
        if side * side == X.shape[1] >= PIXELS and X.min() >= 0.0:
            return _images(landscape, thetas, labels, side)
        return _classes(landscape, thetas, labels)
    if model.sizes[-1] != 1:
        return None
    some = np.unique(np.rint(np.linspace(0, len(X) - 1, min(SAMPLES, len(X)))).astype(int))
    if X.shape[1] == 1:
        some = np.argsort(X[:, 0], kind="stable")[some]
    predicted = [_short(model.predict(theta, X[some]).ravel(), 4) for theta in thetas]
    truth = _short(landscape.y_test[some].ravel())
    kind = {"kind": "scatter"} if X.shape[1] > 1 else {"kind": "fit", "x": _short(X[some, 0])}
    return {**kind, "truth": truth, "predicted": predicted}


def _classes(
    problem: Classification, thetas: Sequence[np.ndarray], names: Sequence[str]
) -> dict[str, Any]:
    """The share of each class's test samples that is right."""
    labels = problem.labels_test
    there = np.unique(labels)[:CLASSES]
    shares = []
    for theta in thetas:
        right = problem.model.predict(theta, problem.X_test).argmax(axis=1) == labels
        shares.append([_short(right[labels == c].mean(), 4) for c in there])
    counts = [int((labels == c).sum()) for c in there]
    return {
        "kind": "classes",
        "names": [f"{names[c]} ({n} samples)" for c, n in zip(there, counts, strict=True)],
        "shares": shares,
    }


def _images(
    problem: Classification,
    thetas: Sequence[np.ndarray],
    names: Sequence[str],
    side: int,
) -> dict[str, Any]:
    """The class probabilities of the images on which the models differ most."""
    some = problem.doubtful(thetas[:: max(1, len(thetas) // 8)], IMAGES)
    pictures = problem.X_test[some]
    grey = np.rint(255.0 * pictures / max(float(pictures.max()), 1e-30)).astype(int)
    return {
        "kind": "images",
        "side": side,
        "names": list(names),
        "pixels": grey.tolist(),
        "numbers": some.tolist(),
        "labels": problem.labels_test[some].tolist(),
        "shares": [_short(problem.probabilities(theta, some), 3) for theta in thetas],
    }


def _sided(losses: np.ndarray, L0: float) -> list[Any]:
    """Losses in few digits, but for those that would get to the other side of L₀."""
    return [
        few if few is None or (few <= L0) == (loss <= L0) else float(loss)
        for few, loss in zip(_short(losses), losses, strict=True)
    ]


def _short(values: Any, digits: int = 6) -> Any:
    """Numbers, or nested lists of them, in few digits; what is not finite is null."""
    values = np.asarray(values)
    if values.ndim:
        return [_short(each, digits) for each in values]
    return float(f"{values:.{digits}g}") if np.isfinite(values) else None
