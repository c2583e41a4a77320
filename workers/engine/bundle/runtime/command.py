"""What `predict.py` runs: rows from CSV or JSON, predictions to standard output."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import BundleProblem, RowsProblem
from .model import BundleModel


def main(folder: Path, arguments: Sequence[str]) -> int:
    """Predict with the bundle in a folder.

    Returns:
        The exit code: 0 predicted; 1 the rows do not fit; 2 the bundle is damaged or the input is no CSV or JSON.
    """
    options = _parse(arguments)
    try:
        rows = _read(options.file, options.format)
        answer = BundleModel.load(folder).predict(rows)
    except RowsProblem as problem:
        _complain(problem.errors)
        return 1
    except (BundleProblem, OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    if options.format == "json":
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    else:
        _write_csv(answer)
        _complain(answer["warnings"])
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="predict.py", description="Rows in, predictions out.")
    parser.add_argument("file", nargs="?", type=Path, help="rows as CSV or JSON; standard input when absent")
    parser.add_argument("--format", choices=("csv", "json"), help="of rows and predictions; default: by the name")
    options = parser.parse_args(arguments)
    if options.format is None:
        options.format = "json" if options.file and options.file.suffix.lower() == ".json" else "csv"
    return options


def _read(file: Path | None, kind: str) -> Any:
    """Rows: CSV with a header line, or JSON: a list of objects, or {"rows": [...]}."""
    text = (file.read_bytes() if file else sys.stdin.buffer.read()).decode("utf-8-sig")
    if kind == "csv":
        return list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    parsed = json.loads(text)
    return parsed["rows"] if isinstance(parsed, dict) and isinstance(parsed.get("rows"), list) else parsed


def _write_csv(answer: Mapping[str, Any]) -> None:
    probabilities: list[dict[str, float]] = answer.get("probabilities", [])
    labels = list(probabilities[0]) if probabilities else []
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prediction", *(f"probability_{label}" for label in labels)])
    for number, prediction in enumerate(answer["predictions"]):
        writer.writerow([_safe(prediction), *(repr(probabilities[number][label]) for label in labels)])


def _safe(value: Any) -> str:
    """Numbers in full. Text that a spreadsheet would run as a formula gets a quote in front."""
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        float(text)
    except ValueError:
        return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    return text


def _complain(notes: Sequence[Mapping[str, str]]) -> None:
    for note in notes:
        sys.stderr.write(f"{note['pointer']}: {note['detail']}\n")
