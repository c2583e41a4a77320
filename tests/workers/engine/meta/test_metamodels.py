"""Networks that have practised: the same every time, kept in one file, at ease with what they do not know."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.workers.engine.meta.made import CONFIGURATIONS, COUNT, make_losses
from workers.engine.catalog import METAMODELS, get_metamodel
from workers.engine.errors import MetamodelError
from workers.engine.meta.evidence import Filter, factors
from workers.engine.meta.metamodel import Metamodel, SurrogateModel
from workers.engine.meta.past import OFFSET, Past
from workers.engine.meta.recollection import Recollection, Slots
from workers.engine.meta.transfer import TransferSurrogate
from workers.engine.space import FiniteSpace

SPACE = FiniteSpace(CONFIGURATIONS)
PAST = Past(CONFIGURATIONS, make_losses(30, seed=1))


def train(name: str, steps: int = 3, seed: int = 0) -> Metamodel:
    return get_metamodel(name).train(PAST, SPACE, seed=seed, steps=steps)


def gains(model: Metamodel, space: FiniteSpace = SPACE, trials: int = 5) -> np.ndarray:
    encoded = model.encode(space.configurations, space)
    tried = model.encode(space.configurations[:trials], space)
    return model.gains(tried, make_losses(1, seed=2)[0, :trials], encoded)


@pytest.mark.parametrize("name", METAMODELS)
def test_the_seed_decides_the_weights(name: str) -> None:
    before = torch.random.get_rng_state()
    one, two, other = train(name), train(name), train(name, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.weights.keys() == two.weights.keys()
    assert all(np.array_equal(one.weights[key], two.weights[key]) for key in one.weights)
    assert not all(np.array_equal(one.weights[key], other.weights[key]) for key in one.weights)


@pytest.mark.parametrize("name", METAMODELS)
def test_a_file_gives_back_the_metamodel(name: str, tmp_path: Path) -> None:
    model = train(name)
    model.save(tmp_path / "it.safetensors")
    loaded = get_metamodel(name).load(tmp_path / "it.safetensors")
    assert loaded.vocabulary == model.vocabulary
    np.testing.assert_array_equal(gains(loaded), gains(model))


@pytest.mark.parametrize(("tasks", "count"), [(1, 1), (1, 2), (2, 1), (3, 4)])
@pytest.mark.parametrize("name", METAMODELS)
def test_a_past_of_hardly_anything_is_borne(name: str, tasks: int, count: int) -> None:
    space = FiniteSpace(CONFIGURATIONS[:count])
    past = Past(CONFIGURATIONS[:count], PAST.losses[:tasks, :count])
    model = get_metamodel(name).train(past, space, seed=0, steps=4)
    assert all(np.isfinite(weights).all() for weights in model.weights.values())
    assert np.isfinite(gains(model, space, trials=1)).all()


def test_a_file_of_another_metamodel_is_refused(tmp_path: Path) -> None:
    train("rnn", steps=1).save(tmp_path / "it.safetensors")
    with pytest.raises(MetamodelError, match="rnn"):
        get_metamodel("mann").load(tmp_path / "it.safetensors")


@pytest.mark.parametrize("name", METAMODELS)
def test_slots_and_learners_that_it_never_saw_are_masked(name: str) -> None:
    model = train(name)
    assert model.vocabulary.knows(CONFIGURATIONS[0])
    assert not model.vocabulary.knows({"learner": "new"})
    appended = FiniteSpace([*CONFIGURATIONS, {"learner": "new", "depth": 3}, CONFIGURATIONS[0] | {"shape": "round"}])
    found = gains(model, appended)
    np.testing.assert_allclose(found[:COUNT], gains(model), rtol=1e-4)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", METAMODELS)
def test_any_history_is_borne(name: str) -> None:
    model = train(name)
    encoded = model.encode(CONFIGURATIONS, SPACE)
    for losses in (np.zeros(0), np.zeros(1), np.full(COUNT, 1e6), np.tile(0.5, 3 * COUNT)):
        trials = model.encode([CONFIGURATIONS[place % COUNT] for place in range(len(losses))], SPACE)
        assert np.isfinite(model.gains(trials, losses, encoded)).all()


@pytest.mark.parametrize("name", ["rnn", "mann"])
def test_surrogates_foretell_losses_better_than_the_mean_of_the_past(name: str) -> None:
    model = train(name, steps=60)
    assert isinstance(model, SurrogateModel)
    encoded, mistakes, naive = model.encode(CONFIGURATIONS, SPACE), [], []
    for row in make_losses(20, seed=3):
        trials = model.encode(CONFIGURATIONS[:10], SPACE)
        predicted = model.predict(trials, row[:10], encoded)
        logs = np.log(row + OFFSET)
        mistakes.append((predicted.mean - logs)[10:])
        naive.append((np.log(PAST.losses + OFFSET).mean(axis=0) - logs)[10:])
        assert (predicted.deviation > 0).all()
    assert np.square(mistakes).mean() < 0.3 * np.square(naive).mean()


def test_memory_written_trial_by_trial_holds_what_the_transfer_surrogate_guesses() -> None:
    losses = make_losses(60, seed=1)  # of three traits and a constant: the factors leave little out
    logs = torch.from_numpy(np.log(losses + OFFSET)).float()
    new, places = make_losses(1, seed=2)[0], [3, 8, 21]
    memory = Recollection.start(factors(logs), Slots.of(logs, OFFSET), 1)
    for place in places:
        memory, _ = memory.read(torch.tensor([place]), torch.tensor([np.log(new[place] + OFFSET)]).float())
    guessed = TransferSurrogate(Past(CONFIGURATIONS, losses)).guesses(places, new[places])
    moved = (logs + memory.traits[0] @ memory.filter.factors.loadings[:-1].T).numpy()
    assert np.corrcoef(moved.ravel(), guessed.logs.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(memory.best_regrets[0].numpy(), guessed.best_regrets, atol=1e-5)


def test_what_a_task_is_made_of_is_struck_from_its_memory() -> None:
    logs = torch.from_numpy(np.log(PAST.losses + OFFSET)).float()
    memory = Recollection.start(factors(logs), Slots.of(logs, OFFSET), 1, torch.tensor([[4, 7]]))
    assert set(torch.nonzero(memory.distances[0] > 0)[:, 0].tolist()) == {4, 7}


def test_an_unheard_configuration_tells_nothing_of_the_traits() -> None:
    before = Filter.start(factors(torch.from_numpy(np.log(PAST.losses + OFFSET)).float()), 1)
    after, _ = before.read(torch.tensor([-1]), torch.tensor([-2.0]))
    torch.testing.assert_close(after.traits, before.traits)
    torch.testing.assert_close(after.covariance, before.covariance)
    assert after.best.item() == -2.0


@pytest.mark.parametrize("name", METAMODELS)
def test_an_ask_takes_little_time(name: str) -> None:
    many = [{"learner": "ab"[number % 2], "width": number + 1.0} for number in range(219)]
    past, space = Past(many, np.random.default_rng(0).random((300, 219))), FiniteSpace(many)
    model = get_metamodel(name).train(past, space, seed=0, steps=1)
    encoded, trials = model.encode(many, space), model.encode(many[:20], space)
    taken = []
    for _ in range(10):
        start = time.perf_counter()
        model.gains(trials, np.linspace(0.1, 0.9, 20), encoded)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.1  # 0.02 on a free core
