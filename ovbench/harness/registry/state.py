"""What an object holds: a digest of its values, whatever their names.

Equal values have equal digests in every process: nothing of an address or of a random hash is in
them. The order of a dict counts, as whoever goes through it may answer otherwise; that of a set
and of attributes does not. Arrays are read where they lie, without copies of what is contiguous.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any
from weakref import ref

import numpy as np

from ovbench.harness.registry.compiled import compiled_digest, is_full
from ovbench.harness.registry.sources import is_strange

_PLAIN = {bool, int, float, complex, str, type(None), type(...), type(NotImplemented)}
_BUFFERS = {bytes, bytearray, memoryview}
# They decide no answer: a number that PyTorch counts up, and who waits for whom.
_SILENT = {"torch.utils.hooks.RemovableHandle", "_thread.lock", "_thread.RLock"}

Parts = Iterator[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class State:
    """A digest, SHA-256 as hex, and the attributes whose values nobody can read."""

    digest: str
    unread: tuple[str, ...]


def state_of(thing: object) -> State:
    """The state of an object, but for the code of its class.

    An open file, a generator or an object of an extension that cannot be pickled is only known
    by its type, and named.
    """
    reader, name = _Reader(type(thing)), type(thing).__name__
    try:
        return State(sha256(reader.of(thing, name)).hexdigest(), tuple(reader.unread))
    except RecursionError:  # how deep it was found depends on the caller
        return State("", (f"{name} (nested too deeply)",))


class _Reader:
    def __init__(self, root: type) -> None:
        self.unread: list[str] = []
        self._root = root
        # With the objects themselves: an id is another's as soon as its owner is gone.
        self._known: dict[int, tuple[object, bytes]] = {}
        self._within: dict[int, int] = {}

    def of(self, value: Any, where: str) -> bytes:
        """What stands for a value that is found at ``where``: a digest, or a plain one itself."""
        kind = type(value)
        if kind in _PLAIN:
            text = repr(value).encode("utf-8", "surrogatepass")
            return f"{kind.__name__} {len(text)}:".encode() + text
        if kind in _BUFFERS:
            return _sha256(kind.__name__, value)
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._within:  # a cycle: how far up it leads
            return _sha256(f"up {len(self._within) - self._within[id(value)]}")
        self._within[id(value)] = len(self._within)
        try:
            parts = self._digests(value, where)
        except RecursionError:
            raise
        except Exception:  # a foreign object may refuse in any way
            self.unread.append(f"{where} ({kind.__qualname__})")
            parts = []
        finally:
            del self._within[id(value)]
        digest = _sha256(f"{kind.__module__}.{kind.__qualname__}", *parts)
        self._known[id(value)] = value, digest
        return digest

    def _digests(self, value: Any, where: str) -> list[bytes]:
        if not isinstance(value, set | frozenset):
            return [
                self.of(part, f"{where}.{name}" if name else where)
                for name, part in self._parts(value)
            ]
        known, digests = self._known, []
        for part in value:  # each by itself: in what order they come is chance
            self._known = {}
            digests.append(self.of(part, where))
        self._known = known
        return [*sorted(digests), self.of(_attributes(value), where)]

    def _parts(self, value: Any) -> Parts:
        kind = type(value)
        if kind in {list, tuple}:
            yield from _unnamed(value)
        elif kind is dict or isinstance(value, MappingProxyType):
            for key, held in value.items():
                yield from (("", key), (str(key), held))
        elif isinstance(value, ModuleType):
            yield "", value.__name__
        elif isinstance(value, ref):
            yield "", value()
        elif isinstance(value, type):
            yield from _class_parts(value, value is not self._root)
        elif isinstance(value, FunctionType):
            yield from _function_parts(value)
        elif kind in {np.ndarray, np.memmap}:
            yield from _unnamed(_array_parts(value))
        elif _is_torch("Tensor", value) and _is_dense(value):
            yield from _unnamed(_tensor_parts(value))
        elif f"{kind.__module__}.{kind.__qualname__}" not in _SILENT:
            yield from _object_parts(value)


def _class_parts(value: type, with_code: bool) -> Parts:
    yield from _unnamed((value.__module__, value.__qualname__))
    if with_code and is_strange(value):
        yield "", compiled_digest(value, is_strange)
    for base in filter(is_strange, value.__mro__):
        for name, held in sorted(vars(base).items()):
            # What a class computes is its code; what it keeps, such as weights, is not.
            if not (name.startswith(("__", "_abc_")) or hasattr(type(held), "__get__")):
                yield from (("", name), (name, held))


def _function_parts(value: FunctionType) -> Parts:
    code = value if is_strange(value) else value.__code__
    yield from _unnamed((value.__module__, value.__qualname__, compiled_digest(code, is_strange)))
    cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    yield from ((name, cell.cell_contents) for name, cell in cells if is_full(cell))
    yield from _unnamed((value.__defaults__, value.__kwdefaults__, value.__dict__))


def _array_parts(value: Any) -> Iterator[Any]:
    yield from (str(value.dtype), value.shape)
    if value.dtype.hasobject or value.dtype.names:
        yield value.tolist()
    else:
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data


def _tensor_parts(value: Any) -> Iterator[Any]:
    import torch

    flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    yield from (str(value.dtype), tuple(value.shape))
    yield flat.view(torch.uint8).numpy().data


def _object_parts(value: Any) -> Parts:
    """What pickle keeps; of the user's own classes every attribute, whatever they leave out."""
    kind: Any = type(value)
    reducer: Callable[[Any], Any] | None = copyreg.dispatch_table.get(kind)
    reduced = reducer(value) if reducer else value.__reduce_ex__(4)
    if isinstance(reduced, str):  # a name for it is enough, but for what a cache stands before
        yield from _unnamed((value.__module__, reduced, getattr(value, "__wrapped__", None)))
        return
    make, given, state, items, pairs = (*reduced, None, None, None)[:5]
    yield from _unnamed((make, given, list(items or ()), list(pairs or ())))
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    as_usual = all(getattr(kind, name, None) is getattr(object, name, None) for name in names)
    if as_usual or is_strange(kind) or _is_torch("nn.Module", value):
        yield "", _attributes(value)
    else:
        yield "", state


def _attributes(value: Any) -> dict[str, Any]:
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if type(member).__name__ == "member_descriptor" and "__slots__" in vars(base):
                with suppress(AttributeError):  # not set
                    found[name] = member.__get__(value)
    if _is_torch("nn.Module", value):  # its hooks stand under numbers that are counted up
        found = {k: list(v.values()) if k.endswith("hooks") else v for k, v in found.items()}
    return dict(sorted(found.items()))


def _is_torch(name: str, value: Any) -> bool:
    """Whether it is a tensor or a module, without importing PyTorch to tell."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, attrgetter(name)(torch))


def _is_dense(tensor: Any) -> bool:
    return not (tensor.is_sparse or tensor.is_sparse_csr or tensor.is_quantized or tensor.is_meta)


def _unnamed(values: Iterable[Any]) -> Parts:
    return (("", value) for value in values)


def _sha256(head: str, *parts: Any) -> bytes:
    digest = sha256(f"{head}:".encode())
    for part in parts:
        digest.update(part)
    return b"sha256 32:" + digest.digest()
