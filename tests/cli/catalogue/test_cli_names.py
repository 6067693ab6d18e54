"""Names that do not exist are refused before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

from ovbench.harness.registry.glance import _presets, _settings, lineage_of
from ovbench.harness.registry.names import METHODS

WRONG = {
    "run -m maskclap -d toyworld": "did you mean 'maskclip'",
    "run -m maskclip,rimm -d toyworld": "did you mean 'rim'",
    "run -m maskclip -d toywrld": "did you mean 'toyworld'",
    "run -m maskclip -d toyworld,vok": "did you mean 'voc'",
    "run -m maskclip -d toyworld,toyworld": "between commas, each once",
    "run -m maskclip -d toyworld --preset nonsense": "maskclip has no preset 'nonsense'; it has: ",
    "run -m ovdiff -d toyworld --preset nonsense": "ovdiff has no preset 'nonsense'; it has: ",
    "run -m pnp_ovss -d toyworld --set layr=1": "did you mean 'layer'",
    "run -m maskclip,rim -d toyworld --set key_smoothing=1": "no setting 'key_smoothing'",
    "run -m maskclip -d voc --root /nowhere": "/nowhere: voc is not here",
    "run -m maskclip -d toyworld --seed -1": "seed -1: must be a whole number from 0 to 4294967295",
    "run -m maskclip -d toyworld --seed 4294967296": "seed 4294967296: must be",
    "run -m maskclip -d toyworld --seeds 1,4294967296": "seed 4294967296: must be",
    "run -m maskclip -d toyworld --seeds 1,2 --seed 3": "--seed goes without --seeds",
    "tune -m pnp_ovss -d toyworld --preset nonsense": "pnp_ovss has no preset 'nonsense'",
}  # fmt: skip
PROGRAM = """
import contextlib, io, sys
from ovbench.cli import main
for line, message in {wrong!r}.items():
    sys.argv = ["ovbench", *line.split()]
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            main()
        except SystemExit as stopped:
            assert stopped.code == 2, (line, stopped.code, told.getvalue())
    (said,) = told.getvalue().splitlines()
    assert said.startswith("error: ") and message in said, (line, said)
    heavy = {{"torch", "transformers", "open_clip", "diffusers", "scipy", "matplotlib"}}
    assert not heavy & set(sys.modules), (line, heavy & set(sys.modules))
print("none is imported")
"""


def test_names_and_data_that_do_not_exist_import_nothing_heavy() -> None:
    command = [sys.executable, "-c", PROGRAM.format(wrong=WRONG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "none is imported\n", done.stderr


def test_every_method_of_the_package_is_plain_enough_to_be_read() -> None:
    computed = []
    for name, entry in METHODS.entries.items():
        if entry.package == "ovbench":
            line = lineage_of(name)
            assert line is not None
            assert _settings(line) is not None, name
            if _presets(line) is None:
                computed.append(name)
    assert computed == ["ipseg"]  # its presets are a product, and are checked when it is loaded
