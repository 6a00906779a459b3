"""Labels of classes in any form: integers, names, truth values or one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from nconvex.definitions.checks import NconvexError, is_masked, is_number, shown

#: What labels may be.
LABELS = "one for each sample: integers, names, truth values, or one-hot rows"


def encoded_labels(
    outputs: int, labels: Any, samples: int, labels_test: Any, samples_test: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the classes of labels: 0 to `outputs` - 1, in the order of the training labels.

    Integers in this range stay as they are. Others, and names, are sorted.

    Returns:
        numbers: (samples,) int64.
        numbers_test: (samples_test,) int64.
        classes: (outputs,) the label that each number stands for.
    """
    train = _labels("labels", labels, samples, outputs)
    test = _labels("labels_test", labels_test, samples_test, outputs)
    if train.dtype.kind == "b":
        classes = np.array([False, True])
    elif train.dtype.kind in "iu" and train.min() >= 0 and train.max() < outputs:
        classes = np.arange(outputs)
    else:
        classes = np.unique(train)
    if len(classes) != outputs:
        raise NconvexError(
            f"labels are of {len(classes)} classes, {shown(classes.tolist())}, but the model has "
            f"{outputs} outputs; it needs one for each class"
        )
    return _numbered("labels", train, classes), _numbered("labels_test", test, classes), classes


def _numbered(name: str, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Where each label stands among the classes."""
    kinds = {labels.dtype.kind, classes.dtype.kind}
    if len(kinds) == 1 or not kinds & {"U", "S"}:  # text is not compared with numbers
        found = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        wrong = np.flatnonzero(classes[found] != labels)
    else:
        found, wrong = np.empty(0), np.zeros(1, dtype=np.int64)
    if wrong.size:
        raise NconvexError(
            f"{name}[{wrong[0]}] is {shown(labels[wrong[0]].item())}, which is none of the classes "
            f"of the training labels: {shown(classes.tolist())}"
        )
    return found.astype(np.int64)


def _labels(name: str, given: Any, samples: int, outputs: int) -> np.ndarray:
    """Labels (samples,) of integers, truth values or text."""
    try:
        labels = np.asarray(given)
    except Exception:  # ragged lists, or other packages' arrays
        raise NconvexError(f"{name} must be an array, not {shown(given)}") from None
    if is_masked(given):
        raise NconvexError(f"some of {name} are masked; leave these samples out")
    if labels.shape == (samples, outputs) and outputs > 1:
        if labels.dtype.kind not in "biuf" or not (
            np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        ):
            raise NconvexError(f"each row of {name} must have a single 1 and else zeros (one-hot)")
        return labels.argmax(axis=1)
    if labels.shape == (samples, 1):
        labels = labels[:, 0]
    if labels.shape == (samples,):
        if labels.dtype.kind == "O" and _are_alike(labels.tolist()):
            labels = np.array(labels.tolist())
        if labels.dtype.kind in "iubUS":
            return labels
        if labels.dtype.kind == "f" and (np.abs(labels) < 2**53).all():
            whole = labels.astype(np.int64)
            if (whole == labels).all():
                return whole
    raise NconvexError(
        f"{name} must be {LABELS}; here {samples} of {outputs} classes, not {labels.dtype} of "
        f"shape {labels.shape}"
    )


def _are_alike(labels: list[Any]) -> bool:
    """Whether objects are all text, all truth values or all numbers."""
    return any(
        all(map(is_one, labels))
        for is_one in (is_number, lambda x: isinstance(x, str), lambda x: isinstance(x, bool))
    )
