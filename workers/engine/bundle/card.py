"""The model card: what a bundle is, how good, how to use it, and what it can't do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {"binary": "binary classification", "multiclass": "classification", "regression": "regression"}
_METHODS = {
    "bbc-cv": "out-of-fold, corrected for the selection of the best (BBC-CV, Tsamardinos 2018)",
    "holdout": "on rows that neither fitting nor selection saw",
}


def model_card(manifest: Mapping[str, Any]) -> str:
    """Markdown from a manifest."""
    return "\n\n".join(
        (
            f"# Model of {_code(manifest['target'])}",
            _what(manifest),
            "## How good",
            _how_good(manifest["score"]),
            "## Members",
            _members(manifest["members"], manifest["stack"]),
            "## Use",
            _USE,
            "## Columns",
            _columns(manifest["schema"]["fields"]),
            "## Limits",
            _limits(manifest),
        )
    )


def _what(manifest: Mapping[str, Any]) -> str:
    lines = [f"- Task: {_KINDS[manifest['kind']]}, made for {manifest['metric']}"]
    if manifest["classes"]:
        shown = ", ".join(_code(label) for label in manifest["classes"][:20])
        lines.append(f"- Classes ({len(manifest['classes'])}): {shown}{', …' if len(manifest['classes']) > 20 else ''}")
    if "rows" in manifest:
        lines.append(f"- Trained on {manifest['rows']:,} rows and {len(manifest['schema']['fields'])} columns")
    lines.append(f"- Made by Warmstart {manifest['engine_version']}, bundle format {manifest['format_version']}")
    return "\n".join(lines)


def _how_good(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "Not measured."
    method = _METHODS.get(score["method"], score["method"])
    return (
        f"{score['metric']} = **{score['value']:.4g}** (95 % interval {score['low']:.4g} to {score['high']:.4g}), "
        f"{method}, over {score['rows']:,} rows."
    )


def _members(members: list[Mapping[str, Any]], stack: list[Mapping[str, Any]]) -> str:
    lines = ["| learner | weight | models averaged |", "|---|---|---|"]
    lines += [f"| {item.get('learner', '')} | {item['weight']:.3f} | {item['folds']} |" for item in members]
    lines += [
        f"| {item.get('learner', '')}, over the predictions of {len(item['inputs'])} of the above "
        f"| {item['weight']:.3f} | {item['folds']} |"
        for item in stack
    ]
    return "\n".join(lines)


_USE = """```
python -m venv env && env/bin/pip install -r requirements.txt
env/bin/python predict.py rows.csv > predictions.csv
echo '[{"column": "value"}]' | env/bin/python predict.py --format json
```

`manifest.json` holds the JSON Schema of a row (`input_schema`) and the SHA-256 of every file.
Nothing here is a pickle."""


def _columns(fields: list[Mapping[str, Any]]) -> str:
    lines = ["| column | kind | categories |", "|---|---|---|"]
    lines += [f"| {_code(field['name'])} | {field['kind']} | {len(field['vocabulary']) or ''} |" for field in fields]
    return "\n".join(lines)


def _limits(manifest: Mapping[str, Any]) -> str:
    limits = [
        "- Every column must be there; null, or nothing in CSV, means that a value is missing. Others are ignored.",
        "- Categories that training did not see are answered as unseen, with a warning. Text in a number column is an "
        "error.",
        "- It knows rows like those it was trained on. Where the world has changed since, the score above no longer "
        "holds.",
    ]
    if manifest["kind"] == "binary":
        limits.append(f"- The label is {_code(manifest['classes'][1])} from a probability of {manifest['threshold']}.")
    return "\n".join(limits)


def _code(text: str) -> str:
    """Text from a table, shown as code so that it can't be markup."""
    cleaned = " ".join(str(text).replace("`", "'").replace("|", "/").split())
    return f"`{cleaned[:80]}`"
