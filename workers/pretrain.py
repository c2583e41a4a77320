"""Pretraining of the learner that reads whole tables: hours on two cores, in as many sittings as it takes.

    python -m workers.pretrain data/in_context --steps 40000
    python -m workers.pretrain data/in_context --steps 40000 --minutes 90    # goes on where it stopped

`checkpoint.pt` in the folder is what goes on; `losses.csv` the curve: step, tasks so far, mean loss of the last steps.
A run is its shape, its steps and its seed: another one needs another folder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from workers.engine.meta.in_context_training import Shape, pretrain

_EVERY = 100  # steps, of a line


def main() -> None:
    """Train, saying how it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after the first checkpoint beyond")
    parser.add_argument("--width", type=int, default=Shape.width)
    parser.add_argument("--blocks", type=int, default=Shape.blocks)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the highest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    shape = Shape(width=options.width, blocks=options.blocks)
    losses: list[float] = []
    for step in pretrain(
        options.folder, shape, steps=options.steps, seed=options.seed, learning_rate=options.learning_rate
    ):
        losses.append(step.loss)
        if len(losses) == _EVERY or step.number == options.steps:
            line = f"{step.number},{step.tasks},{sum(losses) / len(losses):.5f}"
            with (options.folder / "losses.csv").open("a") as file:
                file.write(f"{line}\n")
            print(line, flush=True)
            losses.clear()
        if step.is_saved and time.monotonic() > until:
            break


if __name__ == "__main__":
    main()
