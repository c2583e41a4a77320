"""Loss against seconds, ours and the rivals', on three tasks of different size: the picture in `docs/`.

    python -m benchmarks.peers --seconds 15 --tasks opt_preterm satimage scorecard_earnings  # 30, 60, …
    python -m benchmarks.curve

Reads what `benchmarks.peers` has run here and what it keeps in `benchmarks/measured`; runs nothing. A point is a run:
the seconds that it took, whatever it was given, and its loss on the test rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS, Runs
from benchmarks.quality import US
from workers.corpus import CorpusTask, read_tasks

_LOSS = {"binary": "1 - AUC", "multiclass": "log loss", "regression": "RMSE"}
_STYLE: dict[str, Any] = {"marker": "o", "markersize": 4}


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=["opt_preterm", "satimage", "scorecard_earnings"])
    parser.add_argument("--seconds", type=float, nargs="*", default=[10, 15, 30, 60, 120])
    parser.add_argument("--out", type=Path, default=Path("results/peers"), help="where benchmarks.peers left its runs")
    parser.add_argument("--picture", type=Path, default=Path("docs/curve.svg"))
    options = parser.parse_args()
    runs = [Runs(options.out, seconds, is_kept=True) for seconds in options.seconds]
    draw(list(read_tasks("bench", options.tasks)), runs, options.picture)
    print(f"wrote {options.picture}")


def draw(tasks: list[CorpusTask], runs: list[Runs], picture: Path) -> None:
    """A panel a task, a line a system."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "curve"  # the same picture from the same figures
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(tasks), figsize=(4.2 * len(tasks), 3.6), squeeze=False)
    for panel, task in zip(panels[0], tasks, strict=True):
        for system in (*PEERS, US):
            points = [(found["seconds"], found["loss"]) for found in _results(runs, task, system)]
            if points:
                panel.plot(*zip(*sorted(points), strict=True), label=system, lw=2.5 if system == US else 1.2, **_STYLE)
        panel.set(title=f"{task.name}: {task.rows:,} rows", xlabel="seconds", ylabel=_LOSS[task.kind], xscale="log")
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


def _results(runs: list[Runs], task: CorpusTask, system: str) -> list[dict[str, Any]]:
    each = [budget.read(task, 0, system) for budget in runs]
    return [found for found in each if found is not None and "loss" in found]


if __name__ == "__main__":
    main()
