"""How kernels are compiled: one decorator for kernels, one for their parts, and the cache on disk.

A compiled kernel is kept in a file beside this package, or in the user's cache folder. The file's
name holds a hash of the *contents* of all kernel files, of numba's settings and of the processor,
so that a kernel may call parts of any kernel file and stale machine code is never loaded. Its
content begins with a checksum. A file that is missing, damaged or unreadable means that the kernel
is compiled anew and the file replaced; where no file can be written (containers, shared installs,
a full disk) the kernels are compiled anew in each process.

A kernel file is one that takes names ``from nconvex.kernels.jit``, ``from numba`` or
``from llvmlite``.
Kernels take no constant from another file than these.
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
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numba.core.typed_passes import NativeLowering, NopythonTypeInference

#: Sums may be reordered and multiplications fused, so that loops over samples vectorise; NaN and
#: infinity keep their meaning, which numba's ``fastmath=True`` would take away.
FAST_SUMS = {"reassoc", "contract", "nsz", "arcp"}

#: For bounds: nothing but the fused multiplication and addition, which rounds once, not twice.
FUSED_ONLY = {"contract"}

#: Bytes that must be free for a kernel to be kept: all kernels of this package need about 2 MB.
CACHE_ROOM = 32 * 2**20

#: Settings of numba that change machine code.
SETTINGS = (
    *("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX"),
    *("DEBUGINFO_DEFAULT", "NRT_STATS", "USE_LLVM_LEGACY_PASS_MANAGER"),
)

#: What numba does for Python that kernels do not use: closures, array expressions, ...
UNUSED_PASSES = {
    *("WithLifting", "InlineClosureLikes", "RewriteDynamicRaises", "MakeFunctionToJitFunction"),
    *("InlineInlinables", "FindLiterallyCalls", "LiteralUnroll", "InlineOverloads"),
    *("LiteralPropagationSubPipelinePass", "NopythonRewrites"),
}

#: An environment variable: compilations are not announced if it is set to anything.
QUIET = "NCONVEX_QUIET"

_KERNEL_FILE = re.compile(rb"^from (nconvex\.kernels\.jit|numba|llvmlite)[. ]", re.MULTILINE)
_DIGEST = hashlib.sha256().digest_size


def print_line(line: str) -> None:
    """Print a line to stderr, unless `QUIET` is set."""
    if not os.environ.get(QUIET):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            print(line, file=sys.stderr, flush=True)


#: Called with a line before a kernel is compiled, which can take seconds. To hear of it elsewhere:
#: ``nconvex.kernels.jit.announce = function``.
announce: Callable[[str], None] = print_line


@contextlib.contextmanager
def announcing(hear: Callable[[str], None]) -> Iterator[None]:
    """Announce compilations to another function for a while."""
    global announce
    before, announce = announce, hear
    try:
        yield
    finally:
        announce = before


def kernel_files() -> list[Path]:
    """Find the package's kernel files; none where sources cannot be read, as in an archive."""
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


