"""What every trial process starts with: libraries imported, nothing computed: OpenMP must not run before a fork.

Imported by the template process only. It is a subreaper: what a trial abandons becomes its child and is found. It ends
with the process that started it, and takes every descendant along, whatever session that has fled to.
"""

# ruff: noqa: E402 - the thread variables count only if set before the libraries are loaded

import atexit
import ctypes
import os
import signal
import warnings
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import catboost
import lightgbm
import numpy
import pyarrow
import sklearn.calibration
import sklearn.discriminant_analysis
import sklearn.ensemble
import sklearn.feature_extraction.text
import sklearn.linear_model
import sklearn.naive_bayes
import sklearn.neighbors
import sklearn.svm
import skops.io
import torch

from ..bundle.runtime import readers
from ..learners import adamw, network_module
from . import child, trial
from .processes import kill_children

__all__ = [
    "adamw",
    "catboost",
    "child",
    "lightgbm",
    "network_module",
    "numpy",
    "pyarrow",
    "readers",
    "sklearn",
    "skops",
    "torch",
    "trial",
]


def _end(number: int, frame: Any) -> None:
    kill_children(os.getpid())
    os._exit(0)


# The owner's end shows as SIGTERM, or first as the end of the forkserver's pipe, which exits in order.
signal.signal(signal.SIGTERM, _end)
atexit.register(kill_children, os.getpid())
ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
# Adopted orphans are reaped by the forkserver, which wonders where they come from.
warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
