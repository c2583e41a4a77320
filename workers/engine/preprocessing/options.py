"""The preprocessing part of the space. A learner adds `encoder_space(...)` to its own hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..space import Choice, Float, Hyperparameter, Int
from ..types import TaskKind

TARGET_TRANSFORM = "target_transform"  #: the hyperparameter that says in which unit regression learns


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """What the "prep_*" keys of a configuration say. The defaults are the cheapest encoding that works for all."""

    #: native: codes; native_target: codes, and target encoding where categories are many; ordinal: by frequency;
    #: onehot: the most frequent, and target encoding where there are more; target: cross-fitted target encoding
    category: str = "ordinal"
    min_frequency: int = 1  #: categories on fewer rows are "other" (not for target encoding, which shrinks them)
    max_categories: int = 24  #: one-hot columns of one category column
    smoothing: float = 10.0  #: rows that the overall mean weighs in a target encoding
    impute: str = "median"  #: median, mean, or native: missing values stay NaN
    indicators: bool = False  #: a column that says what was missing
    scale: str = "none"  #: none, standard (hard clip), robust (smooth clip), quantile (to a normal distribution)
    clip: float = 5.0  #: of scaled numbers
    text: str = "length"  #: word or char n-grams, or length only
    text_dims: int = 16
    columns: str = "all"  #: all; relevant: a share of them; products: of pairs beside them; components: principal ones
    share: float = 0.3  #: of columns that are relevant
    paired: int = 8  #: relevant columns that are multiplied with each other and themselves
    components: int = 16

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> EncoderOptions:
        """From a configuration; keys of other prefixes are not ours."""
        return cls(**{key[5:]: value for key, value in configuration.items() if key.startswith("prep_")})

    @property
    def is_scaled(self) -> bool:
        """Whether the learner minds the scale of its columns."""
        return self.scale != "none"


def encoder_space(
    *, scaled: bool, native_categories: bool, native_missing: bool, log_target: bool = True
) -> tuple[Hyperparameter, ...]:
    """Hyperparameters of preprocessing for a learner.

    Args:
        scaled: it minds scales (linear, neighbours, kernels, networks).
        native_categories: it takes category codes as they are.
        native_missing: it takes NaN.
        log_target: whether it may learn the target's logarithm.
    """
    return (
        *_category_space(scaled, native_categories),
        *_missing_space(native_missing),
        *((*_scale_space(), *_COLUMN_SPACE) if scaled else ()),
        Choice(name="prep_text", options=("word", "char", "length"), default="word"),
        Int(
            name="prep_text_dims",
            low=4,
            high=64,
            log=True,
            default=32 if scaled else 16,
            when=("prep_text", ("word", "char")),
        ),
        *((_TARGET,) if log_target else ()),
    )


_TARGET = Choice(name=TARGET_TRANSFORM, options=("none", "log"), default="none", kinds=(TaskKind.REGRESSION,))
_COLUMN_SPACE: tuple[Hyperparameter, ...] = (
    Choice(name="prep_columns", options=("all", "relevant", "products", "components"), default="all"),
    Float(name="prep_share", low=0.05, high=0.8, log=True, default=0.3, when=("prep_columns", ("relevant",))),
    Int(name="prep_paired", low=3, high=16, log=True, default=8, when=("prep_columns", ("products",))),
    Int(name="prep_components", low=4, high=64, log=True, default=16, when=("prep_columns", ("components",))),
)


def _category_space(scaled: bool, native: bool) -> tuple[Hyperparameter, ...]:
    if native:
        options: tuple[str, ...] = ("native", "native_target", "target", "ordinal")
    else:
        options = ("onehot", "target") if scaled else ("ordinal", "target", "onehot")
    targets = tuple(option for option in options if option in ("native_target", "target", "onehot"))
    merged = tuple(option for option in options if option != "target")
    space: list[Hyperparameter] = [
        Choice(name="prep_category", options=options, default=options[0]),
        Int(name="prep_min_frequency", low=1, high=50, log=True, default=3, when=("prep_category", merged)),
        Float(name="prep_smoothing", low=1.0, high=200.0, log=True, default=10.0, when=("prep_category", targets)),
    ]
    if "onehot" in options:
        when = ("prep_category", ("onehot",))
        space.append(Int(name="prep_max_categories", low=4, high=64, log=True, default=24, when=when))
    return tuple(space)


def _missing_space(native: bool) -> tuple[Hyperparameter, ...]:
    options = ("native", "median") if native else ("median", "mean")
    filled = tuple(option for option in options if option != "native")
    return (
        Choice(name="prep_impute", options=options, default=options[0]),
        Choice(name="prep_indicators", options=(True, False), default=True, when=("prep_impute", filled)),
    )


def _scale_space() -> tuple[Hyperparameter, ...]:
    return (
        Choice(name="prep_scale", options=("standard", "robust", "quantile"), default="standard"),
        Float(name="prep_clip", low=2.0, high=20.0, log=True, default=5.0, when=("prep_scale", ("standard", "robust"))),
    )
