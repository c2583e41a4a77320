"""What a human should know of a table before trusting a model of it. Codes are stable.

constant, id_like, duplicate_column, rare_class, high_missing, infinite_values, mixed_types, renamed_column; given a
target also leaking (`leaks.target_alerts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..types import ColumnKind
from .values import Values

_HIGH_MISSING = 0.5
_RARE_ROWS = 5
_RARE_CLASSES = 20  # columns with more classes always have rare ones
_SEVERITIES = {
    "constant": "info",
    "id_like": "info",
    "duplicate_column": "warning",
    "rare_class": "info",
    "high_missing": "info",
    "infinite_values": "warning",
    "mixed_types": "warning",
    "renamed_column": "info",
    "leaking": "warning",
}


def make_alert(code: str, column: str, detail: str, **extra: Any) -> dict[str, Any]:
    """One alert: code, column, severity (info or warning), detail, and what else the code has."""
    return {"code": code, "column": column, "severity": _SEVERITIES[code], "detail": detail, **extra}


def file_alerts(renamed: Mapping[str, str], broken: Mapping[str, str]) -> list[dict[str, Any]]:
    """What reading the file had to decide."""
    alerts = [
        make_alert("renamed_column", new, f"Was called {old!r} in the file; names must be unique and not empty.")
        for new, old in renamed.items()
    ]
    return alerts + [
        make_alert(
            "mixed_types",
            name,
            f"Numbers but for {value!r}: kept as text. Make its kind number to read that as missing."
        )
        for name, value in broken.items()
    ]  # fmt: skip


def column_alerts(info: Mapping[str, Any], values: Values) -> list[dict[str, Any]]:
    """What one column by itself gives away."""
    name, kind, alerts = info["name"], info["kind"], []
    if kind == ColumnKind.CONSTANT:
        what = "Holds no value at all." if len(values.distinct) == 0 else "Holds one value in every row."
        alerts.append(make_alert("constant", name, f"{what} It is not used as a feature."))
    if kind == ColumnKind.ID:
        alerts.append(make_alert("id_like", name, "Different in (nearly) every row. It is not used as a feature."))
    share = values.missing / max(1, values.rows)
    if share >= _HIGH_MISSING and kind != ColumnKind.CONSTANT:
        alerts.append(make_alert("high_missing", name, f"{share:.0%} of its values are missing.", share=share))
    if values.type == "number" and (infinite := int(values.counts[np.isinf(values.distinct)].sum())):
        alerts.append(
            make_alert(
                "infinite_values", name, f"{infinite:,} values are infinite; they count as missing.", rows=infinite
            )
        )
    if kind in (ColumnKind.CATEGORY, ColumnKind.BOOLEAN) and len(values.distinct) <= _RARE_CLASSES:
        alerts += rare_classes(name, values, "info")
    return alerts


def rare_classes(name: str, values: Values, severity: str) -> list[dict[str, Any]]:
    """An alert if some values stand in fewer than five rows."""
    rare = np.flatnonzero(values.counts < _RARE_ROWS)
    if len(rare) == 0:
        return []
    listed = ", ".join(repr(label[:40]) for label in values.labels(rare[:5])) + (", …" if len(rare) > 5 else "")
    alert = make_alert("rare_class", name, f"Seen in fewer than {_RARE_ROWS} rows: {listed}.")
    return [{**alert, "severity": severity}]
