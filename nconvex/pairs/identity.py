"""What a landscape holds: a digest of each part, the same in every process that holds the same.

Parts are written as `pickle` does, but without what may differ between two processes: whether two
equal objects are one, the order of sets, addresses in memory, values that a landscape has computed
and keeps (`cached_property`). Functions and classes of libraries are written by their names, one's
own with their code and the global values that they read; so data count that stand beside a
function in a script.
"""

from __future__ import annotations

import dis
import hashlib
import pickle
import sys
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from nconvex.definitions import NconvexError

#: Bytes of each digest.
DIGEST = 8

#: Folders of installed packages.
INSTALLED = {"site-packages", "dist-packages"}

#: What counts of a class beside its functions.
DATA = (np.ndarray, int, float, str, tuple, list, dict)


def parts(landscape: object) -> dict[str, str]:
    """Return a digest of each attribute of a landscape, and of its class.

    Raises:
        NconvexError: An attribute cannot be pickled.
    """
    reduced = _reduced(landscape)
    state = reduced[2] if len(reduced) > 2 and isinstance(reduced[2], dict) else {"": landscape}
    found = {}
    for name, value in {**state, "class": type(landscape)}.items():
        try:
            found[str(name)] = digest(value)
        except Exception as error:  # of every kind, by every object's own pickling
            raise NconvexError(
                f"a store cannot tell other data from this problem's: {name or 'it'} cannot be "
                f"pickled ({' '.join(str(error).split()):.200}); leave it out by __getstate__, or "
                "survey without store="
            ) from error
    return found


def digest(value: object) -> str:
    """Return the digest of what a value holds."""
    stream = _Hash()
    _Writer(stream).dump(value)
    return stream.hash.hexdigest()


class _Hash:
    """A file that keeps nothing but a hash of what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=DIGEST)

    def write(self, data: Any) -> None:
        self.hash.update(data)


class _Writer(pickle.Pickler):
    def __init__(self, stream: _Hash):
        super().__init__(stream, 4)
        self.fast = True  # without references to what was written before
        self._seen: dict[int, int] = {}

    def persistent_id(self, value: Any) -> Any:
        """Write the members of a set in the order of their digests."""
        return sorted(map(digest, value)) if isinstance(value, set | frozenset) else None

    def reducer_override(self, value: Any) -> Any:
        """Return how to write what `pickle` would write in another way."""
        is_tensor = hasattr(value, "detach") and hasattr(value, "__array__")  # PyTorch's
        if is_tensor or isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value.detach().cpu() if is_tensor else value)
            content = array.tolist() if array.dtype.hasobject else array.tobytes()
            return tuple, ((array.dtype.str, array.shape, content),)
        if isinstance(value, ModuleType):
            return tuple, ((value.__name__,),)
        if isinstance(value, CodeType):
            return tuple, ((value.co_code, value.co_consts, value.co_names),)
        if isinstance(value, FunctionType | type):
            return self._defined(value) if _is_own(value) else NotImplemented
        of = getattr(value, "py_func", None) or getattr(value, "__wrapped__", None)
        if isinstance(of, FunctionType):  # compiled, or with a memory
            return tuple, ((of,),)
        kept = [name for name in getattr(value, "__dict__", ()) if _is_kept(value, name)]
        return _reduced(value) if kept else NotImplemented

    def _defined(self, value: Any) -> Any:
        """Return a function or class with what it depends on, but once: it may call itself."""
        if id(value) in self._seen:
            return tuple, ((self._seen[id(value)],),)
        self._seen[id(value)] = len(self._seen)
        if isinstance(value, type):
            held = {name: _plain(of) for name, of in sorted(vars(value).items())}
            held = {
                name: of
                for name, of in held.items()
                if isinstance(of, FunctionType) or (name[:2] != "__" and isinstance(of, DATA))
            }
            return tuple, ((value.__qualname__, value.__bases__, held),)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = value.__defaults__, value.__kwdefaults__
        names = sorted(_globals(value.__code__) & value.__globals__.keys())
        read = {name: value.__globals__[name] for name in names}
        return tuple, ((value.__code__, defaults, cells, read),)


def _reduced(value: Any) -> Any:
    """Return what makes an object anew, without the values that it keeps."""
    reduced = value.__reduce_ex__(4)
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):
        return reduced
    state = {name: of for name, of in reduced[2].items() if not _is_kept(value, name)}
    return (*reduced[:2], state, *reduced[3:])


def _is_kept(value: object, name: str) -> bool:
    return isinstance(getattr(type(value), name, None), cached_property)


def _plain(value: Any) -> Any:
    """Return the function of a property or of a static or class method; else the value."""
    of = (getattr(value, name, None) for name in ("fget", "__func__", "func"))
    return next((function for function in of if isinstance(function, FunctionType)), value)


def _is_own(value: Any) -> bool:
    """Whether a function or class is neither Python's, nor installed, nor this package's."""
    module = str(value.__module__)
    if "<" in value.__qualname__:  # it has no name by which to find it
        return True
    if module.partition(".")[0] in {"nconvex", *sys.stdlib_module_names} - {"__main__"}:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not INSTALLED & set(Path(file).parts)


def _globals(code: CodeType) -> set[str]:
    """Names of the global values that a function reads, also in functions inside of it."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname.startswith("LOAD_GLOBAL")}
    return found.union(*(_globals(of) for of in code.co_consts if isinstance(of, CodeType)))
