"""scikit-learn estimators by skops, only of types that are known to do nothing but predict."""

from __future__ import annotations

import sys
from typing import Any

from .errors import BundleProblem

#: Beyond what skops itself holds for safe (scikit-learn's public estimators, numpy's and Python's plain containers).
#: What is in neither is refused before anything is built.
ALLOWED_TYPES = frozenset(
    {
        "sklearn._loss._loss.CyAbsoluteError",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyHalfPoissonLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)


class _NoTorch:
    """A finder that finds no torch."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Refuse torch; leave the rest to others."""
        if name == "torch":
            raise ModuleNotFoundError(name)


def import_skops() -> Any:
    """skops.io. It imports every module of scikit-learn, one of which takes torch along where that is installed.

    Nothing here needs torch, which would take two seconds and 200 MB.
    """
    sys.meta_path.insert(0, _NoTorch)
    try:
        import skops.io
    finally:
        sys.meta_path.remove(_NoTorch)
    return skops.io


def load_estimator(data: bytes) -> Any:
    """The estimator in a skops file.

    Raises:
        BundleProblem: it names a type that is not allowed, or is damaged.
    """
    skops = import_skops()
    try:
        untrusted = frozenset(skops.get_untrusted_types(data=data))
    except Exception as error:  # a damaged file fails in as many ways as it has parts
        raise BundleProblem(f"not a skops file: {error!r}") from error
    if refused := sorted(untrusted - ALLOWED_TYPES):
        raise BundleProblem(f"the bundle contains types that it may not contain: {', '.join(refused)}")
    return skops.loads(data, trusted=sorted(untrusted))
