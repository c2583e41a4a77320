"""Knowledge that jobs learn from: shared tasks, embeddings, metamodels, and what each job knew. Needs pgvector."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")  # refused: ask the server's administrator for it, once
    op.add_column("projects", sa.Column("shares_knowledge", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("knowledge_tasks", sa.Column("is_shared", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column(
        "knowledge_tasks",
        sa.Column("constants", postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default="{}"),
    )
    op.create_index(
        "ix_knowledge_tasks_shared",
        "knowledge_tasks",
        ["id"],
        unique=False,
        postgresql_where=sa.text("is_shared OR project_id IS NULL"),
    )
    op.add_column(
        "knowledge_evaluations", sa.Column("is_shared", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("knowledge_evaluations", sa.Column("configuration_key", sa.String(), nullable=True))
    op.create_index(
        op.f("ix_knowledge_evaluations_configuration_key"), "knowledge_evaluations", ["configuration_key"], unique=False
    )
    op.create_index(
        "ix_knowledge_evaluations_tried", "knowledge_evaluations", ["task_id", "configuration_key"], unique=False
    )
    op.create_table(
        "metamodels",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("blob_key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("learned_from", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("replay", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metamodels")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_metamodels_name_version")),
    )
    op.create_index(
        "ix_metamodels_champion",
        "metamodels",
        ["role"],
        unique=True,
        postgresql_where=sa.text("state = 'champion'"),
    )
    op.create_table(
        "knowledge_embeddings",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("metamodel_id", sa.Uuid(), nullable=False),
        sa.Column("embedding", Vector(), nullable=False),
        sa.ForeignKeyConstraint(
            ["metamodel_id"],
            ["metamodels.id"],
            name=op.f("fk_knowledge_embeddings_metamodel_id_metamodels"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["knowledge_tasks.id"],
            name=op.f("fk_knowledge_embeddings_task_id_knowledge_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", "metamodel_id", name=op.f("pk_knowledge_embeddings")),
    )
    op.create_index(
        op.f("ix_knowledge_embeddings_metamodel_id"), "knowledge_embeddings", ["metamodel_id"], unique=False
    )
    op.create_table(
        "knowledge_archives",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_knowledge_archives")),
    )
    op.create_table(
        "job_knowledge",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("blob_key", sa.String(), nullable=True),
        sa.Column("summary", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_knowledge_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_knowledge")),
    )


def downgrade() -> None:
    op.drop_table("job_knowledge")
    op.drop_table("knowledge_archives")
    op.drop_index(op.f("ix_knowledge_embeddings_metamodel_id"), table_name="knowledge_embeddings")
    op.drop_table("knowledge_embeddings")
    op.drop_index("ix_metamodels_champion", table_name="metamodels", postgresql_where=sa.text("state = 'champion'"))
    op.drop_table("metamodels")
    op.drop_index(op.f("ix_knowledge_evaluations_configuration_key"), table_name="knowledge_evaluations")
    op.drop_index("ix_knowledge_evaluations_tried", table_name="knowledge_evaluations")
    op.drop_column("knowledge_evaluations", "configuration_key")
    op.drop_column("knowledge_evaluations", "is_shared")
    op.drop_index(
        "ix_knowledge_tasks_shared",
        table_name="knowledge_tasks",
        postgresql_where=sa.text("is_shared OR project_id IS NULL"),
    )
    op.drop_column("knowledge_tasks", "constants")
    op.drop_column("knowledge_tasks", "is_shared")
    op.drop_column("projects", "shares_knowledge")
