"""Networks that read: what they must not depend on, what they say at first, and that they practise repeatably."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from workers.engine.bundle.runtime.episode import CELL, ROW, SAID, Episode, class_targets
from workers.engine.bundle.runtime.readers import FORMS
from workers.engine.bundle.runtime.reading import ReadTable, log_chance
from workers.engine.bundle.runtime.views import View, Views
from workers.engine.meta.reading.in_context import GROUP, PLACES
from workers.engine.meta.reading.network import BUCKETS, Batch, ReadingNetwork, _log_chance
from workers.engine.meta.reading.training import KINDS, as_shipped, draw, load, pretrain

SMALL: dict[str, dict[str, int]] = {
    "in_context": {"width": 16, "heads": 2, "blocks": 2},
    "matching": {"width": 16},
    "siamese": {"width": 16},
    "rnn": {"width": 16, "units": 24},
    "mann": {"width": 16, "slots": 8},
    "lstm_learner": {"width": 16, "units": 6, "steps": 3},
    "maml": {"width": 16, "units": 6, "steps": 3},
    "reptile": {"width": 16, "units": 6, "steps": 3},
}


def make_network(name: str, std: float = 0.3) -> ReadingNetwork:
    torch.manual_seed(0)
    network = KINDS[name].network(**SMALL[name])
    if std:
        for parameter in network.parameters():  # what is zero at first would hide what is mixed up
            torch.nn.init.normal_(parameter, std=std)
    return network.eval()


def answer(network: ReadingNetwork, cells: torch.Tensor, rows: torch.Tensor, labelled: int) -> torch.Tensor:
    with torch.no_grad():
        return network.values(*network(cells, rows, labelled, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", KINDS)
def test_other_questions_do_not_matter(name: str) -> None:
    network, cells, rows = make_network(name), torch.randn(2, 20, 5, CELL), torch.randn(2, 20, ROW)
    found = answer(network, cells, rows, 12)
    assert found.shape == (2, 8, BUCKETS)
    torch.testing.assert_close(answer(network, cells[:, :13], rows[:, :13], 12), found[:, :1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["in_context", "siamese", "lstm_learner", "maml", "reptile"]
)  # the others read rows in an order
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    network, cells, rows = make_network(name), torch.randn(2, 20, 5, CELL), torch.randn(2, 20, ROW)
    order = torch.cat([torch.randperm(12), torch.arange(12, 20)])
    shuffled = answer(network, cells[:, order], rows[:, order], 12)
    torch.testing.assert_close(shuffled, answer(network, cells, rows, 12), atol=1e-3, rtol=1e-3)


def test_without_practice_a_transformer_says_what_the_rules_say() -> None:
    network, cells, rows = make_network("in_context", std=0), torch.randn(3, 20, 5, CELL), torch.randn(3, 20, ROW)
    asked, mean = network(cells, rows, 12)
    torch.testing.assert_close(mean, rows[:, 12:, SAID].mean(-1))
    share = torch.tensor([[0.5], [0.2], [0.7]])
    chance = torch.softmax(network.classes(asked[:, None], mean[:, None], share), -1)[..., 1]
    expected = share + (share * (1 - share)).sqrt() * mean
    inside = (expected > 0.3) & (expected < 0.7)  # beyond, it is bent away from 0 and 1, and rises all the same
    torch.testing.assert_close(chance[inside], expected[inside], atol=0.02, rtol=0)
    order = expected.argsort(dim=1)
    assert (chance.gather(1, order).diff(dim=1) > 0).all()
    asked, mean = torch.zeros(1, 3, 16), torch.tensor([[-1.0, 0.0, 0.5]])
    said = torch.softmax(network.values(asked, mean), -1) @ network.centres
    torch.testing.assert_close(said, mean, atol=0.15, rtol=0)  # no bucket lies beyond 2.4


def test_the_error_that_practice_minimises_is_that_of_the_values_that_are_predicted() -> None:
    network, labelled = make_network("matching"), 30
    rows = torch.zeros(1, 1, labelled + 20, ROW)
    rows[..., :labelled, 0] = torch.randn(labelled) ** 3  # some beyond the last bucket
    wanted, asked, mean = torch.randn(1, 20), torch.randn(1, 20, 16), torch.randn(1, 20)
    batch = Batch(torch.zeros(1, 1, labelled + 20, 3, CELL), rows, torch.ones(1, 1), wanted, labelled, 0)
    logits = network.values(asked, mean)
    likelihood = torch.nn.functional.cross_entropy(logits[0], torch.bucketize(wanted[0], network.edges))
    chances = logits.softmax(-1)[0].detach().numpy()
    reader = SimpleNamespace(predict=lambda X: chances)
    view = View(np.arange(labelled), np.arange(3), np.zeros((1, 0)))
    labels = rows[0, 0, :labelled, 0].numpy()
    views = Views(lambda *_: reader, np.zeros((labelled, 3)), labels, 0, [view], centres=network.centres.numpy())
    error = np.mean((views.predict(np.zeros((20, 3))) - wanted[0].numpy()) ** 2)
    found = network.answer_loss(asked, mean, batch) - likelihood
    assert found.item() == pytest.approx(error / (wanted.square().mean().item() + 0.5), rel=1e-3)


def test_a_step_depends_on_seed_and_number_alone() -> None:
    one, other = draw(3, 17), draw(3, 17)
    torch.testing.assert_close(one.cells, other.cells)
    assert (one.labelled, one.classes) == (other.labelled, other.classes)
    assert draw(3, 18).cells.shape != one.cells.shape or not torch.equal(draw(3, 18).cells, one.cells)


@pytest.mark.parametrize("name", KINDS)
def test_a_run_that_was_interrupted_ends_with_the_same_weights(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 6, "seed": 1, "shape": SMALL[name]}
    for step in pretrain(tmp_path / "whole", name, **options):
        assert np.isfinite(step.loss)
    begun = pretrain(tmp_path / "cut", name, **options, save_every_s=0)
    for _ in range(3):
        next(begun)
    begun.close()
    assert [step.number for step in pretrain(tmp_path / "cut", name, **options)] == [4, 5, 6]
    one, other = (load(tmp_path / folder).state_dict() for folder in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_checkpoint_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    list(pretrain(tmp_path, "siamese", steps=2, seed=1))
    with pytest.raises(ValueError, match="another run"):
        list(pretrain(tmp_path, "siamese", steps=2, seed=2))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("classes", "columns"), [(0, 5), (3, 4), (2, 1)])
def test_numpy_answers_as_torch_does(name: str, classes: int, columns: int) -> None:
    network, rng = make_network(name, std=0.2), np.random.default_rng(0)
    X: Any = rng.standard_normal((30, columns)).astype(np.float32)
    X[:, 0] = np.round(X[:, 0])
    y = np.arange(18) % classes if classes else rng.standard_normal(18).astype(np.float32)
    targets, share = class_targets(y, classes) if classes else (y[:, None], np.ones(1))
    episode = Episode(X[:18], targets)
    cells, rows = (
        torch.from_numpy(np.concatenate(parts, axis=1))
        for parts in zip(episode.told(), episode.ask(X[18:]), strict=True)
    )
    with torch.no_grad():
        asked, mean = network(cells, rows, 18, torch.Generator().manual_seed(0))
        if classes:
            logits = network.classes(asked[None], mean[None], torch.from_numpy(share[None]).float())[0]
        else:
            logits = network.values(asked, mean)[0]
    about, weights = as_shipped(network)
    noise = torch.randn(-(-columns // GROUP), PLACES, generator=torch.Generator().manual_seed(0)).numpy()
    table = ReadTable(weights, FORMS[name](weights, about, noise), X[:18], y, classes)
    np.testing.assert_allclose(table.predict(X[18:]), torch.softmax(logits, -1).numpy(), atol=5e-5)


def test_practice_lowers_the_loss(tmp_path: Path) -> None:
    """Of a network of likeness, which learns soonest, on tables that it has not seen."""
    list(pretrain(tmp_path, "matching", steps=60, seed=1, shape=SMALL["matching"]))
    torch.manual_seed(1)
    before, after = KINDS["matching"].network(**SMALL["matching"]), load(tmp_path)
    with torch.no_grad():
        losses = [
            [float(network.loss(draw(9, number), torch.Generator().manual_seed(0))) for number in range(8)]
            for network in (before, after)
        ]
    assert np.mean(losses[1]) < np.mean(losses[0]) - 0.01


@pytest.mark.parametrize("name", ["lstm_learner", "maml", "reptile"])
def test_a_small_networks_gradient_is_what_torch_says(name: str) -> None:
    network: Any = make_network(name)
    embedded, labels = torch.randn(3, 12, 16), torch.randn(3, 12)
    weights = torch.randn(3, len(network.start), requires_grad=True)
    gradient, loss = network._gradient(weights, embedded, labels)
    said = network._small(weights, embedded)[1]
    torch.testing.assert_close(loss, ((said - labels) ** 2).mean(dim=1))
    torch.testing.assert_close(gradient, torch.autograd.grad(loss.sum(), weights)[0], atol=1e-5, rtol=1e-4)


def test_steps_lower_the_small_networks_error() -> None:
    network: Any = make_network("maml", std=0)
    embedded = torch.randn(3, 30, 16)
    labels = embedded[..., 0]
    before = network._gradient(network.start.expand(3, -1), embedded, labels)[1]
    after = network._gradient(network.adapted(embedded, labels), embedded, labels)[1]
    assert (after < before).all()


@pytest.mark.parametrize("soft", [1e-4, 0.01, 0.1])
def test_odds_of_a_chance_are_the_same_without_torch_and_always_rise(soft: float) -> None:
    chance = np.linspace(-12, 12, 4_001, dtype=np.float32)
    found = log_chance(chance, soft)
    torch.testing.assert_close(
        torch.from_numpy(found).float(), _log_chance(torch.from_numpy(chance), torch.tensor(soft)), atol=1e-4, rtol=1e-4
    )
    assert (np.diff(found) > 0).all()
