"""The space: what is sampled is valid, and survives every way of writing it down."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.catalog import LEARNERS
from workers.engine.errors import SpaceError
from workers.engine.learners.base import Size
from workers.engine.space import Choice, Float, Int, Space, canonical
from workers.engine.types import TaskKind

KINDS = st.sampled_from(list(TaskKind))
SEEDS = st.integers(0, 2**32 - 1)


@given(KINDS, SEEDS)
def test_samples_are_valid_and_survive_encoding(kind: TaskKind, seed: int) -> None:
    space = Space(LEARNERS, kind)
    configuration = space.sample(np.random.default_rng(seed))
    assert space.validate(configuration) == configuration
    slots = space.encode(configuration)
    assert all(0.0 <= value <= 1.0 for value in slots.values())
    again = space.decode(slots)
    assert again["learner"] == configuration["learner"]
    for name, value in configuration.items():
        assert again[name] == pytest.approx(value, rel=1e-4) if isinstance(value, float) else again[name] == value


@given(KINDS, SEEDS)
def test_canonical_text_is_the_same_whatever_the_order_of_keys(kind: TaskKind, seed: int) -> None:
    configuration = Space(LEARNERS, kind).sample(np.random.default_rng(seed))
    shuffled = dict(sorted(configuration.items(), reverse=True))
    assert canonical(shuffled) == canonical(configuration)
    assert canonical(json.loads(canonical(configuration))) == canonical(configuration)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_every_hand_written_default_is_a_point_of_the_space(kind: TaskKind) -> None:
    space = Space(LEARNERS, kind)
    defaults = space.defaults()
    assert len({canonical(one) for one in defaults}) == len(defaults)
    assert {one["learner"] for one in defaults} == set(space.learners)
    assert all(space.validate(one) == one for one in defaults)


@given(st.floats(0, 1), st.booleans())
def test_numbers_stay_in_range_when_they_come_from_a_slot(unit: float, log: bool) -> None:
    real = Float(name="x", low=0.001, high=10.0, default=1.0, log=log)
    whole = Int(name="n", low=1, high=50, default=5, log=log)
    assert 0.001 <= real.from_unit(unit) <= 10.0
    assert 1 <= whole.from_unit(unit) <= 50
    assert whole.from_unit(whole.to_unit(whole.from_unit(unit))) == whole.from_unit(unit)


def test_a_wrong_value_is_named_in_the_error() -> None:
    space = Space(["linear"], TaskKind.BINARY)
    configuration = dict(space.defaults()[0])
    with pytest.raises(SpaceError, match=r"C must be a number from 0.0001 to 1000.0, not -1"):
        space.validate(configuration | {"C": -1})
    with pytest.raises(SpaceError, match="linear has no depth"):
        space.validate(configuration | {"depth": 3})
    with pytest.raises(SpaceError, match="linear needs C"):
        space.validate({name: value for name, value in configuration.items() if name != "C"})


def test_choices_do_not_take_a_number_for_a_truth() -> None:
    with pytest.raises(SpaceError):
        Choice(name="flag", options=(True, False), default=True).check(1)


def test_learners_that_decline_are_left_out_with_their_reason() -> None:
    space = Space(["svm", "linear", "naive_bayes"], TaskKind.REGRESSION, Size(rows=100_000, columns=10, classes=0))
    assert list(space.learners) == ["linear"]
    assert "rows" in space.declined["svm"]
    with pytest.raises(SpaceError, match="No algorithm is left"):
        Space(["naive_bayes"], TaskKind.REGRESSION)


def test_version_tells_spaces_apart() -> None:
    assert Space(["linear"], TaskKind.BINARY).version == Space(["linear"], TaskKind.BINARY).version
    assert Space(["linear"], TaskKind.BINARY).version != Space(["svm"], TaskKind.BINARY).version


def test_only_regression_transforms_its_target() -> None:
    regression, binary = (Space(["catboost"], kind) for kind in (TaskKind.REGRESSION, TaskKind.BINARY))
    assert regression.defaults()[0]["target_transform"] == "none"
    assert [one["target_transform"] for one in regression.defaults()].count("log") == 1
    assert len(binary.defaults()) == len(regression.defaults()) - 1
    assert not any("target_transform" in one for one in binary.defaults())
    with pytest.raises(SpaceError, match="target_transform"):
        binary.complete("catboost", {"target_transform": "log"})
