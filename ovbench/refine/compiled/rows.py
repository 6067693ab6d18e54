"""Weighted sums of rows of a table, a vector register at a time.

What the dense CRF does most is to add some short rows, or to add to them. Of loops over an array
the compiler must fear that it overlaps another one, and asks at every row, which takes longer than
the row; so these few instructions are written out. Rows are cut into blocks of as many float32
values as a tuple is long: the compiler knows a tuple's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_Generator = Callable[[Any, Any, Any, Sequence[Any]], Any]
_INDEX = ir.IntType(64)
_FUSED = ("contract",)


def _block(builder: Any, data: Any, at: Any, lanes: int) -> Any:
    """A pointer to a block of ``lanes`` values."""
    vector = ir.VectorType(ir.FloatType(), lanes)
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(pointer, align=4)


def _repeated(builder: Any, value: Any, lanes: int) -> Any:
    """A block of equal values."""
    vector, place = ir.VectorType(ir.FloatType(), lanes), ir.IntType(32)
    empty = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(empty, value, place(0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(place, lanes), None))


def _plus(builder: Any, block: Any, weight: Any, other: Any) -> Any:
    product = builder.fmul(weight, other, flags=_FUSED)
    return builder.fadd(block, product, flags=_FUSED)


@contextmanager
def _rows(
    builder: Any,
    lanes: int,
    at: Any,
    table: Any,
    width: Any,
    rows: Any,
    weights: Any,
    first: Any,
    count: Any,
) -> Iterator[tuple[Any, Any]]:
    """A loop over rows: a pointer to a row's block, and its weight, repeated."""
    with cgutils.for_range(builder, count, intp=_INDEX) as loop:
        entry = builder.add(first, loop.index)
        row = builder.zext(builder.load(builder.gep(rows, [entry])), _INDEX)
        weight = _repeated(builder, builder.load(builder.gep(weights, [entry])), lanes)
        begin = builder.add(builder.mul(row, width), at)
        yield _block(builder, table, begin, lanes), weight


def _pointers(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> list[Any]:
    """Arguments with arrays' data in their place."""
    return [
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(signature.args, given, strict=True)
    ]


@intrinsic  # type: ignore[untyped-decorator]
def add_rows(
    typing: Any,
    block: Any,
    values: Any,
    at: Any,
    table: Any,
    width: Any,
    rows: Any,
    weights: Any,
    first: Any,
    count: Any,
) -> tuple[Any, _Generator]:
    """``values[at:][:B] += sum(weights[i] * table[rows[i] * width + at:][:B])``.

    Over the ``count`` rows from the ``first`` on; ``B`` is the length of the tuple ``block``.
    Arrays are flat; ``values``, ``table`` and ``weights`` float32, ``rows`` uint32; numbers uint64.
    """
    lanes = len(block)
    signature = types.void(block, values, at, table, width, rows, weights, first, count)

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        _, target, at, source, width, numbers, shares, first, count = _pointers(
            context, builder, signature, given
        )
        place = _block(builder, target, at, lanes)
        found = cgutils.alloca_once_value(builder, _load(builder, place))
        with _rows(builder, lanes, at, source, width, numbers, shares, first, count) as row:
            other, weight = row
            total = _plus(builder, builder.load(found), weight, _load(builder, other))
            builder.store(total, found)
        builder.store(builder.load(found), place, align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def add_to_rows(
    typing: Any,
    block: Any,
    values: Any,
    at: Any,
    factor: Any,
    table: Any,
    width: Any,
    rows: Any,
    weights: Any,
    first: Any,
    count: Any,
) -> tuple[Any, _Generator]:
    """``table[rows[i] * width + at:][:B] += weights[i] * factor * values[at:][:B]``.

    As :func:`add_rows`; ``factor`` is float32.
    """
    lanes = len(block)
    signature = types.void(block, values, at, factor, table, width, rows, weights, first, count)

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        _, source, at, factor, target, width, numbers, shares, first, count = _pointers(
            context, builder, signature, given
        )
        added = _load(builder, _block(builder, source, at, lanes))
        added = builder.fmul(added, _repeated(builder, factor, lanes))
        with _rows(builder, lanes, at, target, width, numbers, shares, first, count) as row:
            place, weight = row
            total = _plus(builder, _load(builder, place), weight, added)
            builder.store(total, place, align=4)
        return context.get_dummy_value()

    return signature, generate
