"""QUAD, the draft's section III.A: two networks that regress a polynomial, connected.

    nconvex quad

By default a 1-4-4-1 ReLU network, mean squared error, the quadratic 0.5 x² + 0.25 x + 0.1 at 1000
training and 1000 test points, full-batch RMSProp, L₀ = 1e-3.
"""

import sys

from nconvex.tasks.quad import problem as problem


def main(argv: list[str] | None = None, prog: str = "python -m nconvex.quad") -> int:
    """Run the command line; returns the exit status."""
    from nconvex.commands import quad  # `problem` does without the command

    return quad.main(argv, prog)


if __name__ == "__main__":
    sys.exit(main())
