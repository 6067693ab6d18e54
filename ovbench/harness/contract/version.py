"""What a number means may change with the harness: under which rules it was measured."""

from __future__ import annotations

LABEL_FILES = "label files"
"""A result's method version where no method ran: label maps made elsewhere were scored."""

PROTOCOL_VERSION = 2
"""Part of every run's identity; raised when the harness changes what a number means."""
