"""Encoders: finite, the same for one row and many, the same after a round trip, and no leak of a row's own target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.bundle.runtime.encoder import Encoder
from workers.engine.bundle.runtime.errors import BundleProblem
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.preprocessing.options import encoder_space
from workers.engine.types import TaskKind

N = 400
TOWNS = tuple(f"{name} {number}" for name in ("Springfield", "Rivertown") for number in range(80))
SCHEMA = Schema(
    (
        Field("size", "number"),
        Field("heavy", "number"),
        Field("empty", "number"),
        Field("flag", "boolean"),
        Field("born", "datetime"),
        Field("died", "datetime"),
        Field("colour", "category", ("red", "green", "blue", "never")),
        Field("town", "category", TOWNS),
        Field("note", "text"),
    )
)
NUMBERS = Schema(tuple(Field(name, "number") for name in "abcde"))


def make_columns(seed: int = 0, n: int = N) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    holes = rng.random((3, n)) < 0.15
    return {
        "size": np.where(holes[0], np.nan, rng.normal(10, 3, n)),
        "heavy": rng.standard_cauchy(n) * 1e6,
        "empty": np.full(n, np.nan),
        "flag": np.where(holes[1], np.nan, rng.integers(0, 2, n).astype(float)),
        "born": np.where(holes[2], np.nan, rng.uniform(0, 1e9, n)),
        "died": rng.uniform(1e9, 1.6e9, n),
        "colour": rng.integers(-1, 3, n).astype(np.int32),
        "town": rng.integers(-1, len(TOWNS), n).astype(np.int32),
        "note": np.array([" ".join(rng.choice(["good", "bad", "fair", "tea"], 3)) for _ in range(n)], dtype=object),
    }


COLUMNS = make_columns()
LABELS = np.random.default_rng(1).integers(0, 3, N)


def fit(options: dict[str, Any], kind: TaskKind = TaskKind.MULTICLASS, schema: Schema = SCHEMA, **more: Any) -> Any:
    columns = more.get("columns", COLUMNS)
    y = more.get("y", LABELS if kind == TaskKind.MULTICLASS else (LABELS > 0).astype(int))
    return fit_encoder(options, schema, columns, y, kind, int(y.max()) + 1, 0)


def only(name: str) -> Schema:
    return Schema((SCHEMA.field(name),))


ALL_OPTIONS = [
    {},
    {"prep_category": "native", "prep_impute": "native", "prep_text": "word"},
    {"prep_category": "native_target", "prep_impute": "median", "prep_indicators": True, "prep_text": "char"},
    {"prep_category": "target", "prep_smoothing": 1.0, "prep_impute": "mean"},
    *(
        {"prep_category": category, "prep_scale": scale, "prep_clip": 4.0, "prep_text": "word", "prep_text_dims": 4}
        for category in ("onehot", "target")
        for scale in ("standard", "robust", "quantile")
    ),
    *(
        {"prep_scale": "standard", "prep_category": "onehot", "prep_columns": columns, **numbers}
        for columns, numbers in (
            ("relevant", {"prep_share": 0.2}),
            ("products", {"prep_paired": 5}),
            ("components", {"prep_components": 6}),
        )
    ),
]


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_encoder_is_sound_whatever_the_options(options: dict[str, Any], tmp_path: Path) -> None:
    encoder, X = fit(options)
    assert X.dtype == np.float32
    assert X.shape == encoder.transform(COLUMNS).shape
    again = encoder.transform(COLUMNS)
    native = options.get("prep_impute") == "native"
    assert native or (np.isfinite(X).all() and np.isfinite(again).all())
    if options.get("prep_category") in (None, "native"):
        before = encoder.width - sum(part.width for part in encoder.texts)  # texts are cross-fitted
        np.testing.assert_array_equal(X[:, :before], again[:, :before])
    encoder.save(tmp_path)
    loaded = Encoder.load(tmp_path)
    fresh = make_columns(seed=5, n=40)
    fresh["colour"][:5], fresh["town"][:5], fresh["note"][:5] = 4, len(TOWNS), ""
    whole = loaded.transform(fresh)
    np.testing.assert_array_equal(whole, encoder.transform(fresh))
    rows = [loaded.transform({name: column[[row]] for name, column in fresh.items()}) for row in range(40)]
    np.testing.assert_array_equal(np.concatenate(rows), whole)


def test_same_seed_gives_the_same_encoder() -> None:
    options = ALL_OPTIONS[2]
    np.testing.assert_array_equal(fit(options)[1], fit(options)[1])


@pytest.mark.parametrize("scale", ["standard", "robust", "quantile"])
def test_numbers_are_of_order_one_when_scaled_even_with_outliers(scale: str) -> None:
    _, X = fit({"prep_scale": scale, "prep_clip": 5.0}, schema=only("heavy"))
    assert np.abs(X).max() <= 5.0
    assert 0.1 < X.std() < 2.0


def test_missing_numbers_stay_missing_when_impute_is_native() -> None:
    _, X = fit({"prep_impute": "native"}, schema=only("size"))
    np.testing.assert_array_equal(np.isnan(X[:, 0]), np.isnan(COLUMNS["size"]))


def test_missing_numbers_become_the_median_with_an_indicator() -> None:
    encoder, X = fit({"prep_impute": "median", "prep_indicators": True}, schema=only("size"))
    missing = np.isnan(COLUMNS["size"])
    assert encoder.width == 2
    np.testing.assert_array_equal(X[:, 1], missing)
    assert set(X[missing, 0]) == {np.float32(np.nanmedian(COLUMNS["size"]))}


def test_dates_become_calendar_parts_and_spans() -> None:
    schema = Schema((Field("born", "datetime"), Field("died", "datetime")))
    moments = np.array(["2020-02-29T12:00", "2021-12-31T00:00"], dtype="datetime64[s]").astype(float)
    columns = {"born": moments, "died": moments + 86_400 * np.array([1.0, 3.0])}
    encoder, X = fit({}, schema=schema, columns=columns, y=np.array([0, 1]), kind=TaskKind.BINARY)
    (_, _, features), *_ = encoder.numbers.dates
    found = dict(zip(features, X[0], strict=False))
    assert (found["year"], found["month"], found["day"], found["weekday"]) == (2020, 2, 29, 5)
    assert (found["hour"], found["yearday"]) == (12, 60)
    assert X[:, -1].tolist() == [1.0, 3.0]


def test_seconds_of_a_date_are_told_apart_in_float32() -> None:
    schema = Schema((Field("born", "datetime"),))
    columns = {"born": 1.7e9 + np.arange(100.0)}
    _, X = fit({}, schema=schema, columns=columns, y=np.arange(100) % 2, kind=TaskKind.BINARY)
    assert len(np.unique(X[:, 0])) == 100


def test_native_codes_are_ranks_by_frequency_with_places_for_rare_and_missing() -> None:
    codes = np.array([0] * 5 + [1] * 10 + [2] + [-1] * 2, dtype=np.int32)
    encoder, X = fit(
        {"prep_category": "native", "prep_min_frequency": 2}, schema=only("colour"), columns={"colour": codes},
        y=np.arange(18) % 2, kind=TaskKind.BINARY,
    )  # fmt: skip
    assert encoder.categorical == (0,)
    assert X[:, 0].tolist() == [1] * 5 + [0] * 10 + [2] + [3] * 2
    assert encoder.transform({"colour": np.array([4, 3], dtype=np.int32)})[:, 0].tolist() == [2, 2]


def test_one_hot_merges_rare_categories_and_marks_missing_ones() -> None:
    codes = np.array([0] * 9 + [1] * 6 + [2] + [-1] * 4, dtype=np.int32)
    encoder, X = fit(
        {"prep_category": "onehot", "prep_min_frequency": 2, "prep_scale": "standard"}, schema=only("colour"),
        columns={"colour": codes}, y=np.arange(20) % 2, kind=TaskKind.BINARY,
    )  # fmt: skip
    assert X.sum(axis=0).tolist() == [9, 6, 1, 4]
    unseen = encoder.transform({"colour": np.array([4], dtype=np.int32)})
    assert unseen.tolist() == [[0, 0, 1, 0]]


def test_many_categories_are_target_encoded_beside_one_hot() -> None:
    encoder, _ = fit({"prep_category": "onehot", "prep_max_categories": 8}, schema=only("town"))
    assert encoder.width == 8 + 1 + 1 + 3  # kept, other, missing, a mean for each class


def test_target_encoding_does_not_leak_when_categories_say_nothing() -> None:
    rng = np.random.default_rng(3)
    schema = Schema((Field("id", "category", tuple(map(str, range(200)))),))
    columns = {"id": rng.integers(0, 200, 400).astype(np.int32)}
    y = rng.integers(0, 2, 400)
    options = {"prep_category": "target", "prep_smoothing": 1.0}
    encoder, X = fit(options, schema=schema, columns=columns, y=y, kind=TaskKind.BINARY)
    leaked = np.corrcoef(encoder.transform(columns)[:, 0], y)[0, 1]
    assert leaked > 0.5
    assert np.corrcoef(X[:, 0], y)[0, 1] < 0.1


def test_target_encoding_equals_the_plain_formula() -> None:
    codes = np.array([0, 0, 0, 1], dtype=np.int32)
    y = np.array([1.0, 2.0, 6.0, 11.0])
    encoder, _ = fit_encoder(
        {"prep_category": "target", "prep_smoothing": 2.0}, only("colour"), {"colour": codes}, y,
        TaskKind.REGRESSION, 0, 0,
    )  # fmt: skip
    found = encoder.transform({"colour": np.array([0, 1, 4, -1], dtype=np.int32)})[:, 0]
    assert found.tolist() == pytest.approx([(9 + 2 * 5) / 5, (11 + 2 * 5) / 3, 5.0, 5.0])


def test_frequency_stands_in_when_classes_are_many() -> None:
    encoder, _ = fit({"prep_category": "target"}, schema=only("colour"), y=np.arange(N) % 40)
    assert encoder.width == 2


def test_spelling_of_many_worded_categories_is_read() -> None:
    without, _ = fit({"prep_category": "native", "prep_text": "length"}, schema=only("town"))
    encoder, X = fit({"prep_category": "native", "prep_text": "word"}, schema=only("town"))
    assert without.width == 1
    assert encoder.width > 2
    spring = (COLUMNS["town"] >= 0) & (COLUMNS["town"] < 80)
    river = COLUMNS["town"] >= 80
    gaps = np.abs(X[spring, 1:].mean(axis=0) - X[river, 1:].mean(axis=0))
    assert gaps.max() > 0.1


def test_a_text_that_tells_the_target_has_a_direction_that_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    words = np.array([f"word{place}" for place in range(400)])
    texts = np.array([" ".join(rng.choice(words, 12)) for _ in range(600)], dtype=object)
    y = np.array([sum(int(word[4:]) % 2 for word in text.split()) for text in texts], dtype=np.float64)
    options = {"prep_text": "word", "prep_text_dims": 4}
    schema, columns = only("note"), {"note": texts[:400]}
    encoder, X = fit_encoder(options, schema, columns, y[:400], TaskKind.REGRESSION, 0, 0)
    assert X.shape == (400, 1 + 4 + 2)
    held_out = encoder.transform({"note": texts[400:]})
    assert np.corrcoef(held_out[:, 0], y[400:])[0, 1] > 0.6
    assert abs(np.corrcoef(held_out[:, 1], y[400:])[0, 1]) < 0.5


def test_the_direction_of_a_target_does_not_leak_when_texts_say_nothing() -> None:
    rng = np.random.default_rng(8)
    texts = np.array([" ".join(f"word{place}" for place in rng.integers(0, 900, 8)) for _ in range(300)], dtype=object)
    y = rng.integers(0, 2, 300)
    columns = {"note": texts}
    encoder, X = fit({"prep_text": "word"}, schema=only("note"), columns=columns, y=y, kind=TaskKind.BINARY)
    assert np.corrcoef(encoder.transform(columns)[:, 0], y)[0, 1] > 0.5
    assert np.corrcoef(X[:, 0], y)[0, 1] < 0.1


@pytest.mark.parametrize("texts", [[""] * 30, ["!!! ???"] * 30, ["a b c"] * 30, [str(i) for i in range(30)]])
def test_text_is_encoded_when_it_holds_next_to_nothing(texts: list[str]) -> None:
    columns = {"note": np.array(texts, dtype=object)}
    for option in ("word", "char", "length"):
        options = {"prep_text": option, "prep_scale": "standard"}
        _, X = fit(options, schema=only("note"), columns=columns, y=np.arange(30) % 2, kind=TaskKind.BINARY)
        assert np.isfinite(X).all()


@settings(max_examples=40)
@given(
    numbers=st.lists(st.floats(allow_infinity=False) | st.none(), min_size=2, max_size=12),
    options=st.sampled_from(ALL_OPTIONS),
)
def test_any_finite_numbers_encode_to_finite_ones(numbers: list[float | None], options: dict[str, Any]) -> None:
    values = np.array([np.nan if value is None else value for value in numbers])
    y = np.arange(len(values)) % 2
    _, X = fit(options, schema=only("size"), columns={"size": values}, y=y, kind=TaskKind.BINARY)
    assert not np.isinf(X).any()
    if options.get("prep_impute") != "native":
        assert np.isfinite(X).all()


@pytest.mark.parametrize(
    "content", ["", "{}", '{"numbers": {"bogus": 1}, "tables": null, "texts": [], "categorical": []}']
)
def test_encoder_is_refused_when_its_files_are_damaged(content: str, tmp_path: Path) -> None:
    fit({})[0].save(tmp_path)
    (tmp_path / "encoder.json").write_text(content)
    with pytest.raises(BundleProblem):
        Encoder.load(tmp_path)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("native", [True, False])
def test_space_of_options_is_valid_and_defaults_encode(scaled: bool, native: bool) -> None:
    space = encoder_space(scaled=scaled, native_categories=native, native_missing=native)
    names = [hyperparameter.name for hyperparameter in space]
    assert len(set(names)) == len(names)
    assert ("prep_scale" in names) == scaled
    encoder, X = fit({hyperparameter.name: hyperparameter.default for hyperparameter in space})
    assert X.shape[1] == encoder.width
    assert bool(encoder.categorical) == native


def test_relevant_columns_are_those_that_tell_of_the_target() -> None:
    columns = {field.name: np.random.default_rng(3).normal(size=N) for field in NUMBERS.fields}
    y = (columns["c"] > 0).astype(int)
    encoder, X = fit_encoder(
        {"prep_scale": "standard", "prep_columns": "relevant", "prep_share": 0.1},
        NUMBERS,
        columns,
        y,
        TaskKind.BINARY,
        2,
        0,
    )
    assert X.shape == (N, 1)
    assert abs(np.corrcoef(X[:, 0], columns["c"])[0, 1]) > 0.99
    assert encoder.transform(columns) == pytest.approx(X)


def test_products_let_a_linear_model_see_what_two_columns_say_together() -> None:
    columns = {field.name: np.random.default_rng(3).normal(size=N) for field in NUMBERS.fields}
    y = columns["a"] * columns["b"] + 0.1 * columns["a"]
    options = {"prep_scale": "standard", "prep_columns": "products", "prep_paired": 5}
    plain, with_products = (
        fit_encoder(one, NUMBERS, columns, y, TaskKind.REGRESSION, 0, 0)[1]
        for one in ({"prep_scale": "standard"}, options)
    )
    assert with_products.shape[1] == len(NUMBERS.fields) + 15
    errors = []
    for X in (plain, with_products):
        solution = np.linalg.lstsq(np.c_[X, np.ones(N)], y, rcond=None)[0]
        errors.append(np.var(y - np.c_[X, np.ones(N)] @ solution))
    assert errors[1] < 0.1 * errors[0]


def test_components_keep_most_of_what_varies() -> None:
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5))
    columns = {field.name: hidden[:, place] for place, field in enumerate(NUMBERS.fields)}
    options = {"prep_scale": "standard", "prep_columns": "components", "prep_components": 4}
    _, X = fit_encoder(options, NUMBERS, columns, LABELS, TaskKind.MULTICLASS, 3, 0)
    assert X.shape == (N, 4)
    assert X[:, :2].var(axis=0).sum() > 0.98 * X.var(axis=0).sum()
