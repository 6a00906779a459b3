"""The connected components of 8 networks at each L₀, as a disconnectivity graph: components.png.

All numbers are upper bounds, since the sampler can miss paths.
"""

from __future__ import annotations

import nconvex as nc

MODELS = 8
LEVELS = (3e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
DESCENTS = nc.RMSProp(budget=5000)


def main() -> None:
    """Train, connect, print and draw."""
    problem = nc.quad.problem(seed=0, rmsprop=DESCENTS)
    thetas = [nc.train(problem, LEVELS[0], seed=(0, 1, k)).theta for k in range(MODELS)]
    found = nc.connectivity(problem, thetas, L0=LEVELS)
    print(f"{MODELS} networks, {found.searches} searches for a path; components, at most:")
    for level in LEVELS:
        print(f"  L0 = {level:<7g} {found.components(level):3}")
    nc.plots.disconnectivity(found, LEVELS).savefig("components.png", dpi=220)
    print("components.png drawn")


if __name__ == "__main__":
    main()
