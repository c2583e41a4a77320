"""What benchmarks that run cells of task and seed are asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path


def cells_parser(description: str | None, *, out: str) -> argparse.ArgumentParser:
    """Budget, seeds, tasks, and whether to run, to report or to keep."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--split", default="bench", choices=["bench", "train"])
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--keep", action="store_true", help="run nothing; write what there is to benchmarks/measured")
    return parser
