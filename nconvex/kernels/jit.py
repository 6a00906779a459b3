"""How functions are compiled, and how machine code is kept on disk.

A *kernel* is compiled and called from Python. An *inlined* function is compiled into the kernels
that call it. The names that end in ``_strict`` keep the order of all sums.

The machine code of a kernel is kept beside this package, or in the user's cache folder. The name of
the file holds a hash of the *contents* of all kernel files, of numba's settings and of the
processor. So a kernel may call inlined functions of any kernel file, and old machine code is never
loaded. The file begins with a checksum. A file that is missing or damaged is replaced: its kernel
is compiled again. Where no file can be written (a container, a shared install, a full disk), each
process compiles its kernels.

A kernel file imports ``from nconvex.kernels.jit``, ``from numba`` or ``from llvmlite``. Kernels
take constants from kernel files only.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit, types
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numba.core.typed_passes import NativeLowering, NopythonTypeInference

#: Sums may be reordered, and products fused with sums: then loops over samples vectorise. NaN and
#: infinity keep their meaning; numba's ``fastmath=True`` would take it away.
FAST_SUMS = {"reassoc", "contract", "nsz", "arcp"}

#: For bounds: a product may be fused with a sum, which rounds once instead of twice.
FUSED_ONLY = {"contract"}

#: Free bytes without which no kernel is kept. All kernels of this package need about 2 MB.
CACHE_ROOM = 32 * 2**20

#: Settings of numba that change machine code.
SETTINGS = (
    *("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX"),
    *("DEBUGINFO_DEFAULT", "NRT_STATS", "USE_LLVM_LEGACY_PASS_MANAGER"),
)

#: Numba's steps for what kernels do not use: closures, array expressions and the like.
UNUSED_PASSES = {
    *("WithLifting", "InlineClosureLikes", "RewriteDynamicRaises", "MakeFunctionToJitFunction"),
    *("InlineInlinables", "FindLiterallyCalls", "LiteralUnroll", "InlineOverloads"),
    *("LiteralPropagationSubPipelinePass", "NopythonRewrites"),
}

#: If this environment variable is set, compilations are not announced.
QUIET = "NCONVEX_QUIET"

_KERNEL_FILE = re.compile(rb"^from (nconvex\.kernels\.jit|numba|llvmlite)[. ]", re.MULTILINE)
_DIGEST = hashlib.sha256().digest_size


def print_line(line: str) -> None:
    """Print a line to stderr, unless `QUIET` is set."""
    if not os.environ.get(QUIET):
        with contextlib.suppress(
            OSError, ValueError, AttributeError
        ):  # stderr is closed or missing
            print(line, file=sys.stderr, flush=True)


#: Is called with a line before a kernel is compiled, which can take seconds.
announce: Callable[[str], None] = print_line


@contextlib.contextmanager
def announcing(hear: Callable[[str], None]) -> Iterator[None]:
    """Announce compilations to another function, inside a ``with`` block."""
    global announce
    before, announce = announce, hear
    try:
        yield
    finally:
        announce = before


def kernel_files() -> list[Path]:
    """Find the package's kernel files. There are none if sources cannot be read (an archive)."""
    own = Path(__file__)
    try:
        found = [
            path
            for path in sorted(own.parents[1].rglob("*.py"))
            if path == own or _KERNEL_FILE.search(path.read_bytes())
        ]
    except OSError:
        return []
    return found if own in found else []


def _stamp() -> str:
    """Hash the contents of all kernel files."""
    return _short(*[hashlib.sha256(path.read_bytes()).hexdigest() for path in _FILES])


def _short(*values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


_FILES = kernel_files()

#: The stamp of the files that this process has imported.
_STAMP = _stamp()


class _KernelCache(FunctionCache):
    """A kernel's machine code on disk: one file for each signature.

    ``folder`` is None if no folder can be written to, or if the stamp leaves out the kernel's file.
    """

    def __init__(self, function: Callable[..., Any]):
        self._label = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        try:
            super().__init__(function)
            known = Path(function.__code__.co_filename) in _FILES
            self.folder = Path(self.cache_path) if known else None
        except (RuntimeError, OSError):  # numba found no folder that it could write to
            self.folder = self._cache_path = None

    def file(self, signature: Any, codegen: Any) -> Path | None:
        """Name the file for a signature's machine code; None if it must not be kept."""
        if self.folder is None:
            return None
        try:
            if _stamp() != _STAMP:  # the files have changed since this process imported them
                return None
        except OSError:
            return None
        settings = [getattr(config, name, None) for name in SETTINGS]
        versions = (numba.__version__, llvmlite.__version__, sys.version, settings)
        machine = _short(versions, codegen.magic_tuple())
        return self.folder / f"{self._label}-{machine}-{_STAMP}-{_short(signature)}.nbc"

    def stored(self, file: Path) -> bytes | None:
        """Read a file's machine code, pickled; None if the file is missing or damaged."""
        try:
            content = file.read_bytes()
        except OSError:
            return None
        digest, data = content[:_DIGEST], content[_DIGEST:]
        return data if hashlib.sha256(data).digest() == digest else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load a kernel; if it must be compiled, announce that and return None."""
        target_context.refresh()
        file = self.file(sig, target_context.codegen())
        data = None if file is None else self.stored(file)
        if data is not None:
            # The checksum is right, but another numba may have written the file.
            with contextlib.suppress(Exception):
                return self._impl.rebuild(target_context, pickle.loads(data))
        kept = "" if file is None else " (kept for later runs)"
        announce(f"compiling {self._label}, some seconds{kept}")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel if the disk allows it, and delete those of older sources."""
        file = self.file(sig, data.codegen)
        if file is None or not self._impl.check_cachable(data):
            return
        content = dumps(self._impl.reduce(data))
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        try:
            if shutil.disk_usage(file.parent).free < CACHE_ROOM:
                return
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(temporary, file)
            family = file.name.rsplit("-", 2)[0]
            for other in file.parent.glob(f"{family}-*"):
                if not other.name.startswith(f"{family}-{_STAMP}-"):
                    other.unlink()
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


class _WideLower(Lower):
    def setup_function(self, descriptor: Any) -> None:
        super().setup_function(descriptor)
        # llvmlite's own `add` takes a fixed list of attributes; the class is a set.
        set.add(self.function.attributes, '"prefer-vector-width"="512"')


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):
    _name = "nconvex_wide_lowering"

    @property
    def lowering_class(self) -> Any:
        return _WideLower


