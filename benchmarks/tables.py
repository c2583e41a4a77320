"""Search on a published table of errors and runtimes: what past tasks are worth.

    pip download --no-deps oboe==0.2.0
    python -m benchmarks.tables oboe-0.2.0-py3-none-any.whl
    python -m benchmarks.tables oboe-0.2.0-py3-none-any.whl --strategies rnn mann lstm_optimiser --against transfer

418 OpenML data sets by 219 configurations (Yang et al., "OBOE", 2019), read from the wheel. Ten folds by data set: a
strategy sees the other nine folds' rows, then one error an ask. Regret is (error - row minimum) / (row maximum - row
minimum); printed is the mean best so far, with its standard error, and the mean at equal seconds of the runtime
matrix. Strategies are the engine's own, by name, on a space that is the list of configurations. Metamodels that they
need are trained for each fold on the other nine, half a minute to a minute each, and kept in a scratch folder.
"""

from __future__ import annotations

import argparse
import ast
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.networks import SCRATCH, trained
from workers.engine.catalog import get_needs, get_strategy
from workers.engine.learners.base import Size
from workers.engine.meta.metamodel import Metamodel
from workers.engine.meta.past import Past
from workers.engine.search.base import SearchContext
from workers.engine.space import FiniteSpace, canonical
from workers.engine.types import Configuration, Trial, TrialStatus

Array = NDArray[np.float64]

STEPS = (1, 3, 5, 10, 20, 30, 50)
TRAINING = (10, 30, 100, 200, 376)
_FOLDS = 10
_FOLDER = "oboe/defaults/Oboe"
_SECONDS = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Table:
    """A published table."""

    configurations: Sequence[Configuration]
    errors: Array  #: (data sets, configurations), 0 to 1
    seconds: Array  #: the same shape


def main() -> None:
    """Print a line a strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--strategies", nargs="*", default=["random", "portfolio", "transfer"])
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(_FOLDS)))
    parser.add_argument("--networks", type=Path, default=SCRATCH, help="where trained metamodels are kept")
    parser.add_argument("--against", help="a strategy, to print paired differences to")
    parser.add_argument("--growth", action="store_true", help="regret at 10 by the number of training data sets")
    options = parser.parse_args()
    table = read(options.wheel)
    if options.growth:
        print(f"{'data sets known:':<24}" + "".join(f"{rows:>10}" for rows in TRAINING))
        for name in options.strategies:
            each = [
                regrets(table, name, options.folds, options.networks, steps=10, training=rows)[0][:, -1]
                for rows in TRAINING
            ]
            print(f"{name:<24}" + "".join(f"{found.mean():>10.4f}" for found in each), flush=True)
        return
    print(f"{'mean best regret at k =':<24}" + "".join(f"{k:>17}" for k in STEPS) + "   at seconds = ", *_SECONDS)
    rival = regrets(table, options.against, options.folds, options.networks)[0] if options.against else None
    for name in options.strategies:
        best, spent = regrets(table, name, options.folds, options.networks)
        timed = [f"{at_seconds(best, spent, seconds).mean():.4f}" for seconds in _SECONDS]
        print(f"{name:<24}" + _cells(best) + "   " + "  ".join(timed), flush=True)
        if rival is not None:
            print(f"{'  less ' + options.against:<24}" + _cells(best - rival), flush=True)


def read(wheel: Path) -> Table:
    """The error and runtime matrix in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        errors, seconds = (
            pd.read_csv(io.BytesIO(archive.read(f"{_FOLDER}/{name}_matrix.csv")), index_col=0)
            for name in ("error", "runtime")
        )
    raw = [ast.literal_eval(column) for column in errors.columns]
    configurations = [{"learner": one["algorithm"], **one["hyperparameters"]} for one in raw]
    return Table(configurations, errors.to_numpy(), seconds[errors.columns].loc[errors.index].to_numpy())


def _cells(best: Array) -> str:
    """Means with standard errors."""
    at = [best[:, k - 1] for k in STEPS]
    return "".join(f"{f'{each.mean():.4f} ± {each.std() / len(each) ** 0.5:.4f}':>17}" for each in at)


def regrets(
    table: Table,
    name: str,
    folds: Sequence[int],
    networks: Path,
    *,
    steps: int = STEPS[-1],
    training: int | None = None,
) -> tuple[Array, Array]:
    """(data sets, steps) best regret so far, and seconds spent by then, of the data sets of these folds."""
    regret = Past(table.configurations, table.errors).regrets
    rng = np.random.default_rng(0)
    fold_of = rng.permutation(len(regret)) % _FOLDS
    best, spent = [], []
    for fold in folds:
        known = np.flatnonzero(fold_of != fold)
        if training is not None:
            known = rng.choice(known, min(training, len(known)), replace=False)
        past = Past(table.configurations, table.errors[known])
        metamodels = {
            needed: trained(needed, past, FiniteSpace(past.configurations), networks, seed=fold)
            for needed in get_needs(name)
        }
        for row in np.flatnonzero(fold_of == fold):
            places = search(table, name, past, metamodels, int(row), steps)
            best.append(np.minimum.accumulate(regret[row, places]))
            spent.append(np.cumsum(table.seconds[row, places]))
    return np.array(best), np.array(spent)


def search(table: Table, name: str, past: Past, metamodels: Mapping[str, Metamodel], row: int, steps: int) -> list[int]:
    """Places of what the strategy asked for on one data set, in order."""
    places = {canonical(configuration): place for place, configuration in enumerate(table.configurations)}
    context = SearchContext(
        space=FiniteSpace(table.configurations),
        size=Size(rows=1000, columns=10, classes=2),
        seed=row,
        workers=1,
        seconds=None,
        trials=steps,
        n_folds=1,
        past=past,
        metamodels=metamodels,
    )
    strategy = get_strategy(name)(context)
    asked: list[int] = []
    for number in range(steps):
        proposal = strategy.ask()
        assert proposal is not None
        place = places[canonical(proposal.configuration)]
        asked.append(place)
        strategy.tell(
            Trial(
                number=number,
                proposal=proposal,
                status=TrialStatus.SUCCEEDED,
                loss=float(table.errors[row, place]),
                seconds=float(table.seconds[row, place]),
            )
        )
    return asked


def at_seconds(best: Array, spent: Array, seconds: float) -> Array:
    """(data sets,) best regret when so many seconds are spent; 1 where nothing was done by then."""
    done = (spent <= seconds).sum(axis=1)
    padded = np.concatenate([np.ones((len(best), 1)), best], axis=1)
    return np.asarray(padded[np.arange(len(best)), done])


if __name__ == "__main__":
    main()
