"""Network surrogates: what their readers' opinions come to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from .metamodel import Array, Prediction, SurrogateModel
from .networks import NetworkModel, mean_of
from .practice import Known, practise
from .reader import Outlook, Reader
from .vocabulary import Encoded

_LEAST = 1e-12


class NetworkSurrogate(NetworkModel, SurrogateModel):
    """Readers, trained by what they foretell."""

    state: ClassVar[int]  #: width of what a reader remembers

    def network(self) -> Reader:
        """A reader."""
        return Reader(len(self.vocabulary.slots), self.example(), self.state)

    def practise(self, network: Reader, known: Known, steps: int, rng: torch.Generator) -> None:
        """By searching."""
        practise(network, known, self.start, steps=steps, rng=rng)

    def gains(self, trials: Encoded, losses: Array, candidates: Encoded) -> Array:
        """Expected decrease of the best regret."""
        return mean_of([outlook.log_gain.exp() for outlook in self.opinions(trials, losses, candidates)])

    def predict(self, trials: Encoded, losses: Array, candidates: Encoded) -> Prediction:
        """Mean and deviation of the networks' Gaussians together."""
        outlooks: list[Outlook] = self.opinions(trials, losses, candidates)
        mean = mean_of([outlook.mean for outlook in outlooks])
        square = mean_of([outlook.deviation**2 + outlook.mean**2 for outlook in outlooks])
        return Prediction(mean, np.sqrt(np.maximum(square - mean**2, _LEAST)))
