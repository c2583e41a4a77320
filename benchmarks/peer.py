"""One rival on one split, in a process of its own; run by `benchmarks.peers` with the rivals' own Python.

    python -m benchmarks.peer SYSTEM FOLDER

FOLDER holds `task.json`, `train.parquet` and `test.parquet`; `prediction.npy` and `peer.json` are left there:
seconds to fit, imports not counted, and seconds to predict 1,000 rows once warm. Settings are each project's advice
for a short budget on few cores:

- AutoGluon: the presets `best_quality` and `medium_quality`; folds fitted one after the other (on two cores a pool of
  workers costs more than it brings), and without the trial fit that decides about stacking (it takes a quarter of the
  budget, and where that is too short for one model the whole fit fails).
- H2O AutoML: two threads, 4 GB of heap, the server started before the clock; text as enums, or it would be dropped.
- FLAML: `time_budget` and two jobs, all else default.
- CatBoost: defaults and no budget.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CORES = 2
_BATCH = 1000
_H2O_HEAP = "4g"

#: (n, classes in sorted order) probabilities, or (n,) values
Predict = Callable[[pd.DataFrame], np.ndarray]
Task = dict[str, Any]


def main() -> None:
    """Fit, predict, leave both with their times."""
    system, folder = sys.argv[1], Path(sys.argv[2])
    task: Task = json.loads((folder / "task.json").read_text())
    train, test = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "test"))
    fit = SYSTEMS[system](folder)
    started = time.monotonic()
    predict = fit(task, train)
    fitted = time.monotonic()
    prediction = predict(test)
    batch = test.iloc[np.resize(np.arange(len(test)), _BATCH)].reset_index(drop=True)
    warm = time.monotonic()
    predict(batch)
    report = {"seconds": fitted - started, "predict_1000_s": time.monotonic() - warm}
    np.save(folder / "prediction.npy", np.asarray(prediction, dtype=np.float64))
    (folder / "peer.json").write_text(json.dumps(report))


def autogluon(preset: str) -> Callable[[Path], Callable[[Task, pd.DataFrame], Predict]]:
    """AutoGluon with one of its presets."""

    def prepare(folder: Path) -> Callable[[Task, pd.DataFrame], Predict]:
        from autogluon.tabular import TabularPredictor

        def fit(task: Task, train: pd.DataFrame) -> Predict:
            predictor = TabularPredictor(
                label=task["target"],
                problem_type=task["kind"],
                eval_metric=_AUTOGLUON_METRIC[task["kind"]],
                path=str(folder / "autogluon"),
                verbosity=1,
            )
            predictor.fit(
                train,
                time_limit=task["budget_s"],
                presets=preset,
                num_cpus=CORES,
                num_gpus=0,
                dynamic_stacking=False,
                ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
            )
            predictor.persist()
            return lambda rows: _autogluon_predict(predictor, task, rows)

        return fit

    return prepare


_AUTOGLUON_METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "root_mean_squared_error"}


def _autogluon_predict(predictor: Any, task: Task, rows: pd.DataFrame) -> np.ndarray:
    if task["kind"] == "regression":
        return np.asarray(predictor.predict(rows))
    return np.asarray(predictor.predict_proba(rows)[task["classes"]])


def flaml(folder: Path) -> Callable[[Task, pd.DataFrame], Predict]:
    """FLAML's AutoML."""
    from flaml import AutoML

    def fit(task: Task, train: pd.DataFrame) -> Predict:
        target, is_class = task["target"], task["kind"] != "regression"
        automl = AutoML()
        automl.fit(
            X_train=_categories(train.drop(columns=target)),
            y_train=train[target],
            task="classification" if is_class else "regression",
            metric=_FLAML_METRIC[task["kind"]],
            time_budget=task["budget_s"],
            n_jobs=CORES,
            seed=task["seed"],
            verbose=0,
        )

        def predict(rows: pd.DataFrame) -> np.ndarray:
            if not is_class:
                return np.asarray(automl.predict(_categories(rows)))
            order = [list(map(str, automl.classes_)).index(label) for label in task["classes"]]
            return np.asarray(automl.predict_proba(_categories(rows)))[:, order]

        return predict

    return fit


_FLAML_METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


def _categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Text as categories; plain names, since LightGBM refuses many characters that FLAML passes on to it."""
    frame = frame.set_axis([f"x{place}" for place in range(frame.shape[1])], axis=1)
    return frame.astype({name: "category" for name in frame if frame[name].dtype == object})


def h2o_automl(folder: Path) -> Callable[[Task, pd.DataFrame], Predict]:
    """H2O's AutoML on a server of its own."""
    import h2o
    from h2o.automl import H2OAutoML

    h2o.init(nthreads=CORES, max_mem_size=_H2O_HEAP, ice_root=str(folder), verbose=False)
    h2o.no_progress()

    def frame(rows: pd.DataFrame, task: Task) -> Any:
        rows = rows.astype({name: "int8" for name in rows if rows[name].dtype == bool})
        if task["target"] in rows and task["kind"] != "regression":
            rows = rows.astype({task["target"]: str})
        types = {name: "enum" if rows[name].dtype == object else "numeric" for name in rows}
        path = folder / "h2o.parquet"  # its CSV reader loses rows where cells hold quotes and lines
        rows.to_parquet(path, index=False)
        return h2o.import_file(str(path), col_types=types)

    def fit(task: Task, train: pd.DataFrame) -> Predict:
        automl = H2OAutoML(
            max_runtime_secs=round(task["budget_s"]), seed=task["seed"], sort_metric=_H2O_METRIC[task["kind"]]
        )
        automl.train(y=task["target"], training_frame=frame(train, task))

        def predict(rows: pd.DataFrame) -> np.ndarray:
            answer = automl.leader.predict(frame(rows, task)).as_data_frame()
            if task["kind"] == "regression":
                return np.asarray(answer["predict"])
            names = [label if label in answer else f"p{label}" for label in task["classes"]]
            return np.asarray(answer[names])

        return predict

    return fit


_H2O_METRIC = {"binary": "AUC", "multiclass": "logloss", "regression": "RMSE"}


def catboost(folder: Path) -> Callable[[Task, pd.DataFrame], Predict]:
    """CatBoost at its defaults, as in `benchmarks.quality`."""
    from benchmarks.baselines import fit_catboost

    return lambda task, train: fit_catboost(task["kind"], train, task["target"])


SYSTEMS: dict[str, Callable[[Path], Callable[[Task, pd.DataFrame], Predict]]] = {
    "autogluon_best": autogluon("best_quality"),
    "autogluon_medium": autogluon("medium_quality"),
    "h2o": h2o_automl,
    "flaml": flaml,
    "catboost": catboost,
}

if __name__ == "__main__":
    main()
