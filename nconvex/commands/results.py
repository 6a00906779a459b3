"""The result of one search: its JSON document, its printout and its files."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np

from nconvex.commands.outputs import draw, gif, one_line, png, require_output
from nconvex.definitions import VERSION, ConnectionStatus, NconvexError, Training, beside
from nconvex.files import write_arrays, write_whole
from nconvex.network.base import NetworkLandscape
from nconvex.pair import UNTRAINED
from nconvex.string import Described, String


@dataclass(frozen=True)
class Experiment:
    """The landscape that a command searches, and how to tell of it.

    Attributes:
        problem: The loss surface.
        title: One line that names it.
        settings: What it was made from, for the document.
        draw: Draws with `plots` what the models on a string do, into a part of the figure.
        L0: The threshold where none is given, or "auto".
        measure: What the threshold limits, in a word.
        data: One line that names the data, where there is a choice.
        described: What is saved beside a string and its problem.
        ends: Two models, (P,) each, where none are to be trained.
    """

    problem: NetworkLandscape
    title: str
    settings: dict[str, Any]
    draw: Callable[[Any, String, Any], None]
    L0: float | str
    measure: str = "loss"
    data: str = ""
    described: Sequence[Described] = ()
    ends: tuple[np.ndarray, np.ndarray] | None = None


@dataclass
class Found:
    """What a search has found so far.

    Attributes:
        L0: The threshold, or None before it is chosen.
        chosen: From what it was chosen; None if it was not.
        trainings: Of the ends; ends that were given have no starts.
        string: The path.
        loose: The path before it was tightened.
        interrupted: Whether the search was interrupted.
    """

    L0: float | None = None
    chosen: str | None = None
    trainings: list[Training] = field(default_factory=list)
    string: String | None = None
    loose: String | None = None
    interrupted: bool = False


# -- The document ---------------------------------------------------------------------------------


def document(
    experiment: Experiment, args: argparse.Namespace, found: Found, seconds: float
) -> dict[str, Any]:
    """Return the JSON document; null stands for what is not known or not finite."""
    string, loose, trainings = found.string, found.loose, found.trainings
    connected = string is not None and string.connected
    status = ConnectionStatus.INTERRUPTED
    message = status.value
    if string is not None and (connected or not found.interrupted):
        status, message = string.status, string.verdict
    losses: list[float | None] = [_finite(training.loss) for training in trainings]
    return {
        "status": status.name.lower(),
        "message": message.replace("loss", experiment.measure),
        "connected": connected,
        "interrupted": found.interrupted,
        "L0": found.L0,
        "L0_chosen": found.chosen,
        "sampler": args.sampler.name,
        "alpha": args.sampler.alpha,
        "depth": args.sampler.depth,
        "max_error": string and _finite(string.max_error),
        "max_error_bounds": string and [_finite(bound) for bound in string.max_error_bounds],
        "certified": string is not None and string.certified,
        "n_beads": string and string.n_beads,
        "n_beads_above_target": string and string.beads_above_target,
        "path_length": string and _finite(string.path_length),
        "normalized_length": string and _finite(string.normalized_length),
        "before_tightening": loose
        and {"n_beads": loose.n_beads, "normalized_length": _finite(loose.normalized_length)},
        "endpoint_losses": losses + [None] * (2 - len(losses)),
        "line_max_error": string and _finite(string.line_max_error),
        "segments_above_L0": string and len(string.failures),
        "gradient_evaluations": string and string.gradient_evaluations,
        "endpoint_gradient_evaluations": sum(training.steps for training in trainings),
        "endpoint_starts": [training.starts for training in trainings],
        "seed": args.seed,
        "seconds": round(seconds, 3),
        "version": VERSION,
        "settings": {**experiment.settings, **_surroundings(experiment.problem)},
    }


def _surroundings(problem: NetworkLandscape) -> dict[str, Any]:
    """The network, the descents, and what a result may depend on in its last digits."""
    model = problem.model
    return {
        "sizes": list(model.sizes),
        "activation": model.activation,
        "output_activation": model.output_activation,
        "biases": model.biases,
        "initialisation": model.initialisation,
        "rmsprop": asdict(problem.rmsprop),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "processor": platform.machine(),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# -- The printout ---------------------------------------------------------------------------------


def printout(experiment: Experiment, found: Found, result: dict[str, Any]) -> str:
    """Return what is printed; `result` is the document."""
    rows = told(experiment, found, result)
    return "\n".join([experiment.title, *(row(name, text) for name, text in rows.items())])


def told(experiment: Experiment, found: Found, result: dict[str, Any]) -> dict[str, str]:
    """Return the printout's lines but for the title, by name."""
    string, L0, measure = found.string, result["L0"], experiment.measure
    rows = {"data": one_line(experiment.data)} if experiment.data else {}
    if found.chosen:
        rows["threshold"] = f"L0 = {L0!r}, chosen {found.chosen}"
    if found.trainings:
        losses = " and ".join(beside(training.loss, L0) for training in found.trainings)
        rows["networks"] = f"test {measure} {losses} (L0 = {L0!r})"
        if experiment.ends is None and not any(training.steps for training in found.trainings):
            rows["note"] = f"{UNTRAINED}; lower --L0"
    if string is not None:
        rows |= _path_rows(string, found.loose, measure)
    rows["verdict"] = result["message"]
    if found.interrupted and result["connected"]:
        rows["interrupted"] = "while the path was tightened; it is left as it was found"
    if string is not None and string.failures:
        counts = ", ".join(
            f"{count} {status.name.lower().replace('_', ' ')}"
            for status in ConnectionStatus
            if status is not ConnectionStatus.CONNECTED
            and (count := string.segment_status.count(status))
        )
        failed = f"{len(string.failures)} of {len(string.segment_upper)} segments"
        rows["where it fails"] = f"{failed}: {counts}"
    rows["work"] = (
        f"{result['endpoint_gradient_evaluations']} gradient evaluations to train, "
        f"{result['gradient_evaluations'] or 0} to connect; {result['seconds']:.2f} s"
    )
    return rows


