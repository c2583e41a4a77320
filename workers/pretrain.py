"""Practice of learners that have learned to learn: up to an hour on a core, in as many sittings as it takes.

    python -m workers.practice_tables data/practice.safetensors  # real tables, once; needs make bench-install
    warmstart metamodels train rnn data/rnn --tables data/practice.safetensors --minutes 90
    warmstart metamodels train rnn data/rnn --tables data/practice.safetensors --ship rnn_1.safetensors  # goes on

Without `--tables` all tasks are synthetic.

`checkpoint.pt` in the folder is what goes on; `losses.csv` the curve: step, tasks so far, mean loss of the last steps.
A run is its shape, its steps, its seed and its tables: another one needs another folder. The picture needs matplotlib.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from workers.engine.meta.reading.tables import read_tables
from workers.engine.meta.reading.training import KINDS, load, pretrain, progress, ship

_EVERY = 100  # steps, of a line
_SMOOTH = 10  # lines, of the drawn curve


def main() -> None:
    """Train, saying how it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, help="in all; as many as the network takes")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after the first checkpoint beyond")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tables", type=Path, help="real ones: a file by `python -m workers.practice_tables`")
    parser.add_argument("--ship", type=Path, help="write the learner's weights there at the end")
    parser.add_argument("--picture", type=Path, help="draw the curve there at the end")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    done, _ = progress(options.folder)
    curve = options.folder / "losses.csv"
    if curve.exists():  # what came after the checkpoint comes again
        lines = curve.read_text().splitlines()
        curve.write_text("".join(f"{line}\n" for line in lines if int(line.split(",")[0]) <= done))
    losses: list[float] = []
    tables = read_tables(options.tables) if options.tables else ()
    for step in pretrain(options.folder, options.name, steps=options.steps, seed=options.seed, tables=tables):
        losses.append(step.loss)
        if len(losses) == _EVERY or step.is_last:
            line = f"{step.number},{step.tasks},{sum(losses) / len(losses):.5f}"
            with curve.open("a") as file:
                file.write(f"{line}\n")
            print(line, flush=True)
            losses.clear()
        if step.is_saved and time.monotonic() > until:
            break
    done, steps = progress(options.folder)
    if done < steps:
        print(f"{done} of {steps} steps are done; the same command goes on", flush=True)
        return
    if options.ship:
        ship(load(options.folder), options.ship)
    if options.picture:
        draw(curve, options.picture)


def draw(losses: Path, picture: Path) -> None:
    """Mean loss by tasks seen, smoothed: steps differ in how hard their tasks are."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "practice"  # the same picture from the same figures
    from matplotlib import pyplot

    _, tasks, loss = np.loadtxt(losses, delimiter=",", unpack=True, ndmin=2)
    lines = min(_SMOOTH, len(loss))
    smooth = np.convolve(loss, np.ones(lines) / lines, "valid")
    figure, panel = pyplot.subplots(figsize=(6, 3.4))
    panel.plot(tasks, loss, color="tab:blue", alpha=0.25, lw=1)
    panel.plot(tasks[lines - 1 :], smooth, color="tab:blue", lw=2)
    panel.set(xlabel="tasks practised on", ylabel="cross-entropy")
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
