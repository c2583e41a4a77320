"""A bundle as a whole: the same answers everywhere, nothing executed, nothing changed unnoticed."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.engine.bundle import open_bundle
from workers.engine.bundle.runtime import FORMAT_VERSION
from workers.engine.errors import BundleError
from workers.engine.types import TaskKind

#: Runs predict.py, and fails if it has imported anything of ours, or torch.
CHECK = """
import runpy, sys
try:
    runpy.run_path("predict.py", run_name="__main__")
except SystemExit as end:
    assert not end.code
foreign = {name.split(".")[0] for name in sys.modules} & {"workers", "app", "torch"}
assert not foreign, foreign
"""


def as_array(answer: dict[str, Any]) -> Any:
    """Probabilities, or values."""
    if "probabilities" in answer:
        return np.array([list(row.values()) for row in answer["probabilities"]])
    return np.array(answer["predictions"])


def run_alone(folder: Path, *arguments: object, text: str | None = None, program: str = "predict.py") -> Any:
    """predict.py in a process that sees the installed libraries, but neither this repository nor the environment."""
    environment = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-I", program, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, input=text, capture_output=True, text=True)


@pytest.fixture
def unpacked(bundles: Callable[[TaskKind], Path], tmp_path: Path) -> Callable[[TaskKind], Path]:
    """A bundle as a user unpacks it."""

    def unpack(kind: TaskKind) -> Path:
        with zipfile.ZipFile(bundles(kind)) as file:
            file.extractall(tmp_path / kind)
        return tmp_path / kind

    return unpack


@pytest.mark.parametrize("kind", list(TaskKind))
def test_a_row_gets_the_same_answer_alone_in_a_batch_and_from_predict_py(
    kind: TaskKind, bundles: Callable[..., Path], unpacked: Callable[..., Path], rows: list[dict[str, Any]]
) -> None:
    model = open_bundle(bundles(kind))
    many = rows * 5
    batch = model.predict(many)
    one_by_one = np.concatenate([as_array(model.predict([row])) for row in many])
    np.testing.assert_allclose(one_by_one, as_array(batch), rtol=0, atol=1e-6)
    folder = unpacked(kind)
    (folder / "check.py").write_text(CHECK)
    done = run_alone(folder, "--format", "json", text=json.dumps({"rows": many}), program="check.py")
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)
    np.testing.assert_allclose(as_array(alone), as_array(batch), rtol=0, atol=1e-6)
    assert alone["warnings"] == batch["warnings"]
    if kind != TaskKind.REGRESSION:
        assert alone["predictions"] == batch["predictions"]
        np.testing.assert_allclose(as_array(batch).sum(axis=1), 1.0)


def test_predict_py_answers_csv_with_csv(unpacked: Callable[..., Path], model: Any, rows: list[Any]) -> None:
    folder = unpacked(TaskKind.BINARY)
    rows = [{**row, "since": "2020-02-29 12:00"} for row in rows]
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = run_alone(folder, "rows.csv")
    assert done.returncode == 0, done.stderr
    answer = list(csv.DictReader(io.StringIO(done.stdout)))
    expected = model.predict(rows)
    assert [row["prediction"] for row in answer] == expected["predictions"]
    assert [float(row["probability_yes"]) for row in answer] == pytest.approx(
        [row["yes"] for row in expected["probabilities"]], abs=1e-6
    )
    assert "'pilot' was not among the training categories" in done.stderr


def test_predict_py_says_what_is_wrong_when_rows_do_not_fit(unpacked: Callable[..., Path]) -> None:
    folder = unpacked(TaskKind.BINARY)
    done = run_alone(folder, "--format", "json", text="[{}]")
    assert done.returncode == 1
    assert "/rows/0/age: column 'age' is missing" in done.stderr
    assert run_alone(folder, "--format", "json", text="[{").returncode == 2
    assert run_alone(folder, "absent.csv").returncode == 2


def test_requirements_hold_only_what_the_members_need(recipe: Any, tmp_path: Path) -> None:
    recipe.make_bundle(tmp_path / "b.zip", TaskKind.REGRESSION, learners=("network",))
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        lines = file.read("requirements.txt").decode().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert names == ["numpy", "safetensors", "scikit-learn", "scipy"]  # the last two: its encoder reads text
    assert all(line.partition("==")[2] for line in lines)


def test_card_says_what_the_model_is(bundles: Callable[..., Path]) -> None:
    with zipfile.ZipFile(bundles(TaskKind.BINARY)) as file:
        card = file.read("README.md").decode()
    assert "binary classification" in card
    assert "log_loss = **0.5** (95 % interval 0.4 to 0.6)" in card
    assert "python predict.py" in card


def test_same_members_give_the_same_bytes(bundles: Callable[..., Path], tmp_path: Path) -> None:
    from workers.engine.bundle.runtime.schema import Field, Schema
    from workers.engine.bundle.save import assemble, save_member
    from workers.engine.preprocessing.fit import fit_encoder
    from workers.engine.types import Task

    schema = Schema((Field("a", "number"),))
    columns, y = {"a": np.arange(20.0)}, np.arange(20) % 2
    encoder, X = fit_encoder({}, schema, columns, y, TaskKind.BINARY, 2, 0)
    from sklearn.dummy import DummyClassifier

    save_member(tmp_path / "m", encoder, DummyClassifier().fit(X, y), TaskKind.BINARY, 2)
    task = Task(target="y", kind=TaskKind.BINARY, metric="roc_auc", classes=("0", "1"))
    for name in ("one.zip", "two.zip"):
        assemble(tmp_path / name, task=task, schema=schema, members=[(1.0, [tmp_path / "m"], {"trial": 0})], score=None)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def rewrite(path: Path, target: Path, change: Callable[[str, bytes], bytes | None], **more: bytes) -> Path:
    """A copy of a zip with files changed, dropped (None) or added."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as file:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                file.writestr(name, content)
        for name, content in more.items():
            file.writestr(name, content)
    return target


