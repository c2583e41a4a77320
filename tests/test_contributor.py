"""What docs/architecture.md promises a contributor: one file and one line make a learner, and likewise a strategy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from workers.engine.catalog import get_learner

ROOT = Path(__file__).parent.parent

LEARNER = '''"""The median of the target, whatever the row."""

from __future__ import annotations

from sklearn.dummy import DummyRegressor

from ..types import TaskKind
from .base import Learner
from .wrap import Wrapped

LEARNER = Learner(
    name="median",
    kinds=frozenset({TaskKind.REGRESSION}),
    space=(),
    defaults=({},),
    build=lambda params, context: Wrapped(lambda n: DummyRegressor(strategy="median"), context),
    cost=lambda params, size: 1e-6 * size.rows,
)
'''

STRATEGY = '''"""Every hand-written default once, and no more."""

from __future__ import annotations

from ..types import Proposal, Source, Trial
from .base import SearchContext


class DefaultsOnly:
    """Proposes each learner's defaults in order."""

    def __init__(self, context: SearchContext) -> None:
        self._left = context.space.defaults()

    def ask(self) -> Proposal | None:
        """The next default."""
        return Proposal(configuration=self._left.pop(0), source=Source.DEFAULT) if self._left else None

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""
'''

NEW = '"defaults_only": "defaults_only:DefaultsOnly",'

SCRIPT = """
import tempfile
from pathlib import Path

from workers.engine.catalog import get_learner
import numpy as np
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.fit import Plan, fit
from workers.engine.journal import FolderJournal
from workers.engine.table.load import TypedTable
from workers.engine.types import Budget, Task, TaskKind
import workers
assert Path(workers.__file__).is_relative_to(Path.cwd()), workers.__file__
x = np.random.default_rng(0).normal(size=100)
table = TypedTable(Schema((Field("x", "number"),)), {"x": x}, 100)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    result = fit(
        table, x + 3, Task(target="y", kind=TaskKind.REGRESSION, metric="mae"),
        Plan(strategy="defaults_only", algorithms=("median", "linear")),
        FolderJournal(folder, Budget(seconds=None, trials=10)), folder / "scratch",
    )
print([trial.proposal.configuration["learner"] for trial in result.trials], [str(t.status) for t in result.trials])
"""


def test_a_learner_and_a_strategy_are_one_file_and_one_line_each(tmp_path: Path) -> None:
    """In a copy of the engine: the new learner competes under the new strategy, bundle included."""
    shutil.copytree(ROOT / "workers", tmp_path / "workers", ignore=shutil.ignore_patterns("__pycache__"))
    engine = tmp_path / "workers" / "engine"
    (engine / "learners" / "median.py").write_text(LEARNER)
    (engine / "search" / "defaults_only.py").write_text(STRATEGY)
    catalog = engine / "catalog.py"
    text = catalog.read_text()
    for line, added in (('"dummy": "dummy:LEARNER",', '"median": "median:LEARNER",'), ('"auto": "auto:Auto",', NEW)):
        assert line in text
        text = text.replace(line, f"{line}\n    {added}")
    catalog.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    learners, statuses = done.stdout.split("] [")
    defaults = len(get_learner("linear").defaults)
    assert learners == "['median'" + ", 'linear'" * defaults
    assert statuses.count("succeeded") == 1 + defaults
