"""Jobs that train metamodels: they have no dataset."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("purpose", sa.String(), nullable=False, server_default="solve"))
    op.alter_column("jobs", "dataset_id", existing_type=sa.Uuid(), nullable=True)
    op.create_check_constraint(op.f("ck_jobs_has_dataset"), "jobs", "purpose <> 'solve' OR dataset_id IS NOT NULL")

    op.create_index("ix_jobs_training", "jobs", ["id"], unique=False, postgresql_where=sa.text("purpose = 'train'"))


def downgrade() -> None:
    op.drop_index("ix_jobs_training", table_name="jobs", postgresql_where=sa.text("purpose = 'train'"))
    op.execute("DELETE FROM jobs WHERE purpose <> 'solve'")
    op.drop_constraint(op.f("ck_jobs_has_dataset"), "jobs")
    op.alter_column("jobs", "dataset_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_column("jobs", "purpose")
