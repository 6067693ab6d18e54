"""What the commands of the embedded world have in common on their command lines."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number of at least 1, or a message that argparse shows."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value
