"""Knowledge as files: what the package ships, and what installations exchange. No rows of data, no column names.

A folder: `manifest.json` names every other file with its SHA-256. `tasks.parquet` holds descriptions,
`evaluations/<learner>-<version>.parquet` trials as canonical JSON, `metamodels/*.safetensors` networks, and
`embeddings.parquet` where they see the tasks. The same knowledge gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import InvalidRequest, TooLarge
from app.knowledge.repository import TaskDescription

FORMAT: Final = 1
NAME: Final = r"[a-z0-9_-]{1,100}"  #: of learners, versions, metamodels
MANIFEST: Final = "manifest.json"
_TASKS: Final = pa.schema(
    [
        ("fingerprint", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),
        ("metafeatures", pa.string()),
        ("constants", pa.string()),
        ("sketch", pa.binary()),
    ]
)
_EVALUATIONS: Final = pa.schema([("fingerprint", pa.string()), ("evaluation", pa.string())])
_EMBEDDINGS: Final = pa.schema(
    [("fingerprint", pa.string()), ("metamodel", pa.string()), ("embedding", pa.list_(pa.float32()))]
)
_ROWS_MAX: Final = 500_000  # of one file: few bytes of Parquet can hold many rows
_BATCH: Final = 256  # rows in memory at once
_DIGITS = 6  # significant ones of every number


@dataclass(frozen=True, kw_only=True)
class ShippedMetamodel:
    """A metamodel in an archive."""

    role: str
    name: str
    file: str  #: in the archive
    learned_from: Mapping[str, Any]
    replay: Mapping[str, Any] = field(default_factory=dict)
    state: str = "champion"  #: or "challenger": it comes along, and others are used


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A folder whose manifest has been read and whose files are as it says."""

    folder: Path
    sha256: str  #: of the manifest
    metamodels: Sequence[ShippedMetamodel]

    def tasks(self) -> Iterator[TaskDescription]:
        """Descriptions, in order."""
        for row in _rows(self.folder / "tasks.parquet", _TASKS):
            yield TaskDescription(
                fingerprint=row["fingerprint"],
                group=row["group"],
                kind=row["kind"],
                metafeatures=json.loads(row["metafeatures"]),
                constants=json.loads(row["constants"]),
                sketch=row["sketch"],
            )

    def evaluations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(fingerprint of the task, evaluation), in order."""
        for path in sorted((self.folder / "evaluations").glob("*.parquet")):
            for row in _rows(path, _EVALUATIONS):
                yield row["fingerprint"], json.loads(row["evaluation"])

    def embeddings(self) -> Iterator[tuple[str, str, list[float]]]:
        """(fingerprint of the task, file of the metamodel, numbers), in order."""
        for row in _rows(self.folder / "embeddings.parquet", _EMBEDDINGS):
            yield row["fingerprint"], row["metamodel"], row["embedding"]


def write_archive(
    folder: Path,
    tasks: Iterable[TaskDescription],
    evaluations: Iterable[tuple[str, Mapping[str, Any]]],
    metamodels: Sequence[ShippedMetamodel] = (),
    embeddings: Iterable[tuple[str, str, Sequence[float]]] = (),
) -> None:
    """Write a folder; metamodels' files lie in it already."""
    (folder / "evaluations").mkdir(parents=True, exist_ok=True)
    for stale in [*folder.glob("*.parquet"), *folder.glob("evaluations/*.parquet")]:
        stale.unlink()
    _write(
        folder / "tasks.parquet",
        [
            {
                "fingerprint": task.fingerprint,
                "group": task.group,
                "kind": task.kind,
                "metafeatures": _text(task.metafeatures),
                "constants": _text(task.constants),
                "sketch": task.sketch,
            }
            for task in sorted(tasks, key=lambda task: task.fingerprint)
        ],
        _TASKS,
    )
    shards: dict[str, list[dict[str, str]]] = {}
    for fingerprint, evaluation in evaluations:
        shard = f"{evaluation['configuration']['learner']}-{evaluation['learner_version']}"
        shards.setdefault(shard, []).append({"fingerprint": fingerprint, "evaluation": _text(evaluation)})
    for name, rows in shards.items():
        assert re.fullmatch(NAME, name), name  # it becomes a file's
        rows.sort(key=lambda row: (row["fingerprint"], row["evaluation"]))
        _write(folder / "evaluations" / f"{name}.parquet", rows, _EVALUATIONS)
    _write(
        folder / "embeddings.parquet",
        [
            {"fingerprint": fingerprint, "metamodel": file, "embedding": list(numbers)}
            for fingerprint, file, numbers in sorted(embeddings, key=lambda entry: entry[:2])
        ],
        _EMBEDDINGS,
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = {
        "format": FORMAT,
        "files": {path.relative_to(folder).as_posix(): _digest(path) for path in files},
        "metamodels": [
            {
                "role": one.role,
                "name": one.name,
                "file": one.file,
                "learned_from": one.learned_from,
                "replay": one.replay,
                "state": one.state,
            }
            for one in metamodels
        ],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def open_archive(folder: Path) -> Archive:
    """Check an archive.

    Raises:
        InvalidRequest: not an archive, of another format, or damaged.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = json.loads(raw)
        files, found = dict(manifest["files"]), manifest["format"]
        metamodels = [ShippedMetamodel(**one) for one in manifest["metamodels"]]
        if not all(isinstance(name, str) and isinstance(digest, str) for name, digest in files.items()):
            raise TypeError("files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"This is no knowledge archive: {MANIFEST} can't be read.") from error
    if found != FORMAT:
        raise InvalidRequest(f"The archive has format {found!r}; this version reads {FORMAT}.")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if odd := sorted(present ^ set(files)):
        raise InvalidRequest(f"The archive's manifest and its files differ: {', '.join(odd[:5])}.")
    for name, digest in files.items():
        if _digest(folder / name) != digest:
            raise InvalidRequest(f"The archive is damaged: {name} is not what its manifest says.")
    if lacking := [one.file for one in metamodels if one.file not in files]:
        raise InvalidRequest(f"The archive lacks {lacking[0]}.")
    return Archive(folder=folder, sha256=hashlib.sha256(raw).hexdigest(), metamodels=metamodels)


def _rows(path: Path, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow != schema:
                raise InvalidRequest(f"{path.name} has other columns than {', '.join(schema.names)}.")
            if file.metadata.num_rows > _ROWS_MAX:
                raise TooLarge(f"{path.name} has {file.metadata.num_rows} rows; {_ROWS_MAX} are allowed.")
            for batch in file.iter_batches(_BATCH):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InvalidRequest(f"{path.name} can't be read.") from error


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd", compression_level=15)


def _text(value: Any) -> str:
    return json.dumps(_short(value), sort_keys=True, separators=(",", ":"))


def _short(value: Any) -> Any:
    """Numbers with as many digits as mean anything; configurations as they are, for they are keys."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: each if key == "configuration" else _short(each) for key, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list | tuple) else value


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
