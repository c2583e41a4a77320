"""The configuration space of a task: sample, complete, check, encode, decode, version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..catalog import get_learner
from ..errors import SpaceError
from ..types import Configuration, TaskKind
from .hyperparameters import Choice, Hyperparameter, is_active
from .mutation import mutated

if TYPE_CHECKING:
    from ..learners.base import Learner, Size


class Space:
    """The learners that can solve a task, and their hyperparameters.

    Args:
        names: of learners; those that don't do `kind` or decline `size` are left out, see `declined`.
        kind: of the task.
        size: of the task; None: nobody is asked.

    Raises:
        SpaceError: nothing is left.
    """

    def __init__(self, names: Iterable[str], kind: TaskKind, size: Size | None = None) -> None:
        self.kind = kind
        self.learners: dict[str, Learner] = {}
        self.declined: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        for name in names:
            learner = get_learner(name)
            reason = _reason_against(learner, kind, size)
            if reason is None:
                self.learners[name] = _for_kind(learner, kind)
            else:
                self.declined[name] = reason
        if not self.learners:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.declined.items())
            raise SpaceError(f"No algorithm is left for this task ({reasons or 'none was included'}).")

    def sample(self, rng: np.random.Generator, learner: str | None = None) -> Configuration:
        """A random configuration, of a random learner if none is named."""
        name = learner or list(self.learners)[int(rng.integers(len(self.learners)))]
        configuration: dict[str, Any] = {"learner": name}
        for hyperparameter in self.learner(name).space:
            if is_active(hyperparameter, configuration):
                configuration[hyperparameter.name] = hyperparameter.sample(rng)
        return configuration

    def complete(self, name: str, given: Mapping[str, Any]) -> Configuration:
        """A configuration of learner `name`: what is given, defaults for the rest."""
        configuration: dict[str, Any] = {"learner": name}
        for hyperparameter in self.learner(name).space:
            if is_active(hyperparameter, configuration):
                configuration[hyperparameter.name] = given.get(hyperparameter.name, hyperparameter.default)
        return self.validate(configuration | {key: given[key] for key in given if key not in configuration})

    def defaults(self) -> list[Configuration]:
        """Every hand-written configuration: each learner's first, then each one's second, and so on."""
        own = self.defaults_by_learner()
        most = max(map(len, own.values()))
        return [each[place] for place in range(most) for each in own.values() if place < len(each)]

    def defaults_by_learner(self) -> dict[str, list[Configuration]]:
        """Hand-written configurations of each learner, best first."""
        return {name: [self.complete(name, given) for given in one.defaults] for name, one in self.learners.items()}

    def validate(self, configuration: Mapping[str, Any]) -> Configuration:
        """The configuration with every value checked, in declared order.

        Raises:
            SpaceError: unknown learner or hyperparameter, one missing, one too many, or out of range.
        """
        name = configuration.get("learner")
        if not isinstance(name, str):
            raise SpaceError("A configuration needs a learner.")
        checked: dict[str, Any] = {"learner": name}
        for hyperparameter in self.learner(name).space:
            if is_active(hyperparameter, checked):
                if hyperparameter.name not in configuration:
                    raise SpaceError(f"{name} needs {hyperparameter.name}.")
                checked[hyperparameter.name] = hyperparameter.check(configuration[hyperparameter.name])
        if unknown := sorted(set(configuration) - set(checked)):
            raise SpaceError(f"{name} has no {', '.join(unknown)} in this configuration.")
        return checked

    def mutated(self, configuration: Configuration, rng: np.random.Generator) -> Configuration:
        """A neighbour of a configuration, of the same learner."""
        return mutated(self.learner(configuration["learner"]).space, configuration, rng)

    def encode(self, configuration: Configuration) -> dict[str, float]:
        """Named slots, each 0 to 1: `learner=<name>`, `<learner>.<number>` on its scale, `<learner>.<choice>=<option>`.

        Absent slots are 0 for choices and unknown for numbers, so that slots can be appended for ever.
        """
        name = configuration["learner"]
        slots = {f"learner={name}": 1.0}
        for hyperparameter in self.learner(name).space:
            if hyperparameter.name not in configuration:
                continue
            value = configuration[hyperparameter.name]
            if isinstance(hyperparameter, Choice):
                slots[f"{name}.{hyperparameter.name}={json.dumps(value)}"] = 1.0
            else:
                slots[f"{name}.{hyperparameter.name}"] = hyperparameter.to_unit(value)
        return slots

    def decode(self, slots: Mapping[str, float]) -> Configuration:
        """The configuration that these slots describe; of several choices the largest slot wins.

        Raises:
            SpaceError: no learner of ours among the slots.
        """
        known = {name: slots[f"learner={name}"] for name in self.learners if f"learner={name}" in slots}
        if not known:
            raise SpaceError("No slot names a learner.")
        name = max(known, key=known.__getitem__)
        configuration: dict[str, Any] = {"learner": name}
        for hyperparameter in self.learner(name).space:
            if is_active(hyperparameter, configuration):
                configuration[hyperparameter.name] = _decode_one(name, hyperparameter, slots)
        return configuration

    def has(self, configuration: Mapping[str, Any]) -> bool:
        """Whether it is a point of this space: another version may have had others."""
        try:
            self.validate(configuration)
        except SpaceError:
            return False
        return True

    def cost(self, configuration: Configuration, size: Size) -> float:
        """Predicted seconds to fit it once on `size`, on one thread."""
        learner = self.learner(configuration["learner"])
        return learner.cost(configuration, size)

    @cached_property
    def version(self) -> str:
        """Twelve hex digits over what is declared: another space, another version."""
        return _digest(self.to_json())

    def version_of(self, name: str) -> str:
        """Twelve hex digits over what one learner declares: evaluations of another version are stale.

        Raises:
            SpaceError: it is not in this space.
        """
        if (known := self._versions.get(name)) is not None:
            return known
        learner = self.learner(name)
        self._versions[name] = _digest(
            [learner.revision, [_to_json(hyperparameter) for hyperparameter in learner.space]]
        )
        return self._versions[name]

    def is_current(self, configuration: Configuration, version: str) -> bool:
        """Whether what was evaluated under this version of its learner means here what it would mean today."""
        return self.has(configuration) and self.version_of(configuration["learner"]) == version

    def to_json(self) -> dict[str, Any]:
        """The declared space, for people and for `GET /v1/space`."""
        return {
            name: [_to_json(hyperparameter) for hyperparameter in learner.space]
            for name, learner in self.learners.items()
        }

    def learner(self, name: str) -> Learner:
        """A learner, with what this kind of task has of its hyperparameters and defaults.

        Raises:
            SpaceError: it is not in this space.
        """
        if name not in self.learners:
            raise SpaceError(f"No learner {name!r} in this space; there are {', '.join(self.learners)}.")
        return self.learners[name]


def canonical(configuration: Configuration) -> str:
    """The one JSON text of a configuration: sorted keys, no spaces, shortest floats."""
    return json.dumps(dict(configuration), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(declared: Any) -> str:
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()[:12]


def _decode_one(name: str, hyperparameter: Hyperparameter, slots: Mapping[str, float]) -> Any:
    slot = f"{name}.{hyperparameter.name}"
    if isinstance(hyperparameter, Choice):
        weights = [slots.get(f"{slot}={json.dumps(option)}", 0.0) for option in hyperparameter.options]
        return hyperparameter.options[int(np.argmax(weights))] if any(weights) else hyperparameter.default
    return hyperparameter.from_unit(slots[slot]) if slot in slots else hyperparameter.default


def _to_json(hyperparameter: Hyperparameter) -> dict[str, Any]:
    declared = {key: value for key, value in asdict(hyperparameter).items() if key != "kinds"}
    return {"type": type(hyperparameter).__name__.lower(), **declared}


def _for_kind(learner: Learner, kind: TaskKind) -> Learner:
    """Without hyperparameters that this kind of task does not have, and without defaults that set them."""
    space = tuple(hyperparameter for hyperparameter in learner.space if kind in hyperparameter.kinds)
    strange = {hyperparameter.name for hyperparameter in learner.space} - {one.name for one in space}
    defaults = tuple(given for given in learner.defaults if not strange & set(given))
    return replace(learner, space=space, defaults=defaults) if strange else learner


def _reason_against(learner: Learner, kind: TaskKind, size: Size | None) -> str | None:
    if kind not in learner.kinds:
        return f"does not do {kind.value} tasks"
    return learner.declines(size) if size is not None else None