def flip(data: bytes) -> bytes:
    """The same length, one bit changed."""
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "victim", ["members/0/fold_0/model.txt", "members/0/fold_0/encoder.npz", "runtime/model.py", "predict.py"]
)
def test_bundle_is_refused_when_a_file_was_changed(victim: str, bundles: Callable[..., Path], tmp_path: Path) -> None:
    path = bundles(TaskKind.BINARY)
    changed = rewrite(path, tmp_path / "b.zip", lambda name, data: flip(data) if name == victim else data)
    with pytest.raises(BundleError, match="was changed"):
        open_bundle(changed)
    dropped = rewrite(path, tmp_path / "c.zip", lambda name, data: None if name == victim else data)
    with pytest.raises(BundleError, match="is missing"):
        open_bundle(dropped)


def test_unpacked_bundle_is_refused_when_a_member_was_changed(unpacked: Callable[..., Path]) -> None:
    folder = unpacked(TaskKind.BINARY)
    file = folder / "members/0/fold_0/member.json"
    file.write_bytes(file.read_bytes().replace(b"lightgbm", b"catboost"))
    with pytest.raises(BundleError, match="was changed"):
        open_bundle(folder)
    assert run_alone(folder, "--format", "json", text="[]").returncode == 2


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "members/../../evil", "a\\..\\b", "C:evil", "stray.txt"])
def test_bundle_is_refused_when_a_name_leads_elsewhere(name: str, bundles: Callable[..., Path], tmp_path: Path) -> None:
    path = rewrite(bundles(TaskKind.BINARY), tmp_path / "b.zip", lambda _, data: data, **{name: b"x"})
    with pytest.raises(BundleError, match="not in the manifest"):
        open_bundle(path)
    assert not (tmp_path.parent / "evil.py").exists()

    def listed(file: str, data: bytes) -> bytes:
        if file != "manifest.json":
            return data
        manifest = json.loads(data)
        manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1}
        return json.dumps(manifest).encode()

    with pytest.raises(BundleError):
        open_bundle(rewrite(bundles(TaskKind.BINARY), tmp_path / "c.zip", listed, **{name: b"x"}))


def test_bundle_is_refused_when_its_digest_is_another(bundles: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="SHA-256"):
        open_bundle(bundles(TaskKind.BINARY), "0" * 64)


def test_bundle_is_refused_when_its_format_is_unknown(bundles: Callable[..., Path], tmp_path: Path) -> None:
    found = f'"format_version": {FORMAT_VERSION}'.encode()

    def newer(name: str, data: bytes) -> bytes:
        return data.replace(found, b'"format_version": 9') if name == "manifest.json" else data

    with pytest.raises(BundleError, match="bundle format 9"):
        open_bundle(rewrite(bundles(TaskKind.BINARY), tmp_path / "b.zip", newer))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"not a zip at all" * 100])
def test_bundle_is_refused_when_it_is_no_zip(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "b.zip")


def test_bundle_is_refused_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_bundle(tmp_path / "absent.zip", "0" * 64)


def test_threshold_of_the_manifest_decides_the_label(bundles: Callable[..., Path], rows: list[Any]) -> None:
    model = open_bundle(bundles(TaskKind.BINARY))
    model.manifest["threshold"] = 0.0
    assert set(model.predict(rows)["predictions"]) == {"yes"}
    model.manifest["threshold"] = 1.1
    assert set(model.predict(rows)["predictions"]) == {"no"}


@pytest.mark.parametrize("kind", list(TaskKind))
def test_answer_is_empty_when_there_are_no_rows(kind: TaskKind, bundles: Callable[..., Path]) -> None:
    assert open_bundle(bundles(kind)).predict([])["predictions"] == []
