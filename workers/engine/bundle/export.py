"""How a fitted estimator becomes files: its format, and what that format keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .runtime.estimators import import_skops

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class MemberExport:
    """What a bundle keeps of a fitted estimator.

    format and model: "lightgbm" a Booster; "catboost" a CatBoost; "forest" a scikit-learn forest; "sklearn" any other
    scikit-learn estimator of an allowed type; "constant" an array, the answer for every row; "network" a pair
    (configuration that JSON can hold, tensors by name as numpy arrays) that `runtime.nets.load_network` understands;
    "reader" such a pair for `runtime.readers.load_reader`, and "foundation" one for `runtime.foundation`.
    """

    format: str
    model: Any
    #: class index of each probability column; None: all classes in order
    classes: tuple[int, ...] | None = None
    #: regression: what the model predicts, times `scale`, plus `shift`, is the target
    shift: float = 0.0
    scale: float = 1.0
    #: regression: if given, that is log(target + 1), and this the largest of the training rows
    log_most: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  #: kept in member.json


@runtime_checkable
class Exportable(Protocol):
    """An estimator of ours that wraps a library's one says what to keep by this method."""

    def export_member(self) -> MemberExport: ...


def export_of(estimator: Any) -> MemberExport:
    """The export of an estimator: its own, or by its type."""
    if isinstance(estimator, Exportable):
        return estimator.export_member()
    kind = type(estimator)
    library = kind.__module__.partition(".")[0]
    name = "forest" if kind.__name__ in _FORESTS else _FORMATS.get(library, "sklearn")
    model = getattr(estimator, "booster_", estimator) if name == "lightgbm" else estimator
    return MemberExport(format=name, model=model, classes=_classes(estimator))


def _classes(estimator: Any) -> tuple[int, ...] | None:
    classes = getattr(estimator, "classes_", None)
    return None if classes is None or len(classes) == 0 else tuple(int(label) for label in classes)


_FORMATS = {"lightgbm": "lightgbm", "catboost": "catboost"}
_FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")


def _write_lightgbm(folder: Path, export: MemberExport) -> None:
    best = export.model.best_iteration
    text = export.model.model_to_string(num_iteration=best if best and best > 0 else None)
    (folder / "model.txt").write_text(text, encoding="utf-8")


def _write_catboost(folder: Path, export: MemberExport) -> None:
    export.model.save_model(str(folder / "model.cbm"), format="cbm")


def _write_sklearn(folder: Path, export: MemberExport) -> None:
    import_skops().dump(export.model, folder / "model.skops")  # the bundle compresses


def _write_constant(folder: Path, export: MemberExport) -> None:
    values = np.asarray(export.model, dtype=np.float64).ravel().tolist()
    (folder / "constant.json").write_text(json.dumps(values), encoding="utf-8")


def _write_network(folder: Path, export: MemberExport) -> None:
    from safetensors.numpy import save_file

    configuration, tensors = export.model
    (folder / "network.json").write_text(json.dumps(configuration), encoding="utf-8")
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / "model.safetensors")


def _write_forest(folder: Path, export: MemberExport) -> None:
    """Nodes of all trees end to end. Leaves only carry values; impurities and counts are of no use any more."""
    states = [tree.tree_.__getstate__() for tree in export.model.estimators_]
    nodes = np.concatenate([state["nodes"] for state in states])
    leaf = nodes["left_child"] < 0
    values = np.concatenate([state["values"][:, 0, :] for state in states])
    with (folder / "forest.npz").open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            sizes=np.array([state["node_count"] for state in states], dtype=np.int32),
            depths=np.array([state["max_depth"] for state in states], dtype=np.int32),
            features=np.array(export.model.n_features_in_, dtype=np.int32),
            left=nodes["left_child"].astype(np.int32),
            right=nodes["right_child"].astype(np.int32),
            feature=nodes["feature"].astype(np.int32),
            threshold=nodes["threshold"],
            missing_go_to_left=nodes["missing_go_to_left"],
            leaves=values[leaf],
        )


WRITERS: Mapping[str, Callable[[Path, MemberExport], None]] = {
    "lightgbm": _write_lightgbm,
    "catboost": _write_catboost,
    "sklearn": _write_sklearn,
    "forest": _write_forest,
    "constant": _write_constant,
    "network": _write_network,
    "reader": _write_network,
    "foundation": _write_network,
}
