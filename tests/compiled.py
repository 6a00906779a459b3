"""Inlined functions, for tests that call them by themselves."""

from nconvex.kernels.jit import kernel


def compiled(inlined):
    """Compile an inlined function as a kernel, which Python can call."""
    if not hasattr(inlined, "py_func"):  # the JIT is off
        return inlined
    return kernel(inlined.py_func, inlined.targetoptions["fastmath"])
