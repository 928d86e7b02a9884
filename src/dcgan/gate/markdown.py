"""A comparison in words: Markdown for people, a plain structure for machines."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from dcgan.gate.baseline import Baseline, Power
from dcgan.gate.compare import Comparison
from dcgan.gate.thresholds import CAUGHT, WORSE_FID


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_text(comparison: Comparison, power: Power, versions: dict[str, str]) -> str:
    """The whole report: verdict, gated scores, reported ones, what the gate promises, differing library versions."""
    reference, candidates = comparison.reference, comparison.candidates
    names = ", ".join(f"{run.source} (seed {run.seed})" for run in candidates)
    gated = [
        [
            row.score.name,
            row.score.direction,
            f"{_short(row.mean)} ± {_short(row.std)}",
            _short(row.candidate),
            f"{'above' if row.score.worse > 0 else 'below'} {_short(row.limit)}",
            f"**{row.verdict}**" if row.verdict == "REGRESSION" else row.verdict,
        ]
        for row in comparison.rows
    ]
    parts = [
        f"### Gate: {'REGRESSION' if comparison.failed else 'fine'}",
        f"{names} against {reference.label}.",
        markdown_table(["score", "better", "baseline", "candidate", "fails", "verdict"], gated),
    ]
    reported = _reported(comparison)
    if reported:
        parts.append(markdown_table(["reported only", "baseline", "candidate"], reported))
    parts.append(power_text([power]))
    differing = [
        f"{name} {reference.versions[name]} -> {version}"
        for name, version in versions.items()
        if name in reference.versions and reference.versions[name] != version
    ]
    if differing:
        parts.append(f"Library versions since the baseline (reported, not gated): {', '.join(differing)}.")
    return "\n\n".join(parts)


def power_text(powers: list[Power]) -> str:
    """What the gate promises with so many candidate seeds, and what to do when that is too little."""
    damage = f"FID worse by {100 * (WORSE_FID - 1):.0f} %"
    rows = [
        [str(power.candidate_seeds), f"{100 * power.false_alarms:.2f} %", f"{100 * power.caught:.1f} %"]
        for power in powers
    ]
    table = markdown_table(
        [
            "candidate seeds (simulated)",
            "unchanged model fails (at most 1 %)",
            f"{damage} fails (at least {100 * CAUGHT:.0f} %)",
        ],
        rows,
    )
    if powers[-1].enough:
        return table
    return (
        f"{table}\n\n**Too few seeds for these figures**: give more candidate seeds, or measure more for the baseline."
    )


def baseline_text(baseline: Baseline) -> str:
    """A new baseline: scores with their spread, and both simulated figures."""
    rows = [
        [name, score.direction or "reported", _short(score.mean), _short(score.std), _share(score.std, score.mean)]
        for name, score in baseline.scores.items()
    ]
    seeds = ", ".join(map(str, baseline.seeds))
    return "\n\n".join(
        [
            f"### Baseline: {len(baseline.seeds)} seeds ({seeds}) at {baseline.revision[:12]}",
            markdown_table(["score", "better", "mean", "std", "std / mean"], rows),
            power_text(baseline.power),
        ]
    )


def comparison_json(comparison: Comparison, power: Power) -> dict[str, Any]:
    return {
        "exit_code": int(comparison.failed),
        "verdict": "REGRESSION" if comparison.failed else "fine",
        "reference": comparison.reference.label,
        "candidates": [{"source": run.source, "seed": run.seed} for run in comparison.candidates],
        "scores": {
            row.score.name: {
                "direction": row.score.direction,
                "mean": row.mean,
                "std": row.std,
                "candidate": row.candidate,
                "limit": row.limit,
                "verdict": row.verdict,
            }
            for row in comparison.rows
        },
        "power": power.model_dump(),
    }


def _reported(comparison: Comparison) -> list[list[str]]:
    """Scores without a verdict that every run of the candidate has."""
    gated = {row.score.name for row in comparison.rows}
    rows = []
    for name in comparison.candidates[0].scores:
        if name in gated or not all(name in run.scores for run in comparison.candidates):
            continue
        known = comparison.reference.values.get(name, [])
        spread = comparison.reference.spread_values.get(name, [])
        mean = _short(float(np.mean(known))) if known else "-"
        std = f" ± {_short(float(np.std(spread, ddof=1)))}" if len(spread) > 1 else ""
        rows.append([name, mean + std, _short(float(np.mean([run.scores[name] for run in comparison.candidates])))])
    return rows


def _short(value: float) -> str:
    return f"{value:.4g}"


def _share(std: float, mean: float) -> str:
    return f"{100 * std / abs(mean):.1f} %" if mean else "-"
