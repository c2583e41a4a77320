"""The configuration space. Light: the service imports it too."""

from .finite import FiniteSpace, SearchSpace
from .hyperparameters import Choice, Condition, Float, Hyperparameter, Int, is_active
from .space import Space, canonical

__all__ = [
    "Choice",
    "Condition",
    "FiniteSpace",
    "Float",
    "Hyperparameter",
    "Int",
    "SearchSpace",
    "Space",
    "canonical",
    "is_active",
]
