"""Text that clients send: bounded, and without NUL, which PostgreSQL can't hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

#: Names and labels.
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
#: A column of somebody's table: whatever they call it.
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
