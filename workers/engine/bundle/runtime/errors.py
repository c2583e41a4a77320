"""What can go wrong with a bundle or with rows. Plain ValueErrors, so that a bundle needs nothing of ours."""

from __future__ import annotations


class BundleProblem(ValueError):
    """The bundle is damaged, of an unknown format, or contains what a bundle may not contain."""


class RowsProblem(ValueError):
    """Rows do not fit the schema. `errors` holds one {"pointer", "detail"} a problem, at most 100."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        first = errors[0] if errors else {"pointer": "", "detail": "invalid rows"}
        super().__init__(f"{first['pointer']}: {first['detail']}")
        self.errors = errors


class BadValue(ValueError):
    """One value can't be read as its column's kind. The message says what to send instead."""