def _short(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


_FILES = kernel_files()

#: Of the files as this process imports them.
_STAMP = _stamp()


class _KernelCache(FunctionCache):
    """A kernel's machine code on disk: one file for each signature.

    ``folder`` is None if there is none that can be written to, or the kernel's file has no part
    in the stamp.
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
        """Where the machine code for a signature is kept, or would be."""
        if self.folder is None:
            return None
        try:
            if _stamp() != _STAMP:  # this process may run older text than what the files hold now
                return None
        except OSError:
            return None
        settings = [getattr(config, name, None) for name in SETTINGS]
        versions = (numba.__version__, llvmlite.__version__, sys.version, settings)
        machine = _short(versions, codegen.magic_tuple())
        return self.folder / f"{self._label}-{machine}-{_STAMP}-{_short(signature)}.nbc"

    def stored(self, file: Path) -> bytes | None:
        """The machine code in a file, pickled; None if it is missing or damaged."""
        try:
            content = file.read_bytes()
        except OSError:
            return None
        digest, data = content[:_DIGEST], content[_DIGEST:]
        return data if hashlib.sha256(data).digest() == digest else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled kernel; None, after it was announced, if it has to be compiled."""
        target_context.refresh()
        file = self.file(sig, target_context.codegen())
        data = None if file is None else self.stored(file)
        if data is not None:
            # The checksum holds, but the file may be another numba's all the same.
            with contextlib.suppress(Exception):
                return self._impl.rebuild(target_context, pickle.loads(data))
        kept = "" if file is None else " (kept for later runs)"
        announce(f"compiling {self._label}, some seconds{kept}")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel if the disk allows it, in place of those of other sources."""
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

    def flush(self) -> None:
        """Forget what is kept of this kernel."""
        for file in [] if self.folder is None else self.folder.glob(f"{self._label}-*.nbc"):
            with contextlib.suppress(OSError):
                file.unlink()


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


class _Remembering:
    """Numba's typing context, which looks an operator up only once for the same types.

    Half of a compilation's time goes there otherwise. Operators that numba writes as functions of
    its own are compiled for their caller's settings, and are not remembered.
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


class _PartLibrary(JITCodeLibrary):
    """A part's code, optimised, for kernels to inline; no machine code is made of it."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(_WideLowering):
    """Leaves a part without machine code, and without a way in from Python."""

    _name = "nconvex_part_lowering"

    def run_pass(self, state: Any) -> bool:
        flags = state.flags
        flags.no_cpython_wrapper = flags.no_compile = True
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        entry = object()  # by which callers know it
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=entry)
        return True


class _PartDispatcher(CPUDispatcher):
    """A part, which kernels call, but Python cannot."""

    def add_overload(self, result: Any) -> None:
        self.overloads[tuple(result.signature.args)] = result


class _WideVectors(CompilerBase):
    """Numba's compiler, but with vectors of 512 bits where the processor has them.

    LLVM keeps to half of that on Intel's server processors, for which wide vectors once meant a
    lower clock; with whole ones these kernels are 1.2 to 1.6 times faster.
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


class _Part(_WideVectors):
    """The compiler of parts."""

    lowering = _PartLowering


def _options(fastmath: set[str]) -> dict[str, Any]:
    # Nothing is allocated, so that no references need counting.
    return {"nogil": True, "error_model": "numpy", "fastmath": fastmath, "_nrt": False}


def part(function: Callable[..., Any], fastmath: set[str] = FAST_SUMS) -> Any:
    """Compile a function that kernels of any file call: always inlined, never cached.

    Left to itself, LLVM inlines a callee here and links it there, depending on what was compiled
    earlier in the process and what came from the cache. Sums are then ordered differently, and the
    same seed gives other last bits in the first process than in the next.
    """
    if getattr(config, "DISABLE_JIT", 0):
        return function
    options = {"nopython": True, "forceinline": True, **_options(fastmath)}
    return _PartDispatcher(function, targetoptions=options, pipeline_class=_Part)


def kernel(function: Callable[..., Any], fastmath: set[str] = FAST_SUMS) -> Any:
    """Compile a function that Python calls, kept on disk where that works.

    It may call parts of any kernel file, but no other kernel; see `part`.
    """
    compiled = njit(pipeline_class=_WideVectors, **_options(fastmath))(function)
    if hasattr(compiled, "_cache"):  # the JIT is on
        compiled._cache = _KernelCache(function)
    return compiled


def careful_part(function: Callable[..., Any]) -> Any:
    """As `part`, without reordering: what is written is what is computed."""
    return part(function, FUSED_ONLY)


def careful_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, without reordering: what is written is what is computed."""
    return kernel(function, FUSED_ONLY)


def is_compiled(kernel: Any, arguments: tuple[Any, ...]) -> bool:
    """Tell whether calling a kernel with these arguments needs no compilation.

    It is loaded or kept on disk for arguments of their types, or it is plain Python.
    """
    if not hasattr(kernel, "_cache"):
        return True
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    if signature in kernel.overloads:
        return True
    file = kernel._cache.file(signature, kernel.targetctx.codegen())
    return file is not None and kernel._cache.stored(file) is not None