class _Remembering:
    """Numba's typing context, which resolves each operator once for the same types.

    Resolving them again takes half of a compilation's time. Operators that numba implements as
    compiled functions depend on the caller's settings and are not remembered.
    """

    def __init__(self, context: Any):
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        key = function, args
        if key in _OPERATORS:
            return _OPERATORS[key]
        found = self._context.resolve_function_type(function, args, kws)
        if function in _NAMED_OPERATORS and found is not None:
            kind = self._context.resolve_value_type(function)
            if kind.get_impl_key(found) is function:
                _OPERATORS[key] = found
        return found


_NAMED_OPERATORS = {each for each in vars(operator).values() if callable(each)}
_OPERATORS: dict[tuple[Any, ...], Any] = {}


@register_pass(mutates_CFG=True, analysis_only=False)
class _TypeInference(NopythonTypeInference):
    _name = "nconvex_type_inference"

    def run_pass(self, state: Any) -> bool:
        context = state.typingctx
        state.typingctx = _Remembering(context)
        try:
            return super().run_pass(state)
        finally:
            state.typingctx = context


class _InlinedLibrary(JITCodeLibrary):
    """An inlined function's optimised code, without machine code."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _InlinedLowering(_WideLowering):
    """Lowers an inlined function, which has no machine code and no entry from Python."""

    _name = "nconvex_inlined_lowering"

    def run_pass(self, state: Any) -> bool:
        flags = state.flags
        flags.no_cpython_wrapper = flags.no_compile = True
        state.library = _InlinedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        entry = object()  # callers find the function by it
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=entry)
        return True


class _InlinedDispatcher(CPUDispatcher):
    """A function that kernels call, and Python cannot.

    A constant among its arguments is a number like any other, and has no copy compiled for it.
    """

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template(tuple(map(types.unliteral, args)), kws)

    def add_overload(self, result: Any) -> None:
        self.overloads[tuple(result.signature.args)] = result


class _WideVectors(CompilerBase):
    """Numba's compiler, with vectors of 512 bits where the processor has them.

    LLVM uses 256 bits on Intel's server processors, because wide vectors once lowered their clock.
    With 512 bits these kernels are 1.2 to 1.6 times faster.
    """

    lowering: Any = _WideLowering

    def define_pipelines(self) -> list[Any]:
        self.state.flags.no_cfunc_wrapper = True  # nobody calls kernels from C
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        own = {NativeLowering: self.lowering, NopythonTypeInference: _TypeInference}
        pipeline.passes = [
            (own.get(step, step), about)
            for step, about in pipeline.passes
            if step.__name__ not in UNUSED_PASSES
        ]
        pipeline.finalize()
        return [pipeline]


class _Inlined(_WideVectors):
    """The compiler of inlined functions."""

    lowering = _InlinedLowering


def _options(fastmath: set[str]) -> dict[str, Any]:
    # Kernels allocate nothing, so references need no counting.
    return {"nogil": True, "error_model": "numpy", "fastmath": fastmath, "_nrt": False}


def inlined(function: Callable[..., Any], fastmath: set[str] = FAST_SUMS) -> Any:
    """Compile a function that kernels of any file call: always inlined, never cached.

    Without this, LLVM inlines a function or calls it, depending on what the process has compiled
    before. The order of sums then depends on it, and so do the last bits of results.
    """
    if getattr(config, "DISABLE_JIT", 0):
        return function
    options = {"nopython": True, "forceinline": True, **_options(fastmath)}
    return _InlinedDispatcher(function, targetoptions=options, pipeline_class=_Inlined)


def kernel(function: Callable[..., Any], fastmath: set[str] = FAST_SUMS) -> Any:
    """Compile a function that Python calls; its machine code is kept on disk where possible.

    It may call the inlined functions of any kernel file, but no other kernel.
    """
    compiled = njit(pipeline_class=_WideVectors, **_options(fastmath))(function)
    if hasattr(compiled, "_cache"):  # the JIT is on
        compiled._cache = _KernelCache(function)
    return compiled


#: The same, with all sums in the order in which they are written.
inlined_strict = partial(inlined, fastmath=FUSED_ONLY)
kernel_strict = partial(kernel, fastmath=FUSED_ONLY)


def free_compiler() -> None:
    """Release Numba's compiler lock if this thread has kept it from an earlier compilation.

    A KeyboardInterrupt at the moment at which Numba takes or releases the lock leaves it locked.
    This thread can go on then, but others that compile wait for ever.
    """
    while global_compiler_lock.is_locked():
        global_compiler_lock.release()


def is_compiled(kernel: Any, arguments: tuple[Any, ...]) -> bool:
    """Tell whether a kernel can be called with these arguments without compilation.

    So it is if the kernel is loaded or kept on disk for arguments of their types, or if the JIT is
    off.
    """
    if not hasattr(kernel, "_cache"):
        return True
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    if signature in kernel.overloads:
        return True
    file = kernel._cache.file(signature, kernel.targetctx.codegen())
    return file is not None and kernel._cache.stored(file) is not None
