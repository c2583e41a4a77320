"""The engine's errors. They know no HTTP; the service maps `code` to a status."""

from __future__ import annotations


class EngineError(Exception):
    """Base of all. `code` is stable and travels to the job row; the message says what to change."""

    code = "engine_error"


class TableError(EngineError, ValueError):
    """The file can't be read as a table, or the table can't be used."""

    code = "unreadable_table"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class TaskError(EngineError, ValueError):
    """The table can't answer the question: target missing, one class, too few rows, …"""

    code = "unusable_task"


class SpaceError(EngineError, ValueError):
    """A configuration is not a point of the space, or nothing is left of the space."""

    code = "invalid_configuration"


class NoModelError(EngineError):
    """The budget ended before any trial had a score."""

    code = "no_model"


class BundleError(EngineError, ValueError):
    """A bundle is damaged, of an unknown format, or contains what a bundle may not contain."""

    code = "invalid_bundle"


class MetamodelError(EngineError, ValueError):
    """A file does not hold the metamodel that it should."""

    code = "invalid_metamodel"
