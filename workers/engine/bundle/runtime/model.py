"""A bundle that predicts: digests checked, members loaded, rows in, predictions out."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from . import READABLE_VERSIONS
from .errors import BundleProblem
from .members import Folder, Member, load_member
from .schema import Columns, Schema
from .stack import stack_columns
from .texts import sharing_terms

Array = np.ndarray[Any, Any]

_MANIFEST_MAX = 100_000_000
_MANY_ROWS = 20
_LEAST = 1e-9  # a probability from which sharpening starts


@dataclass(frozen=True)
class Stacker:
    """A model over what members predict."""

    weight: float
    inputs: tuple[int, ...]  #: places of members
    folds: Sequence[Member]


@dataclass(frozen=True)
class BundleModel:
    """A loaded bundle. Predicting is thread-safe and uses one thread."""

    manifest: dict[str, Any]
    schema: Schema
    members: tuple[tuple[float, tuple[Member, ...]], ...]  #: (weight, fold models)
    stack: tuple[Stacker, ...] = ()  #: with the members' weights, theirs sum to 1

    @classmethod
    def load(cls, path: Path | str) -> BundleModel:
        """Load a bundle from its zip, or from the folder that it was unpacked to. No code in it is run.

        Raises:
            FileNotFoundError: nothing is there.
            BundleProblem: a file in it is missing, added or changed; a format or a type is not known.
        """
        path = Path(path)
        if path.is_dir():
            return cls._from(path, _FolderFiles(path))
        try:
            with zipfile.ZipFile(path) as file:
                return cls._from(zipfile.Path(file), _ZipFiles(file))
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise BundleProblem(f"not a bundle: {error}") from error

    @classmethod
    def _from(cls, root: Folder, files: _Files) -> BundleModel:
        manifest = _read_manifest(files)
        _check_digests(manifest, files)
        try:
            schema = Schema.from_json(manifest["schema"])
            members = tuple(
                (float(item["weight"]), _load_folds(root, str(number), int(item["folds"])))
                for number, item in enumerate(manifest["members"])
            )
            stack = tuple(
                Stacker(
                    float(item["weight"]),
                    tuple(map(int, item["inputs"])),
                    _load_folds(root, f"stack_{number}", int(item["folds"])),
                )
                for number, item in enumerate(manifest.get("stack", ()))
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleProblem(f"the manifest is not of this format: {error!r}") from error
        return cls(manifest, schema, members, stack)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in order of the probability columns; empty in regression."""
        return tuple(self.manifest["classes"])

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Predictions, probabilities by label (not in regression) and warnings, as JSON has them.

        Raises:
            RowsProblem: rows do not fit the schema.
        """
        columns, warnings = self.schema.rows_to_columns(rows)
        answer = self.answer(self.predict_columns(columns) if rows else np.zeros((0, len(self.classes))))
        return {**answer, "warnings": warnings}

    def answer(self, output: Array) -> dict[str, Any]:
        """What `predict_columns` gave, as JSON has it."""
        classes = self.classes
        if not classes:
            return {"predictions": output.ravel().tolist()}
        if len(classes) == 2:
            chosen = (output[:, 1] >= float(self.manifest["threshold"])).astype(int)
        else:
            chosen = output.argmax(axis=1)
        return {
            "predictions": [classes[place] for place in chosen],
            "probabilities": [dict(zip(classes, row, strict=True)) for row in output.tolist()],
        }

    def predict_columns(self, columns: Columns) -> Array:
        """Float64: probabilities (n, classes) that sum to 1, or values (n,)."""
        with sharing_terms() if _is_many(columns) else nullcontext():
            output = blended(self.members, self.stack, columns)
        return sharpened(output, float(self.manifest.get("temperature", 1.0))) if self.classes else output


def blended(members: Sequence[tuple[float, Sequence[Member]]], stack: Sequence[Stacker], columns: Columns) -> Array:
    """What members and stackers predict together, by their weights: (n, classes) or (n,)."""
    each = [_mean(folds, columns) for _, folds in members]
    total: Any = sum(weight * part for (weight, _), part in zip(members, each, strict=True))
    for stacker in stack:
        inputs = stack_columns([each[place] for place in stacker.inputs])
        total = total + stacker.weight * _mean(stacker.folds, inputs)
    return np.asarray(total)


def sharpened(probabilities: Array, temperature: float) -> Array:
    """Probabilities (n, classes) with their logarithms divided by `temperature`, summing to 1 (Guo et al. 2017)."""
    powers = probabilities if temperature == 1.0 else np.maximum(probabilities, _LEAST) ** (1.0 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _is_many(columns: Columns) -> bool:
    """Whether sharing the analysis of texts is worth its start."""
    return len(next(iter(columns.values()), ())) >= _MANY_ROWS


def _mean(folds: Sequence[Member], columns: Columns) -> Any:
    return sum(member.predict_columns(columns) for member in folds) / len(folds)


def _load_folds(root: Folder, name: str, folds: int) -> tuple[Member, ...]:
    return tuple(load_member(root / "members" / name / f"fold_{fold}") for fold in range(folds))


class _Files:
    """Names, sizes and contents of a bundle's files."""

    def names(self) -> list[str]:
        """Every file, with forward slashes."""
        raise NotImplementedError

    def size(self, name: str) -> int:
        """Bytes, before anything is unpacked."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """The whole content."""
        raise NotImplementedError


class _ZipFiles(_Files):
    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file

    def names(self) -> list[str]:
        return [name for name in self._file.namelist() if not name.endswith("/")]

    def size(self, name: str) -> int:
        return self._file.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        try:
            return self._file.read(name)
        except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
            raise BundleProblem(f"{name} can't be unpacked: {error}") from error


class _FolderFiles(_Files):
    """A bundle that was unpacked. Python's caches and the user's own files beside it are none of ours."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        members = (file for file in (self._root / "members").rglob("*") if file.is_file())
        return ["manifest.json", *(file.relative_to(self._root).as_posix() for file in members)]

    def size(self, name: str) -> int:
        return (self._root / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()


def _read_manifest(files: _Files) -> dict[str, Any]:
    try:
        if files.size("manifest.json") > _MANIFEST_MAX:
            raise BundleProblem("manifest.json is too large")
        manifest = json.loads(files.read("manifest.json"))
        found = manifest["format_version"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleProblem(f"manifest.json can't be read: {error!r}") from error
    if found not in READABLE_VERSIONS:
        known = ", ".join(map(str, READABLE_VERSIONS))
        raise BundleProblem(f"bundle format {found} is not one that is known here ({known})")
    return dict(manifest)


def _check_digests(manifest: Mapping[str, Any], files: _Files) -> None:
    listed, found = manifest.get("files"), files.names()
    if not isinstance(listed, dict):
        raise BundleProblem("the manifest lists no files")
    for name in found:
        if name != "manifest.json" and (name not in listed or not _is_plain(name)):
            raise BundleProblem(f"{name!r} is not in the manifest")
    if len(set(found)) != len(found):
        raise BundleProblem("a file is there twice")
    for name, digest in listed.items():
        if not _is_plain(name):
            raise BundleProblem(f"{name!r} is no name for a file of a bundle")
        _check_digest(name, digest, files)


def _check_digest(name: str, digest: Mapping[str, Any], files: _Files) -> None:
    try:
        same = files.size(name) == digest["bytes"] and hashlib.sha256(files.read(name)).hexdigest() == digest["sha256"]
    except (OSError, KeyError, TypeError) as error:
        raise BundleProblem(f"{name!r} is missing") from error
    if not same:
        raise BundleProblem(f"{name!r} was changed: its digest differs from the manifest")


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name
