"""How jobs look on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.client import Client

console = Console()


def follow(client: Client, job_id: str) -> dict[str, Any]:
    """Show a job's progress until it has ended; the job. Without a terminal, a line whenever something changes."""
    if not console.is_terminal:
        last = ""

        def print_line(job: dict[str, Any]) -> None:
            nonlocal last
            line = progress_line(job).plain
            if line != last:
                console.print(line, highlight=False, soft_wrap=True)
                last = line

        return client.wait(job_id, print_line)
    with Live(Text("waiting for a worker …"), console=console, refresh_per_second=4) as live:
        return client.wait(job_id, lambda job: live.update(progress_line(job)))


def progress_line(job: dict[str, Any]) -> Text:
    """State, trials, time, best score."""
    progress = job["progress"]
    line = Text(f"{job['state']:<10}", style="bold")
    if "trials" in progress:
        budget = f"/{progress['budget_s']:.0f}" if progress.get("budget_s") else ""
        line.append(f" {progress['trials']:>3} trials  {progress['elapsed_s']:5.1f}{budget} s", style="default")
    if best := progress.get("best"):
        line.append(f"  best {best['metric']} {best['score']:.4g} ({best['learner']})", style="green")
    return line


def leaderboard(board: dict[str, Any], most: int = 10) -> Table:
    """Best trials first."""
    table = Table(
        "rank",
        "learner",
        board["metric"],
        "seconds",
        "ms/row",
        "MB",
        "weight",
        title="Leaderboard (* nothing is better, faster and smaller)",
    )
    for row in board["items"][:most]:
        weight = f"{row['weight']:.2f}" if row["weight"] else ""
        score = f"{row['metrics'].get(board['metric'], float('nan')):.4f}"
        cost = (f"{row['seconds']:.1f}", f"{row['predict_ms_per_row']:.3g}", f"{row['megabytes']:.2g}")
        table.add_row(f"{row['rank']}{'*' if row['is_pareto'] else ''}", row["learner"], score, *cost, weight)
    return table


def score_line(model: dict[str, Any]) -> str:
    """The honest score in words."""
    score = model["score"]
    how = {"bbc-cv": "out of fold, corrected for selection", "holdout": "on rows that nothing else saw"}
    return (
        f"{score['metric']} {score['value']:.4f}, 95 % interval {score['low']:.4f} to {score['high']:.4f}"
        f" ({how.get(score['method'], score['method'])}, {score['rows']:,} rows)"
    )
