#!/usr/bin/env bash
# Lint, types, tests, slow tests; arguments go to both runs of pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy
pytest "$@"
pytest -m slow "$@"
