"""Writes bundles: members by trial processes, one folder a fold; then one zip of them all."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..types import Score, Task, TaskKind
from .card import model_card
from .export import WRITERS, export_of
from .runtime import FORMAT_VERSION
from .runtime.encoder import Encoder
from .runtime.schema import Schema

#: The script beside a bundle's runtime. Threads are set before numpy is imported.
_PREDICT = '''"""Predict with this bundle; it needs what requirements.txt says, and nothing else.

    python predict.py rows.csv > predictions.csv
    python predict.py --format json < rows.json
"""

import os
import sys
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from runtime.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(FOLDER, sys.argv[1:]))
'''

#: (weight, folders of its fold models, what the manifest says of it: trial, learner, …; of a stacker also "inputs",
#: the places of members that it reads)
BundleMember = tuple[float, Sequence[Path], Mapping[str, Any]]

_RUNTIME = Path(__file__).parent / "runtime"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip is the same whenever it is made

#: what the reader of each format imports, beyond numpy
_REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "lightgbm": ("lightgbm", "scipy"),
    "catboost": ("catboost",),
    "forest": ("scikit-learn", "scipy"),
    "sklearn": ("scikit-learn", "scipy", "skops"),
    "network": ("safetensors",),
    "reader": ("safetensors", "scipy"),
    "foundation": ("safetensors", "torch"),
}


def save_member(folder: Path, encoder: Encoder, estimator: Any, kind: TaskKind, n_classes: int) -> None:
    """Write an encoder and a fitted estimator into a folder; `runtime.members.load_member` reads it back.

    Args:
        folder: made if it does not exist.
        encoder: what the estimator's matrix came from.
        estimator: of a library, or one of ours with `export_member()` (see export.py).
        kind: of the task.
        n_classes: 0 in regression.
    """
    encoder.save(folder)
    export = export_of(estimator)
    WRITERS[export.format](folder, export)
    info = {
        "format": export.format,
        "n_classes": 0 if kind == TaskKind.REGRESSION else n_classes,
        "classes": None if kind == TaskKind.REGRESSION or export.classes is None else list(export.classes),
        "shift": export.shift,
        "scale": export.scale,
        "log_most": export.log_most,
        "categorical": list(encoder.categorical),
        "has_text": any(part.terms for part in encoder.texts),
        **export.options,
    }
    (folder / "member.json").write_text(json.dumps(info), encoding="utf-8")


def assemble(
    path: Path,
    *,
    task: Task,
    schema: Schema,
    members: Sequence[BundleMember],
    score: Score | None,
    stack: Sequence[BundleMember] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the bundle of an ensemble and return its manifest. The same input gives the same bytes.

    Args:
        path: of the zip; replaced when complete.
        task: what the model answers.
        schema: of its rows.
        members: weights need not sum to one; the fold models of a member are averaged.
        score: honest, of the whole ensemble.
        stack: models over the members' predictions, their weights on the members' scale.
        extra: more for the manifest, e.g. rows, trials, reproducible; "temperature" and "threshold" replace 1 and 0.5.
    """
    files = dict(_member_files(members)) | dict(_member_files(stack, "stack_"))
    infos = [json.loads(data.read_bytes()) for name, data in files.items() if name.endswith("/member.json")]
    requirements = _requirements(infos)
    manifest = _manifest(task, schema, members, stack, score, requirements, extra or {})
    contents: dict[str, bytes | Path] = {**files, **_runtime_files()}
    contents["requirements.txt"] = "".join(f"{line}\n" for line in requirements).encode()
    contents["README.md"] = model_card(manifest).encode()
    manifest["files"] = {name: _digest(contents[name]) for name in sorted(contents)}
    _write_zip(path, manifest, contents)
    return manifest


def _manifest(
    task: Task,
    schema: Schema,
    members: Sequence[BundleMember],
    stack: Sequence[BundleMember],
    score: Score | None,
    requirements: list[str],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    total = sum(weight for weight, _, _ in (*members, *stack))
    if not total > 0:
        raise ValueError("A bundle needs a member with a positive weight.")

    def listed(parts: Sequence[BundleMember]) -> list[dict[str, Any]]:
        return [{**info, "weight": weight / total, "folds": len(folders)} for weight, folders, info in parts]

    return {
        "format_version": FORMAT_VERSION,
        "engine_version": version("warmstart"),
        "target": task.target,
        "kind": str(task.kind),
        "classes": list(task.classes),
        "metric": task.metric,
        "temperature": 1.0,
        "threshold": 0.5,
        "score": None if score is None else asdict(score),
        **extra,
        "members": listed(members),
        "stack": listed(stack),
        "schema": schema.to_json(),
        "input_schema": schema.json_schema(),
        "requirements": requirements,
    }


def _member_files(members: Sequence[BundleMember], prefix: str = "") -> Iterator[tuple[str, Path]]:
    for number, (_, folders, _) in enumerate(members):
        for fold, folder in enumerate(folders):
            for file in sorted(folder.iterdir()):
                yield f"members/{prefix}{number}/fold_{fold}/{file.name}", file


def _runtime_files() -> dict[str, bytes | Path]:
    files: dict[str, bytes | Path] = {f"runtime/{file.name}": file for file in _RUNTIME.glob("*.py")}
    files["predict.py"] = _PREDICT.encode()
    return files


def _requirements(infos: Sequence[Mapping[str, Any]]) -> list[str]:
    needed = {"numpy"}
    for info in infos:
        needed.update(_REQUIREMENTS[info["format"]])
        needed.update(("scikit-learn", "scipy") if info["has_text"] else ())
        needed.update((info["package"],) if "package" in info else ())
    return [f"{name}=={version(name)}" for name in sorted(needed)]


def _digest(data: bytes | Path) -> dict[str, Any]:
    content = data.read_bytes() if isinstance(data, Path) else data
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _write_zip(path: Path, manifest: Mapping[str, Any], contents: Mapping[str, bytes | Path]) -> None:
    temporary = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        file.writestr(_entry("manifest.json"), text.encode())
        for name in sorted(contents):
            data = contents[name]
            file.writestr(_entry(name), data.read_bytes() if isinstance(data, Path) else data)
    temporary.replace(path)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
