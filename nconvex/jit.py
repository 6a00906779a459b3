"""How kernels are compiled: one decorator, and what is known of the cache.

Numba keeps compiled kernels on disk, beside this package or in the user's cache folder. Where
neither can be written (containers, shared installs) or the disk is full, the kernels are
compiled anew in each process instead of being refused.

Numba's cache does not notice an edited callee in another file, so a kernel calls only parts of its
own file.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

#: Sums may be reordered and multiplications fused, so that loops over samples vectorise; NaN and
#: infinity keep their meaning, which numba's ``fastmath=True`` would take away.
FAST_SUMS = {"reassoc", "contract", "nsz", "arcp"}

#: Bytes that must be free for the cache to be used: all kernels of this package need about 2 MB.
CACHE_ROOM = 32 * 2**20


#: For bounds: nothing but the fused multiplication and addition, which rounds once, not twice.
FUSED_ONLY = {"contract"}


class _WideLower(Lower):
    def setup_function(self, descriptor: Any) -> None:
        super().setup_function(descriptor)
        # llvmlite's own `add` knows enumerated attributes only; a set is what it is.
        set.add(self.function.attributes, '"prefer-vector-width"="512"')


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):
    _name = "nconvex_wide_lowering"

    @property
    def lowering_class(self) -> Any:
        return _WideLower


class _WideVectors(CompilerBase):
    """Numba's compiler, but with vectors of 512 bits where the processor has them.

    LLVM keeps to half of that on Intel's server processors, for which wide vectors once meant a
    lower clock; with whole ones these kernels are 1.2 to 1.6 times faster.
    """

    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_WideLowering if step is NativeLowering else step, about)
            for step, about in pipeline.passes
        ]
        pipeline.finalize()
        return [pipeline]


def _options(fastmath: set[str]) -> dict[str, Any]:
    return {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": fastmath,
        "pipeline_class": _WideVectors,
    }


def part(function: Callable[..., Any], fastmath: set[str] = FAST_SUMS) -> Any:
    """Compile a function that kernels of its own file call: always inlined, never cached.

    Left to itself, LLVM inlines a callee here and links it there, depending on what was compiled
    earlier in the process and what came from the cache. Sums are then ordered differently, and the
    same seed gives other last bits in the first process than in the next.
    """
    return njit(forceinline=True, **_options(fastmath))(function)


def kernel(function: Callable[..., Any], fastmath: set[str] = FAST_SUMS) -> Any:
    """Compile a function that Python calls, cached on disk where that works.

    It may call parts, but no other kernel; see `part`.
    """
    options = _options(fastmath)
    try:
        cached = njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it could write its cache to
        return njit(**options)(function)
    folder = _cache_folder(cached)
    if folder is not None and shutil.disk_usage(folder).free < CACHE_ROOM:
        return njit(**options)(function)
    return cached


def careful_part(function: Callable[..., Any]) -> Any:
    """As `part`, without reordering: what is written is what is computed."""
    return part(function, FUSED_ONLY)


def careful_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, without reordering: what is written is what is computed."""
    return kernel(function, FUSED_ONLY)


def is_compiled(kernel: Any) -> bool:
    """Tell whether calling a kernel needs no compilation: it is loaded, cached or plain Python."""
    if not hasattr(kernel, "signatures") or kernel.signatures:  # the JIT is off, or it has run
        return True
    folder = _cache_folder(kernel)
    if folder is None:
        return False
    name = kernel.py_func.__name__
    return bool(glob.glob(os.path.join(glob.escape(folder), f"*.{name}-*.nbi")))


def _cache_folder(kernel: Any) -> str | None:
    statistics = getattr(kernel, "stats", None)
    return getattr(statistics, "cache_path", None)
