"""Dates as numbers: time since an origin, calendar parts, and their places on a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DAY_S = 86_400.0
#: part -> length of its cycle
CYCLES = {"month": 12.0, "day": 31.0, "weekday": 7.0, "hour": 24.0, "yearday": 366.0}
PARTS = ("days", "year", *CYCLES)


def date_features(seconds: Array, origin: float, features: Sequence[str]) -> Array:
    """Features of moments, float64 (n, len(features)); NaN where the moment is.

    `seconds` are since 1970 UTC, (n,). A feature is one of PARTS, or one of CYCLES with ":sin" or ":cos". "days" counts
    from `origin` (seconds) so that float32 keeps seconds apart.
    """
    missing = np.isnan(seconds)
    parts = _calendar(np.where(missing, origin, seconds), origin)
    out = np.empty((len(seconds), len(features)))
    for place, feature in enumerate(features):
        part, _, wave = feature.partition(":")
        values = parts[part]
        if wave:
            angle = 2 * np.pi * values / CYCLES[part]
            values = np.sin(angle) if wave == "sin" else np.cos(angle)
        out[:, place] = values
    out[missing] = np.nan
    return out


def _calendar(seconds: Array, origin: float) -> dict[str, Array]:
    days = np.floor(seconds / DAY_S).astype(np.int64)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    years = dates.astype("datetime64[Y]")
    return {
        "days": (seconds - origin) / DAY_S,
        "year": years.astype(np.int64) + 1970,
        "month": (months - years.astype("datetime64[M]")).astype(np.int64) + 1,
        "day": (dates - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "weekday": (days + 3) % 7,
        "hour": (seconds - days * DAY_S) / 3600.0,
        "yearday": (dates - years.astype("datetime64[D]")).astype(np.int64) + 1,
    }
