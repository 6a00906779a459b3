"""The page itself: text in HTML, numbers in JSON, and the script that draws them."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nconvex.definitions import beside, html_table, require_kind
from nconvex.files import write_whole
from nconvex.landscape import Landscape
from nconvex.plots import page_content as content
from nconvex.string import String


@dataclass(frozen=True, repr=False)
class Report:
    """A page as one text; a notebook shows it.

    Attributes:
        html: The whole page, which needs nothing besides.

    Example: see `report`.
    """

    html: str

    def __repr__(self) -> str:
        return f"Report({len(self.html)} characters of HTML; .save(path) writes them)"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, whole or not at all."""
        data = self.html.encode("utf-8", "replace")
        write_whole(path, lambda file: file.write(data))

    def _repr_html_(self) -> str:
        attributes = 'title="report" sandbox="allow-scripts" style="width: 100%; height: 48rem"'
        return f'<iframe {attributes} srcdoc="{html.escape(self.html)}"></iframe>'


def report(
    string: String,
    problem: Landscape,
    title: str = "",
    rows: Mapping[str, str] | None = None,
    document: str = "",
    loose: String | None = None,
    names: Sequence[object] = (),
) -> Report:
    """Make a page on a string that one can play with; `save` writes it.

    Args:
        string: The path.
        problem: Its loss surface; what a network's models compute is shown, too.
        title: By default the problem.
        rows: What is told of it, by name; by default what the string tells.
        document: All numbers, as text, folded away.
        loose: The string before it was tightened, whose growth is shown.
        names: Of a classifier's classes.

    Example:
        >>> import nconvex as nc
        >>> problem = nc.quad.problem(samples=20)
        >>> string = nc.run_pair(problem, L0=1e-2, seed=0).string
        >>> "connected" in nc.report(string, problem).html
        True
    """
    require_kind("string", string, String, "nc.connect(problem, theta1, theta2, L0=0.1)")
    measure = "error" if getattr(problem, "metric", "loss") == "error" else "loss"
    path = content.path(problem, string)
    fractions = [path["s"][stop] for stop in path["stops"]]
    data: dict[str, Any] = {
        "L0": string.L0,
        "measure": measure,
        "growth": content.growth(problem, loose or string, measure),
        "path": path,
        "models": content.models(problem, string, fractions, names),
    }
    if loose is not None:
        data["growth"]["steps"][-1] += " After this the string was tightened, see below."
    parts = {
        "title": html.escape(title or repr(problem)),
        "asked": html.escape(_asked(string, measure)),
        "found": html.escape(_found(string, measure)),
        "evidence": html.escape(_evidence(string)),
        "word": html.escape(string.evidence),
        "rows": html_table(string.summary() if rows is None else rows),
        "document": html.escape(document),
        "hidden": "" if document else "hidden",
        "data": _embedded(data),
    }
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    return Report(re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], template))


def _asked(string: String, measure: str) -> str:
    return (
        f"Two models have a test {measure} of {beside(float(string.losses[0]), string.L0)} and "
        f"{beside(float(string.losses[-1]), string.L0)}. Is there a path of weights from one to "
        f"the other on which the {measure} never exceeds L0 = {string.L0!r}?"
    )


def _found(string: String, measure: str) -> str:
    path = "the straight line between them"
    if string.n_beads:
        beads = "1 bead, a model" if string.n_beads == 1 else f"{string.n_beads} beads, models"
        path = (
            f"straight lines by way of {beads} that the search trained in between; together they "
            f"are {string.normalized_length:.4g} times as long as the straight line"
        )
    highest = f"Its highest {measure} is {beside(string.max_error, string.L0)}"
    if string.connected:
        return f"Yes: {path}. {highest}, at most L0."
    reason = string.status.value.replace("loss", measure)
    return (
        f"None was found; the search ended with this: {reason}. The path that it reached: {path}. "
        f"{highest}, above L0. That is no proof that there is no other."
    )


def _evidence(string: String) -> str:
    low, high = (f"{bound:.7g}" for bound in string.max_error_bounds)
    return {
        "proven": f"The highest value on all of the path, not only at the points that are drawn, "
        f"is proven to lie between {low} and {high}, for these weights and this test set.",
        "sampled": f"The highest value that was seen is {low}. It was computed at many points of "
        "the path; between them it may be higher.",
        "claimed": f"A file says that the highest value lies between {low} and {high}. This was "
        "not computed again.",
    }[string.evidence]


def _embedded(data: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
