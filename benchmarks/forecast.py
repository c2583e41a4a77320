"""How well `POST /v1/jobs:validate` foretells scores: every task of the shipped knowledge, told by the other groups.

    python -m benchmarks.forecast

Printed are the mean error of the logarithm of the best relative loss, the share of tasks whose best loss lies within
the interval (eight in ten are meant to) and the interval's width, beside what the median of all other tasks would do.
The embedding that finds neighbours has learned from most of these tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.knowledge.archive import open_archive
from app.knowledge.loading import SEED
from benchmarks.knowledge import read
from workers.engine.catalog import EMBEDDING_ROLE
from workers.engine.meta.embeddings import load_embedding
from workers.engine.meta.forecast import LANDMARK, NEAREST, forecast
from workers.engine.meta.likeness import likeness_of
from workers.engine.meta.past import OFFSET

Array = NDArray[np.float64]


def main() -> None:
    """Print a line each for the forecast and the median."""
    tasks = [task for task in read(SEED)[0] if LANDMARK in task.metafeatures]
    shipped = [one for one in open_archive(SEED).metamodels if one.role == EMBEDDING_ROLE]
    champion = next(one for one in shipped if one.state == "champion")
    embedding = load_embedding(champion.name, SEED / champion.file)
    points = np.array([embedding.embed(task.metafeatures) for task in tasks])
    best = np.array([np.nanmin(list(task.losses.values())) for task in tasks])
    landmarks = np.array([task.metafeatures[LANDMARK] for task in tasks])
    told, plain = [], []
    for place, task in enumerate(tasks):
        places = [n for n, other in enumerate(tasks) if other.kind in task.kind.alike and other.group != task.group]
        distances = np.linalg.norm(points[places] - points[place], axis=1)
        near = np.argsort(distances, kind="stable")[:NEAREST]
        others = np.array(places)[near]
        found = forecast(landmarks[place], landmarks[others], best[others], likeness_of(distances[near]))
        told.append((found.low, found.middle, found.high))
        plain.append(np.quantile(best[places], (0.1, 0.5, 0.9)))
    for name, intervals in (("forecast", np.array(told)), ("median", np.array(plain))):
        logs, true = np.log(intervals + OFFSET), np.log(best + OFFSET)
        inside = (logs[:, 0] <= true) & (true <= logs[:, 2])
        error, width = np.abs(logs[:, 1] - true).mean(), (logs[:, 2] - logs[:, 0]).mean()
        print(f"{name:<10}error {error:.3f}  within {inside.mean():.3f}  width {width:.3f}  {len(tasks)} tasks")


if __name__ == "__main__":
    main()