def row(name: str, text: str) -> str:
    """Return one line of the printout."""
    return f"  {name:<16}{text}"


def _path_rows(string: String, loose: String | None, measure: str) -> dict[str, str]:
    line, sign = string.line_max_error, "<=" if string.connected else ">"
    highest, highest_of_line = (beside(loss, string.L0) for loss in (string.max_error, line))
    rows = {
        "straight line": f"highest {measure} {highest_of_line}, {line / string.L0:.3g} times L0",
        "string": f"highest {measure} {highest} {sign} L0, {_size(string)}",
    }
    if loose is not None:
        rows["tightened from"] = _size(loose)
    rows["certificate"] = "none: the path was only sampled"
    if string.certified:
        between = " and ".join(f"{bound:.7g}" for bound in string.max_error_bounds)
        rows["certificate"] = f"proven: the highest {measure} lies between {between}"
    return rows


def _size(string: String) -> str:
    beads = f"{string.n_beads} bead{'s' * (string.n_beads != 1)}"
    if above := string.beads_above_target:
        beads += f" ({above} of them between alpha L0 and L0)"
    return f"{beads}, normalized length {string.normalized_length:.4g}"


# -- Files ----------------------------------------------------------------------------------------


class Files:
    """The files of a search; they are tried before any work, so that no long search is lost.

    Args:
        name: The experiment's, for the figure's default name.
        args: Its `out`, `force`, `no_figure`, `animate` and `json` count.

    Raises:
        NconvexError: The folder cannot be made or written to, or holds a result already.
    """

    NAMES = ("result.json", "string.npz", "models.npz", "figure.png", "report.html", "growth.gif")

    def __init__(self, name: str, args: argparse.Namespace):
        self._folder: Path | None = args.out
        self._force: bool = args.force
        self._figure = Path(f"{name}.png") if args.out is None else args.out / "figure.png"
        if args.no_figure or (args.out is None and args.json):
            self._figure = None
        self._animation = (args.out or Path()) / "growth.gif" if args.animate else None
        self._made: list[Path] = []
        self._written: list[Path] = []

    def __enter__(self) -> Files:
        try:
            if self._folder is not None:
                self._make(self._folder)
            elif self._figure is not None:
                require_output("the figure (--no-figure leaves it out)", self._figure)
            if self._animation is not None and self._folder is None:
                require_output("--animate", self._animation)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folders that were made for nothing."""
        for folder in reversed(self._made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()

    def save(self, experiment: Experiment, found: Found, text: str) -> None:
        """Write what there is, but for the figure; `text` is the document."""
        if self._folder is None:
            return
        for name in self.NAMES:  # of another run, they would not belong to this one's
            (self._folder / name).unlink(missing_ok=True)
        result, string, models = (self._folder / name for name in self.NAMES[:3])
        data = (text + "\n").encode()
        write_whole(result, lambda file: file.write(data))
        self._written.append(result)
        if found.string is not None:
            found.string.save(string, experiment.problem, *experiment.described)
            self._written.append(string)
        elif found.trainings:
            thetas = np.array([training.theta for training in found.trainings])
            arrays = {"thetas": thetas}
            for each in (experiment.problem, *experiment.described):
                arrays |= each.describe()
            write_arrays(models, arrays)
            self._written.append(models)

    def figure(self, experiment: Experiment, string: String | None) -> Callable[[], None] | None:
        """Return what draws and writes the figure, if one is wanted and there is a string."""
        path = self._figure
        if path is None or string is None:
            return None

        def render() -> bytes:
            from nconvex import plots  # matplotlib takes longer to import than the search to run

            def models(part: Any) -> None:
                experiment.draw(plots, string, part)

            return png(plots.summary(experiment.problem, string, models))

        def write() -> None:
            draw(path, render)
            self._written.append(path)

        return write

    def animation(self, experiment: Experiment, found: Found) -> Callable[[], None] | None:
        """Return what draws and writes how the string grew, before it was tightened."""
        path, string = self._animation, found.loose or found.string
        if path is None or string is None:
            return None

        def render() -> bytes:
            from nconvex import plots

            return gif(plots.animate(experiment.problem, string))

        def write() -> None:
            draw(path, render)
            self._written.append(path)

        return write

    def report(
        self, experiment: Experiment, found: Found, result: dict[str, Any], text: str
    ) -> Callable[[], None] | None:
        """Return what writes the page, if there are a folder and a string; `text` is `result`'s."""
        folder, string = self._folder, found.string
        if folder is None or string is None:
            return None

        def write() -> None:
            from nconvex.plots.page import report  # its numbers need many kernels

            rows = told(experiment, found, result)
            classes = result["settings"].get("encoding", {}).get("classes", ())
            whole = experiment.title, rows, text, found.loose, classes
            report(string, experiment.problem, *whole).save(folder / "report.html")
            self._written.append(folder / "report.html")

        return write

    def written(self) -> str:
        """Name the files that were written."""
        paths = ", ".join(one_line(path) for path in self._written)
        return row("written to", paths) if paths else ""

    def _make(self, folder: Path) -> None:
        try:
            for path in (*reversed(folder.parents), folder):
                if not os.path.exists(path):
                    path.mkdir()
                    self._made.append(path)
            there = sorted({*os.listdir(folder)} & {*self.NAMES})
        except OSError as error:
            raise NconvexError(
                f"cannot use the folder {folder}: {error.strerror}; choose another with --out"
            ) from error
        if there and not self._force:
            raise NconvexError(
                f"the folder {folder} holds {' and '.join(there)} already; choose another with "
                "--out, or add --force to replace what is there"
            )
        for name in self.NAMES:
            require_output("--out", folder / name)
