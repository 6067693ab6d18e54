"""Results in which every text of a user's is as nasty as it can be."""

from __future__ import annotations

import random
from typing import Any

from results import result

PIECES = (
    "cat", " ", "[/indoor]", "[bold red]", ":cat:", "\x1b[31m", "\x1b]0;t\x07", "\x9b2J",
    "\u202e", "\u2028", "\n", "\r\n", "\t", "\0", "=1+1", "+1", "-1", "@SUM(A1)", "'", '"',
    ",", ";", "|", "\\", "`", "``", "*", "**", "_", "__x__", "~~", "<b>", "</td>",
    "<script>alert(1)</script>", "<!--", "-->", "<!-- leaderboard -->", "<!-- /leaderboard -->",
    "&amp;", "&", "[a](http://b)", "![", "$x$", "#", " ##", "http://x.y", "www.x.y", "a@b.c",
    "%", "{", "}", "\\end{table}", "^", "--", "~", "../..", "/", "猫", "é", "\udcff", "{0}",
    "%s", "javascript:", "onload=", "1e400", "nan",
)  # fmt: skip
CASES = 200


def names(case: int, count: int) -> list[str]:
    """Nasty names, the same for a case every time."""
    draw = random.Random(case)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 5))) for _ in range(count)]


def nasty(case: int) -> list[dict[str, Any]]:
    """Two results of two benchmarks in which every text of a user's is nasty."""
    found = []
    for number, given in enumerate((names(2 * case, 11), names(2 * case + 1, 11))):
        method, preset, setting, value, *where, source, warning, name = given
        run = dict(zip(("dataset", "variant", "subset", "split"), where, strict=True))
        one = result(method, 12.5 + number, preset=preset, changes={setting: value}, id=name,
                     warnings=[warning], limit=3, num_images=3, seed=0, **run)  # fmt: skip
        one["vocabulary"]["source"] = source
        one["config"] = {setting: value, "resolution": source}
        one["per_class"] = [
            {"index": i, "name": name, "iou": 20.0 + i, "accuracy": 1.0, "boundary_iou": None,
             "gt_pixels": 1, "pred_pixels": 1}
            for i, name in enumerate([*given, given[0], given[0].upper()])
        ]  # fmt: skip
        found.append(one)
    return found
