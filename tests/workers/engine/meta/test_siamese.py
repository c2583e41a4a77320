"""Embeddings of tasks: any table, in any order; the same weights from the same seed; near is where ranks agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.knowledge.traits import shared_traits
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.meta.metafeature_embedding import MetafeatureEmbedding
from workers.engine.meta.recorded import RecordedTask
from workers.engine.meta.set_encoder import NUMBERS, PREFIX, SetEncoder, shipped_encoder
from workers.engine.meta.set_training import Table, train_encoder
from workers.engine.meta.siamese import Siamese
from workers.engine.meta.siamese_training import rank_differences
from workers.engine.meta.table_sample import COLUMNS, FEATURES, ROWS, read_sample
from workers.engine.types import TaskKind

SORTS = 4


def make_columns(rows: int, numbers: int, categories: int, seed: int = 0) -> tuple[dict[str, np.ndarray], Schema]:
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {f"n{place}": rng.normal(size=rows) for place in range(numbers)}
    columns |= {f"c{place}": rng.integers(-1, 4, rows) for place in range(categories)}
    for place in range(0, numbers, 2):
        columns[f"n{place}"][: rows // 4] = np.nan
    fields = [
        Field(name, "category" if name[0] == "c" else "number", tuple("abcd") if name[0] == "c" else ())
        for name in columns
    ]
    return columns, Schema(tuple(fields))


@pytest.fixture(scope="module")
def encoder() -> SetEncoder:
    rng = np.random.default_rng(0)
    tables = [
        Table(
            rng.normal(size=(3, 60)),
            np.zeros(3, dtype=bool),
            rng.integers(0, 2 + number % 2, 60) * 1.0,
            number % 3 > 0,
            rng.normal(size=2),
        )
        for number in range(6)
    ]
    return train_encoder(tables, seed=0, steps=3)


@pytest.mark.parametrize("kind", list(TaskKind))
@pytest.mark.parametrize(("rows", "numbers", "categories"), [(2, 1, 0), (30, 0, 2), (1_000, 50, 20), (90, 4, 3)])
def test_a_table_of_any_size_is_read(
    encoder: SetEncoder, kind: TaskKind, rows: int, numbers: int, categories: int
) -> None:
    columns, schema = make_columns(rows, numbers, categories)
    y = np.arange(rows) % (3 if kind is TaskKind.MULTICLASS else 2)
    sample = read_sample(columns, schema, y, kind)
    assert sample.shape[1:] == (min(rows, ROWS), FEATURES)
    assert sample.shape[0] % min(numbers + categories, COLUMNS) == 0
    found = encoder.encode(sample)
    assert len(found) == NUMBERS
    assert all(name.startswith(PREFIX) and np.isfinite(number) for name, number in found.items())


def test_the_order_of_rows_and_columns_does_not_matter(encoder: SetEncoder) -> None:
    columns, schema = make_columns(150, 5, 3)
    y = np.random.default_rng(1).integers(0, 3, 150)
    order = np.random.default_rng(2).permutation(150)
    turned = Schema(tuple(reversed(schema.fields)))
    one = encoder.encode(read_sample(columns, schema, y, "multiclass"))
    other = encoder.encode(
        read_sample({name: values[order] for name, values in columns.items()}, turned, y[order], "multiclass")
    )
    np.testing.assert_allclose(list(one.values()), list(other.values()), atol=1e-4)


def test_an_encoder_is_kept_as_it_is(encoder: SetEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "one")
    SetEncoder.load(tmp_path / "one").save(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_shipped_encoder_tells_tables_apart_better_than_chance() -> None:
    encoder = shipped_encoder()
    assert encoder is not None
    points = []
    for seed in range(12):
        columns, schema = make_columns(400, 1 + seed, 1 + seed % 3, seed)
        y = columns["n0"] * (seed % 4) + np.random.default_rng(seed).normal(size=400) ** (1 + seed % 3)
        y = np.nan_to_num(y)
        halves = [slice(None, None, 2), slice(1, None, 2)]
        for half in halves:
            part = {name: values[half] for name, values in columns.items()}
            points.append(list(encoder.encode(read_sample(part, schema, y[half], "regression")).values()))
    distances = np.linalg.norm(np.array(points)[:, None] - np.array(points)[None], axis=2) + 1e9 * np.eye(len(points))
    assert (distances.argmin(axis=1) == np.arange(len(points)) ^ 1).mean() > 0.5


def make_tasks(count: int = 60) -> list[RecordedTask]:
    """Each sort ranks ten configurations in its own way; a trait tells the sorts apart, amid much noise."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(10) for _ in range(SORTS)]
    tasks = []
    for number in range(count):
        sort = number % SORTS
        noise = {f"noise {place}": float(rng.normal()) for place in range(12)}
        seen = {"trait": float(sort == 1), "other trait": float(sort >= 2), "third": float(sort == 3), **noise}
        losses = {str(place): float(rank) / 10 for place, rank in enumerate(orders[sort])}
        tasks.append(RecordedTask(f"g {number}", TaskKind.BINARY, seen, {}, losses))
    return tasks


def test_tasks_on_which_configurations_rank_alike_come_together() -> None:
    tasks = make_tasks(80)
    learned, judged = tasks[:60], tasks[60:]

    def right(embedding: MetafeatureEmbedding | Siamese) -> float:
        points = np.array([embedding.embed(task.metafeatures) for task in learned])
        nearest = [np.linalg.norm(points - embedding.embed(task.metafeatures), axis=1).argmin() for task in judged]
        return float(np.mean([near % SORTS == place % SORTS for place, near in enumerate(nearest, start=0)]))

    assert right(Siamese.train(learned, steps=100)) > max(0.9, right(MetafeatureEmbedding.train(learned)) + 0.05)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        Siamese.train(make_tasks(20), seed=seed, steps=5).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "same").read_bytes() != (tmp_path / "other").read_bytes()
    Siamese.load(tmp_path / "one").save(tmp_path / "again")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes()


def test_missing_and_unknown_metafeatures_are_borne() -> None:
    embedding = Siamese.train(make_tasks(20), steps=5)
    for seen in ({}, {"trait": 1.0}, {"trait": 1.0, "unheard of": 7.0}, {"noise 1": 1e300}):
        point = embedding.embed(seen)
        assert point.shape == (64,)
        assert np.isfinite(point).all()


def test_ranks_are_compared_only_where_they_can_be() -> None:
    losses = {str(place): place / 10 for place in range(6)}
    turned = {key: 0.5 - loss for key, loss in losses.items()}
    same = RecordedTask("a", TaskKind.BINARY, {}, {}, losses)
    tasks = [
        same,
        RecordedTask("b", TaskKind.MULTICLASS, {}, {}, losses),
        RecordedTask("c", TaskKind.BINARY, {}, {}, turned),
        RecordedTask("d", TaskKind.REGRESSION, {}, {}, losses),
        RecordedTask("e", TaskKind.BINARY, {}, {}, {"0": 0.1, "1": 0.2}),
    ]
    np.testing.assert_allclose(rank_differences(tasks)[0], [np.nan, 0.0, 2.0, np.nan, np.nan], atol=1e-9)


def test_numbers_that_mean_nothing_to_people_are_no_traits() -> None:
    assert shared_traits({"rows": 5.0, f"{PREFIX}00": 1.0}, {"rows": 5.0, f"{PREFIX}00": 1.0}) == ["rows"]
