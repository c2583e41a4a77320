"""The in-context transformer: what it must not depend on, and that practice makes it better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from workers.engine.bundle.runtime.in_context import InContextTask
from workers.engine.meta.in_context_network import BUCKETS, GROUP, PLACES, InContextNetwork
from workers.engine.meta.in_context_training import Shape, draw, load, pretrain

SMALL = Shape(width=16, heads=2, blocks=2)


def make_network() -> InContextNetwork:
    torch.manual_seed(0)
    network = InContextNetwork(width=16, heads=2, blocks=2)
    for parameter in network.parameters():  # what is zero at first would hide what is mixed up
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def answer(network: InContextNetwork, X: torch.Tensor, y: torch.Tensor, classes: int) -> torch.Tensor:
    with torch.no_grad():
        return network(X, y, classes, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("classes", [0, 3])
def test_neither_the_order_of_rows_nor_other_questions_matter(classes: int) -> None:
    network, X = make_network(), torch.randn(2, 20, 5)
    y = torch.randint(0, 3, (2, 12)) if classes else torch.randn(2, 12)
    found = answer(network, X, y, classes)
    assert found.shape == (2, 8, classes or BUCKETS)
    order = torch.randperm(12)
    shuffled = answer(network, torch.cat([X[:, :12][:, order], X[:, 12:]], 1), y[:, order], classes)
    torch.testing.assert_close(shuffled, found, atol=1e-4, rtol=1e-4)
    alone = answer(network, X[:, :13], y, classes)
    torch.testing.assert_close(alone, found[:, :1], atol=1e-4, rtol=1e-4)


def test_units_of_columns_do_not_matter() -> None:
    network, X, y = make_network(), torch.randn(1, 20, 4), torch.randint(0, 2, (1, 14))
    scaled = X * torch.tensor([1e3, 1e-2, 5.0, 1.0]) + torch.tensor([7.0, 0.0, -40.0, 0.0])
    torch.testing.assert_close(answer(network, scaled, y, 2), answer(network, X, y, 2), atol=1e-3, rtol=1e-3)


def test_a_step_depends_on_seed_and_number_alone() -> None:
    one, other = draw(3, 17), draw(3, 17)
    torch.testing.assert_close(one.X, other.X)
    assert (one.labelled, one.classes) == (other.labelled, other.classes)
    assert draw(3, 18).X.shape != one.X.shape or not torch.equal(draw(3, 18).X, one.X)


def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path) -> None:
    for step in pretrain(tmp_path / "whole", SMALL, steps=6, seed=1):
        assert np.isfinite(step.loss)
    begun = pretrain(tmp_path / "cut", SMALL, steps=6, seed=1, save_every_s=0)
    for _ in range(3):
        next(begun)
    begun.close()
    assert [step.number for step in pretrain(tmp_path / "cut", SMALL, steps=6, seed=1)] == [4, 5, 6]
    one, other = (load(tmp_path / name).state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    list(pretrain(tmp_path, SMALL, steps=2, seed=1))
    with pytest.raises(ValueError, match="another run"):
        list(pretrain(tmp_path, replace(SMALL, blocks=1), steps=2, seed=1))


@pytest.mark.parametrize(("classes", "columns"), [(0, 5), (3, 4), (2, 1)])
def test_numpy_answers_as_torch_does(classes: int, columns: int) -> None:
    network = make_network()
    X = torch.randn(1, 30, columns)
    X[:, :, 0] = 3.0  # says nothing
    y = torch.randint(0, classes, (1, 18)) if classes else torch.randn(1, 18)
    expected = torch.softmax(answer(network, X, y, classes), -1)[0].numpy()
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    places = torch.randn(-(-columns // GROUP), PLACES, generator=torch.Generator().manual_seed(0)).numpy()
    task = InContextTask(weights, 2, X[0, :18].numpy(), y[0].numpy(), classes, places)
    np.testing.assert_allclose(task.predict(X[0, 18:].numpy()), expected, atol=2e-5)
