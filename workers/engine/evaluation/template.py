"""What every trial process starts with: libraries imported, nothing computed: OpenMP must not run before a fork.

Imported by the template process only. It ends with the process that started it; trials end with the template.
"""

import ctypes
import signal

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

from . import child

_PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

__all__ = ["catboost", "child", "lightgbm", "numpy", "pyarrow", "sklearn", "skops", "torch"]
