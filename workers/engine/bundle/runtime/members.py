"""One fitted model of a bundle: its encoder, and the model behind it, from files without pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import Path as ZipPath

import numpy as np

from .encoder import Encoder
from .errors import BundleProblem

Array = np.ndarray[Any, Any]
Folder = Path | ZipPath
Model = Callable[[Array], Array]  #: float32 (n, columns) -> probabilities (n, classes) or values (n,)


@dataclass(frozen=True)
class Member:
    """An encoder and a model."""

    encoder: Encoder
    model: Model
    n_classes: int  #: 0 in regression
    classes: tuple[int, ...] | None  #: class index of each probability column; None: all in order
    shift: float = 0.0
    scale: float = 1.0
    log_most: float | None = None  #: the model predicts log(target + 1), of which no training row had more

    def predict(self, X: Array) -> Array:
        """Float64: probabilities (n, n_classes), or values (n,) in the target's unit."""
        raw = np.asarray(self.model(X), dtype=np.float64)
        if self.n_classes == 0:
            return in_target_unit(raw.reshape(len(X)), self.shift, self.scale, self.log_most)
        if raw.ndim == 1:
            raw = np.stack([1.0 - raw, raw], axis=1)
        if self.classes is None or len(self.classes) == self.n_classes:
            return raw
        out = np.zeros((len(X), self.n_classes))
        out[:, list(self.classes)] = raw
        return out

    def predict_columns(self, columns: Mapping[str, Array]) -> Array:
        """The same, from columns."""
        return self.predict(self.encoder.transform(columns))


def in_target_unit(raw: Array, shift: float, scale: float, log_most: float | None) -> Array:
    """What a model of regression said, in the unit of the target; see Member."""
    values = raw * scale + shift
    return values if log_most is None else np.expm1(np.minimum(values, log_most))


def load_member(folder: Folder) -> Member:
    """Read what `save_member` wrote.

    Raises:
        BundleProblem: unknown format, damaged, or of a type that a bundle may not contain.
    """
    try:
        info = json.loads((folder / "member.json").read_text(encoding="utf-8"))
        model = _READERS[info["format"]](folder, info)
        classes = info.get("classes")
        return Member(
            Encoder.load(folder),
            model,
            int(info["n_classes"]),
            None if classes is None else tuple(map(int, classes)),
            float(info.get("shift", 0.0)),
            float(info.get("scale", 1.0)),
            None if info.get("log_most") is None else float(info["log_most"]),
        )
    except BundleProblem:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleProblem(f"not a member: {error!r}") from error


def _read_constant(folder: Folder, info: Mapping[str, Any]) -> Model:
    values = np.array(json.loads((folder / "constant.json").read_text(encoding="utf-8")), dtype=np.float64)
    return lambda X: np.tile(values, (len(X), 1))


def _read_lightgbm(folder: Folder, info: Mapping[str, Any]) -> Model:
    import lightgbm

    booster = lightgbm.Booster(model_str=(folder / "model.txt").read_text(encoding="utf-8"))
    return lambda X: np.asarray(booster.predict(X, num_threads=1))


def _read_catboost(folder: Folder, info: Mapping[str, Any]) -> Model:
    import catboost

    model = catboost.CatBoost()
    model.load_model(blob=(folder / "model.cbm").read_bytes())
    categorical = [int(place) for place in info.get("categorical", ())]
    kind = info.get("prediction_type") or ("Probability" if info["n_classes"] else "RawFormulaVal")

    def predict(X: Array) -> Array:
        return np.asarray(model.predict(catboost_rows(X, categorical), prediction_type=kind, thread_count=1))

    return predict


def catboost_rows(X: Array, categorical: list[int]) -> Array:
    """X as CatBoost takes it: category codes as integers, in an array of objects where there are any."""
    if not categorical:
        return X
    rows = X.astype(object)
    rows[:, categorical] = X[:, categorical].astype(np.int64)
    return rows


def _read_network(folder: Folder, info: Mapping[str, Any]) -> Model:
    from .nets import load_network

    return load_network(*_read_tensors(folder))


def _read_reader(folder: Folder, info: Mapping[str, Any]) -> Model:
    from .readers import load_reader

    return load_reader(*_read_tensors(folder))


def _read_foundation(folder: Folder, info: Mapping[str, Any]) -> Model:
    from .foundation import load_foundation

    return load_foundation(*_read_tensors(folder)).predict


def _read_tensors(folder: Folder) -> tuple[Mapping[str, Any], Mapping[str, Array]]:
    """A network's configuration, and its tensors by name."""
    from safetensors.numpy import load

    configuration = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    return configuration, load((folder / "model.safetensors").read_bytes())


def _read_forest(folder: Folder, info: Mapping[str, Any]) -> Model:
    from .forests import load_forest

    with np.load(io.BytesIO((folder / "forest.npz").read_bytes()), allow_pickle=False) as file:
        return load_forest({name: file[name] for name in file.files})


def _read_sklearn(folder: Folder, info: Mapping[str, Any]) -> Model:
    from .estimators import load_estimator

    estimator = load_estimator((folder / "model.skops").read_bytes())
    return estimator.predict_proba if info["n_classes"] else estimator.predict  # type: ignore[no-any-return]


_READERS: dict[str, Callable[[Folder, Mapping[str, Any]], Model]] = {
    "constant": _read_constant,
    "lightgbm": _read_lightgbm,
    "catboost": _read_catboost,
    "network": _read_network,
    "reader": _read_reader,
    "foundation": _read_foundation,
    "forest": _read_forest,
    "sklearn": _read_sklearn,
}
