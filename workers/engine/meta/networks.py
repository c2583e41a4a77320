"""A metamodel that is some networks of one kind, trained apart, whose opinions are averaged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .evidence import Evidence, Factors, Filter, View, factors
from .metamodel import Array, Metamodel
from .past import OFFSET, Past
from .portfolio import greedy_portfolio
from .practice import Known
from .trial_network import TrialNetwork
from .vocabulary import Encoded, Vocabulary

if TYPE_CHECKING:
    from ..space import SearchSpace

_OPENING = 4  # of the portfolio, with which training begins its searches


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks as small as ours lose more by waiting for other threads than these bring: tenfold on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class NetworkModel(Metamodel):
    """A subclass says what its networks are, how they practise, and what evidence they see."""

    steps: ClassVar[int]  #: of training
    count: ClassVar[int] = 2  #: networks

    def __init__(self, vocabulary: Vocabulary, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(vocabulary, weights)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        self.logs = tensors.pop("logs")
        self.factors = Factors.from_columns(tensors.pop("factors"))
        self.networks: list[TrialNetwork] = []
        for number in sorted({int(name.split(".")[0]) for name in tensors}):
            own = {name.split(".", 1)[1]: each for name, each in tensors.items() if name.startswith(f"{number}.")}
            network = self._born(seed=0)
            network.load_state_dict(own)
            self.networks.append(network.eval())

    @classmethod
    @one_thread()
    def train(cls, past: Past, space: SearchSpace, *, seed: int, steps: int | None = None) -> Self:
        """Every network practises on the past's tasks."""
        vocabulary = Vocabulary.of(past, space)
        logs = torch.from_numpy(np.log(past.losses + OFFSET)).float()
        said = factors(logs)
        slots = torch.from_numpy(vocabulary.encode(past.configurations, space).slots)
        known = Known(logs, said, slots, greedy_portfolio(past.regrets, _OPENING))
        weights = {"logs": logs.numpy(), "factors": said.to_columns().numpy()}
        untrained = cls(vocabulary, weights)
        for number in range(cls.count):
            network = untrained._born(seed + number)
            rng = torch.Generator().manual_seed(seed + number)
            untrained.practise(network.train(), known, cls.steps if steps is None else steps, rng)
            weights |= {f"{number}.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
        return cls(vocabulary, weights)

    @abstractmethod
    def network(self) -> TrialNetwork:
        """A new one, of the width that slots and evidence need."""

    @abstractmethod
    def practise(self, network: Any, known: Known, steps: int, rng: torch.Generator) -> None:
        """Train it in place."""

    def start(self, tasks: int, own: Tensor | None = None) -> Evidence:
        """Before the first trial of so many tasks; `own` (tasks, n) are rows of the past that they are made of."""
        return Filter.start(self.factors, tasks)

    def example(self) -> View:
        """A view, for its widths."""
        return self.start(1).view(torch.tensor([-1]))

    @one_thread()
    @torch.no_grad()
    def opinions(self, trials: Encoded, losses: Array, candidates: Encoded) -> list[Any]:
        """Of each network, on the candidates as a batch of one task."""
        tried, asked = torch.from_numpy(trials.places), torch.from_numpy(candidates.places)
        logs = torch.from_numpy(np.log(losses + OFFSET)).float()
        evidence, surprises = self.start(1), []
        for number in range(len(tried)):
            evidence, surprise = evidence.read(tried[number : number + 1], logs[number : number + 1])
            surprises.append(surprise)
        view, opinions = evidence.view(asked), []
        for network in self.networks:
            read, state = network.embed(self._columns(trials)), network.blank(1)
            for number, surprise in enumerate(surprises):
                state = network.remember(state, read[number : number + 1], surprise)
            opinions.append(network(state, view, network.embed(self._columns(candidates))))
        return opinions

    def _born(self, seed: int) -> TrialNetwork:
        """Leaves the global generator as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network()

    def _columns(self, encoded: Encoded) -> Tensor:
        said = self.factors.at(torch.from_numpy(encoded.places)).to_columns()
        return torch.cat([said, torch.from_numpy(encoded.slots)], 1)


def mean_of(each: list[Tensor]) -> Array:
    """(n,) of the batch's only task."""
    return np.asarray(torch.stack(each).mean(0)[0].double().numpy())
