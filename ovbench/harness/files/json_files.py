"""JSON in files, which anybody may have edited, damaged or put in another one's place.

What is measured is sealed: its last field is a digest of all the others, so that a changed
number is found, whoever changed it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.regular import regular

AS_ESCAPE = "backslashreplace"
"""What becomes of a name that is not UTF-8 where JSON is written: the escape that reads as it."""

SEAL = "sha256"


def parse(data: str | bytes) -> Any:
    """The value of a JSON text; a byte-order mark before it is no part of it.

    Raises:
        ValueError: not UTF-8, not JSON, or nested too deeply for this program; in one line.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def digest_of(content: Any) -> str:
    """SHA-256 of a JSON-ready value, as hex; the order of keys does not matter.

    Raises:
        ValueError: nested too deeply.
    """
    try:
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the digest of its content as its last field."""
    whole = {name: value for name, value in content.items() if name != SEAL}
    return {**whole, SEAL: digest_of(whole)}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether an object is as :func:`sealed` made it."""
    try:
        return bool(content.get(SEAL) == sealed(content)[SEAL])
    except ValueError:
        return False


def leaf(content: Any, name: str) -> Any:
    """The value at a dotted name of nested objects; None where there is none."""
    for part in name.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UsageError: unreadable, or not a JSON object; names the file.
    """
    try:
        content = parse(regular(path).read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UsageError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically.

    Raises:
        OvbenchError: there is no room for it.
        UsageError: it must not be written there.
        ValueError: a number JSON does not have, such as not-a-number.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=AS_ESCAPE)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refused)
