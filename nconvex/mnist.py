"""MNIST, the draft's section III.B: two networks that read handwritten digits, connected.

    nconvex mnist

By default a 784-256-10 ReLU network, softmax cross-entropy, minibatch RMSProp, on the subset of
5,000 training and 1,000 test images that ships with the package.
"""

import sys

from nconvex.tasks.mnist import problem as problem


def main(argv: list[str] | None = None, prog: str = "python -m nconvex.mnist") -> int:
    """Run the command line; returns the exit status."""
    from nconvex.commands import mnist  # `problem` does without the command

    return mnist.main(argv, prog)


if __name__ == "__main__":
    sys.exit(main())
