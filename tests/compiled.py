"""Parts of kernels, for tests that call them by themselves."""

from nconvex.kernels.jit import kernel


def compiled(part):
    """Compile a part as a kernel, which Python can call; without the JIT it is one."""
    if not hasattr(part, "py_func"):
        return part
    return kernel(part.py_func, part.targetoptions["fastmath"])
