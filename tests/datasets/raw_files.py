"""Image files written bit by bit, so that a test knows what is stored in them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

GREY, COLOUR, PALETTE = 0, 2, 3
"""PNG's colour types."""

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
"""TIFF's sample formats."""


def packed(rows: Sequence[Sequence[int]], bits: int) -> list[bytes]:
    """Each row's values, the highest bit first, filled up to whole bytes."""
    texts = ["".join(f"{value:0{bits}b}" for value in row) for row in rows]
    return [
        int((text + "0" * (-len(text) % 8)) or "0", 2).to_bytes(-(-len(text) // 8), "big")
        for text in texts
    ]


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def png(data: bytes, width: int, height: int, bits: int = 8, colour: int = GREY) -> bytes:
    """A PNG file around image data that is already compressed."""
    size = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(3 * 2 ** min(bits, 8))) if colour == PALETTE else b""
    parts = (chunk(b"IHDR", size), palette, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def index_png(rows: Sequence[Sequence[int]], bits: int, colour: int = GREY) -> bytes:
    """A PNG that stores these indices with 1, 2, 4, 8 or 16 bits."""
    lines = b"".join(b"\0" + line for line in packed(rows, bits))
    return png(zlib.compress(lines), len(rows[0]), len(rows), bits, colour)


def tiff(lines: Sequence[bytes], width: int, bits: int, kind: int, photometric: int = 1) -> bytes:
    """An uncompressed little-endian TIFF of one channel."""
    data = b"".join(lines)
    tags = {256: width, 257: len(lines), 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1,
            278: len(lines), 279: len(data), 339: kind}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def index_tiff(rows: Sequence[Sequence[int]], bits: int, photometric: int = 1) -> bytes:
    """A TIFF that stores these indices with 1 to 8 bits; photometric 0 shows 0 as white."""
    return tiff(packed(rows, bits), len(rows[0]), bits, UNSIGNED, photometric)


def wide_tiff(values: npt.NDArray[np.generic]) -> bytes:
    """A TIFF of 16-bit or 32-bit integers or of floats."""
    kind = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[values.dtype.kind]
    lines = [row.astype(values.dtype.newbyteorder("<")).tobytes() for row in values]
    return tiff(lines, values.shape[1], values.dtype.itemsize * 8, kind)
