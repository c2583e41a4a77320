"""The configuration space. Light: the service imports it too."""

from .hyperparameters import Choice, Condition, Float, Hyperparameter, Int, is_active
from .mutation import mutated
from .space import Space, canonical, encode

__all__ = [
    "Choice",
    "Condition",
    "Float",
    "Hyperparameter",
    "Int",
    "Space",
    "canonical",
    "encode",
    "is_active",
    "mutated",
]
