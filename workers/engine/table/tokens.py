"""How people write "no value"."""

from __future__ import annotations

from typing import Final

#: Missing in every column of a text format.
MISSING: Final = frozenset(
    {"", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "-nan", "null", "NULL", "Null", "?", "#N/A", "#NA", "<NA>", "NaT"}
)
#: Missing where the rest of the column is numbers or dates; a word like any other elsewhere.
MISSING_NUMBER: Final = frozenset({".", "..", "-", "--", "na", "None", "none", "NONE", "missing", "nil", "#DIV/0!"})
