"""How a string grew: the panels of the draft's Fig. 1 from a real run, and an animation.

On a surface of two parameters all is drawn over its contour map. On others the loss is drawn
against the path: θ₁ is at 0, θ₂ at 1, and a bead's place on the axis is where it was inserted, so
that it does not move while the string grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D

from nconvex.definitions import NconvexError, require_integer
from nconvex.geometry.planes import Plane, plane_through
from nconvex.landscape import Landscape
from nconvex.plots.slices import draw_projected, draw_surface
from nconvex.plots.style import (
    BLUE,
    ORANGE,
    Part,
    drawn,
    figure_or_new,
    ink,
    is_wide,
    quantity,
)
from nconvex.stages import Stage
from nconvex.string import String

#: Points of γ on each segment, and of the contour map along each side.
POINTS, MAP_POINTS = 41, 61

#: Milliseconds that a frame of the animation stands, and frames that its end stands.
INTERVAL, REST = 350, 6


@dataclass(frozen=True)
class _Frame:
    """What stands on the string at one moment: models, curves of γ, and a descent.

    Attributes:
        said: What happens, in words.
        models: (n, P) in the order of the path.
        x: (n,) their places on the axis.
        curves: Whether γ between them is drawn.
        at: Where on the axis the descent is, if there is one.
        descent: (m, P) its iterates so far, the first of them Θ(t*).
    """

    said: str
    models: np.ndarray
    x: np.ndarray
    curves: bool = True
    at: float = 0.0
    descent: np.ndarray | None = None


class _Growth:
    """What both figures draw of a landscape and a string."""

    def __init__(self, landscape: Landscape, string: String):
        self.landscape, self.string = landscape, string
        self.stages = string.stages()
        if not any(stage.bead is not None for stage in self.stages):
            raise NconvexError("no bead was inserted, so that there is no growth to draw")
        self.flat = string.beads.shape[1] == 2
        self._curves: dict[bytes, np.ndarray] = {}

    def before(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The models before a stage, counted from 0, and their places on the axis."""
        ends = self.string.beads[[0, -1]]
        if number == 0:
            return ends, np.array([0.0, 1.0])
        stage = self.stages[number - 1]
        x = [0.0, *(self.place(place) for place in stage.places), 1.0]
        return stage.beads, np.array(x)

    def place(self, place: str) -> float:
        """Where on the axis the bead of a place in the tree stands."""
        t_star = {stage.insertion.place: stage.insertion.t_star for stage in self.stages}
        low, high = 0.0, 1.0
        for depth, half in enumerate(place):
            middle = low + t_star[place[:depth]] * (high - low)
            low, high = (low, middle) if half == "L" else (middle, high)
        return low + t_star[place] * (high - low)

    def gamma(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """γ on a segment at `POINTS` points; kept."""
        key = left.tobytes() + right.tobytes()
        if key not in self._curves:
            t = np.linspace(0.0, 1.0, POINTS)
            self._curves[key] = self.landscape.gamma(left, right, t)
        return self._curves[key]

    def losses(self, models: np.ndarray) -> np.ndarray:
        """Each model's loss."""
        return np.array([self.landscape.loss(theta) for theta in models])

    def frames(self, number: int, stage: Stage, iterates: int) -> Iterator[_Frame]:
        """Steps 2 and 3 of one stage: the maximum, then the descent from there."""
        before = self.before(number)
        at, step = self.place(stage.insertion.place), stage.insertion
        descent = stage.descent(self.landscape, iterates)
        where = f"recursion {number + 1}, depth {step.depth}"
        yield _Frame(rf"{where}: the highest loss is at $t^*$ = {step.t_star:.3g}", *before,
                     at=at, descent=descent[:1])  # fmt: skip
        for count in range(2, len(descent) + 1):
            said = f"{where}: descent to {step.loss_after:.3g} in {step.steps} steps"
            yield _Frame(said, *before, at=at, descent=descent[:count])
        if stage.bead is not None:
            models, x = self.before(number + 1)
            yield _Frame(f"{where}: a new bead, {len(models) - 2} in all", models, x)

    def profile(self, axes: Any, frame: _Frame) -> list[Any]:
        """Draw a frame as the loss against the path; returns what was drawn."""
        found = []
        if frame.curves:
            for k in range(len(frame.x) - 1):
                x = np.linspace(frame.x[k], frame.x[k + 1], POINTS)
                curve = self.gamma(frame.models[k], frame.models[k + 1])
                found += axes.plot(x, curve, color=BLUE, lw=1.6)
        if frame.descent is not None:
            heights = self.losses(frame.descent)
            at = np.full(len(heights), frame.at)
            found += axes.plot(at, heights, ".-", color=ORANGE, ms=6.0, lw=1.2, zorder=3)
            found += axes.plot(at[-1:], heights[-1:], "o", color=ORANGE, ms=7.0, zorder=4)
        found += axes.plot(
            frame.x, self.losses(frame.models), "o", color=BLUE, ms=6.0, mec="white", mew=0.6,
            clip_on=False, zorder=4,
        )  # fmt: skip
        return found

    def prepare_profile(self, axes: Any, frames: Sequence[_Frame]) -> None:
        """Draw what stands still in all profiles: L₀, scales, limits."""
        heights = np.concatenate(
            [self.gamma(*self.string.beads[[0, -1]])]
            + [
                self.gamma(a, b)
                for f in frames
                for a, b in zip(f.models, f.models[1:], strict=False)
            ]
            + [self.losses(frame.descent) for frame in frames if frame.descent is not None]
        )
        heights = heights[np.isfinite(heights)]
        low, high = float(heights.min()), float(heights.max())
        if is_wide(heights):
            axes.set_yscale("log")
            axes.set_ylim(low / 1.3, high * 1.3)
            axes.minorticks_off()
        else:
            axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
        axes.axhline(self.string.L0, color=ink(), lw=1.0, ls=":")
        axes.annotate(
            "$L_0$", (1.0, self.string.L0), xytext=(5, 0), textcoords="offset points", va="center",
            annotation_clip=False,
        )  # fmt: skip
        axes.set(xlim=(0.0, 1.0), xticks=(0.0, 1.0), ylabel=quantity(self.landscape))
        axes.set_xticklabels([r"$\theta_1$", r"$\theta_2$"])

    def map(self, axes: Any, frame: _Frame, through: Plane) -> list[Any]:
        """Draw a frame on the plane of a map; returns what was drawn."""
        kept = len(axes.lines)
        if frame.curves:
            draw_projected(axes, through, frame.models, BLUE, "_string")
        if frame.descent is not None:
            draw_projected(axes, through, frame.descent, ORANGE, "_descent")
            axes.plot(*through.coordinates(frame.descent[-1:]).T, "o", color=ORANGE, ms=7.0)
        ends = frame.models if not frame.curves else frame.models[[0, -1]]
        axes.plot(*through.coordinates(ends).T, ls="", marker="s", ms=6.0, color="white",
                  mec="black", zorder=4)  # fmt: skip
        return list(axes.lines[kept:])

    def plane(self) -> Plane:
        """The plane of the map."""
        if self.flat:
            return Plane(np.zeros(2), *np.eye(2))
        first = next(stage for stage in self.stages if stage.bead is not None)
        assert first.bead is not None
        return plane_through(self.string.beads[0], self.string.beads[-1], first.bead)

    def prepare_map(
        self, axes: Any, through: Plane, frames: Sequence[_Frame], bar: bool = True
    ) -> None:
        """Draw the contour map beneath all frames."""
        shown = [frame.models for frame in frames]
        shown += [frame.descent for frame in frames if frame.descent is not None]
        at = through.coordinates(np.concatenate(shown))
        draw_surface(axes, self.landscape, through, at, self.string.L0, MAP_POINTS, bar=bar)
        if self.flat:
            axes.set(xlabel="first parameter", ylabel="second parameter")
        else:
            axes.set(xlabel=r"weight distance along $\theta_1$ to $\theta_2$",
                     ylabel="to the first bead")  # fmt: skip


def cartoon(landscape: Landscape, string: String, figure: Part = None) -> Any:
    """Draw the panels a to g of the draft's Fig. 1, from a string and its landscape.

    They show the first two beads that were inserted; with one bead only, panels a to e.

    Args:
        landscape: The one of the search.
        string: From `connect`, by the sampler plain.
        figure: Where to draw; a new figure by default.

    Example:
        >>> import nconvex as nc
        >>> problem = nc.quad.problem(samples=100)
        >>> string = nc.run_pair(problem, L0=1e-2, seed=0).string
        >>> len(nc.plots.cartoon(problem, string).axes)
        7
    """
    growth = _Growth(landscape, string)
    frames = list(_panels(growth))
    rows = -(-len(frames) // 3)
    whole = figure_or_new(figure, height=2.2 * rows)
    panels = whole.subplots(rows, 3, sharex=True, sharey=True, squeeze=False).ravel()
    through = growth.plane()
    for k, (axes, frame) in enumerate(zip(panels, frames, strict=False)):
        if growth.flat:
            growth.prepare_map(axes, through, frames, bar=False)
            growth.map(axes, frame, through)
        else:
            growth.prepare_profile(axes, frames)
            growth.profile(axes, frame)
        axes.set_title(f"{'abcdefg'[k]}) {frame.said}", fontsize="small")
        axes.label_outer()
        axes.tick_params(labelbottom=k + 3 >= len(frames))
        axes.set_xlabel("first parameter" if growth.flat and k + 3 >= len(frames) else "")
    for spare in panels[len(frames) :]:
        spare.remove()
    names = {"models, and the loss between them": BLUE, "a descent": ORANGE}
    handles = [Line2D([], [], marker="o", color=colour) for colour in names.values()]
    whole.legend(handles, list(names), frameon=False, fontsize="small", loc="lower right")
    return drawn(figure, list(panels[: len(frames)]))


def _panels(growth: _Growth) -> Iterator[_Frame]:
    """What the panels of Fig. 1 show."""
    numbers = [k for k, stage in enumerate(growth.stages) if stage.bead is not None][:2]
    yield _Frame(r"two models below $L_0$", *growth.before(0), curves=False)
    for k, number in enumerate(numbers):
        stage = growth.stages[number]
        before = growth.before(number)
        at = growth.place(stage.insertion.place)
        descent = stage.descent(growth.landscape)
        if k == 0:
            yield _Frame(r"$\gamma(t)$ between them", *before)
        yield _Frame(r"a model at its maximum $t^*$", *before, at=at, descent=descent[:1])
        yield _Frame(r"descent to $\alpha L_0$", *before, at=at, descent=descent)
        if k == 0:
            yield _Frame(r"$\gamma(t)$ on both halves", *growth.before(number + 1))


class _Canvas(FigureCanvasAgg):
    """A canvas that is drawn when a frame is saved, and not a second time before."""

    def draw_idle(self, *_: Any, **__: Any) -> None:
        """Nobody looks."""


class Growth(FuncAnimation):
    """The animation of a string's growth, which notebooks show."""

    def _repr_html_(self) -> str:
        """A player with buttons."""
        return str(self.to_jshtml())


def animate(landscape: Landscape, string: String, iterates: int = 8, figure: Part = None) -> Growth:
    """Animate how a string grew: on a map of the surface, and as the loss against the path.

    The map is that of both parameters, or the plane through both ends and the first bead: what lies
    off it is projected on it. Save it with `animation.save("growth.gif", "pillow")`.

    Args:
        landscape: The one of the search.
        string: From `connect`, by the sampler plain.
        iterates: Models of each descent that are shown at most.
        figure: Where to draw; a new figure by default.

    Example: `python -m nconvex.quad --animate` writes one.
    """
    require_integer("iterates", iterates, 2)
    growth = _Growth(landscape, string)
    frames = [_Frame("two models, and the straight line", *growth.before(0))]
    for number, stage in enumerate(growth.stages):
        frames += growth.frames(number, stage, iterates)
    frames += [frames[-1]] * REST
    whole = figure_or_new(figure, height=3.9 if growth.flat else 5.2)
    if figure is None:
        _Canvas(whole)
    left, right = whole.subplots(1, 2) if growth.flat else whole.subplots(2, 1)
    through = growth.plane()
    growth.prepare_map(left, through, frames, bar=growth.flat)
    growth.prepare_profile(right, frames)
    about = "the surface; white: $L_0$"
    if not growth.flat:
        about = r"plane through $\theta_1$, $\theta_2$ and bead 1, others projected; white: $L_0$"
        right.set_xlabel("along the path, each bead where it was inserted")
    left.set_title(about, fontsize="small")
    title = whole.suptitle(" ", fontsize="medium")
    shown: list[Any] = []

    def update(frame: _Frame) -> list[Any]:
        while shown:
            shown.pop().remove()
        shown.extend(growth.map(left, frame, through))
        shown.extend(growth.profile(right, frame))
        title.set_text(frame.said)
        return shown

    drawn(figure, [left, right])
    if figure is None:  # find the places of all parts once, not for each frame
        update(frames[-1])
        whole.draw_without_rendering()
        whole.set_layout_engine("none")
    return Growth(whole, partial(update), frames=frames, interval=INTERVAL, repeat_delay=2000)
