"""Alembic: one reviewed revision a schema change."""
