"""Comparisons and baselines as Markdown for people, and as a plain structure for machines."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from dcgan.gate.baseline import Baseline, Power, Reference
from dcgan.gate.compare import Comparison, ScoreComparison
from dcgan.gate.thresholds import Damage, GateSettings


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_text(settings: GateSettings, comparison: Comparison, power: Power, versions: dict[str, str]) -> str:
    """The whole report: verdict, gated scores, reported scores, error rates, library versions that differ."""
    names = ", ".join(f"{run.source} (seed {run.seed})" for run in comparison.candidates)
    parts = [
        f"### Gate: {'REGRESSION' if comparison.failed else 'fine'}",
        f"{names} against {comparison.reference.label}.",
        markdown_table(
            ["score", "better", "baseline", "candidate", "fails", "verdict"], map(_gated_row, comparison.scores)
        ),
    ]
    if reported := _reported_rows(comparison):
        parts.append(markdown_table(["reported only", "baseline", "candidate"], reported))
    parts.append(power_text(settings, [power]))
    if differing := _differing_versions(comparison.reference, versions):
        parts.append(f"Library versions that differ from the baseline's (reported only): {', '.join(differing)}.")
    return "\n\n".join(parts)


def baseline_text(settings: GateSettings, baseline: Baseline) -> str:
    """A new baseline: scores with their spread, false-alarm rate and detection power."""
    rows = [
        [name, score.direction or "reported", _short(score.mean), _short(score.std), _ratio(score.std, score.mean)]
        for name, score in baseline.scores.items()
    ]
    seeds = ", ".join(map(str, baseline.seeds))
    return "\n\n".join(
        [
            f"### Baseline: {len(baseline.seeds)} seeds ({seeds}) at {baseline.revision[:12]}",
            markdown_table(["score", "better", "mean", "std", "std / mean"], rows),
            power_text(settings, baseline.power),
        ]
    )


def power_text(settings: GateSettings, powers: list[Power]) -> str:
    """False-alarm rate and detection power by candidate seeds, and what to do when the power is too low."""
    table = markdown_table(
        [
            "candidate seeds",
            f"false-alarm rate (at most {100 * settings.false_alarm_rate:.2g} %)",
            f"detection power for {damage_text(settings.damage)} (wanted: {100 * settings.damage.wanted_power:.0f} %)",
        ],
        (
            [
                str(power.candidate_seeds),
                f"{100 * power.false_alarm_rate:.2f} %",
                f"{100 * power.detection_power:.1f} %",
            ]
            for power in powers
        ),
    )
    if settings.damage.is_detected(powers[-1].detection_power):
        return table
    return f"{table}\n\n**Too few seeds to detect that**: give more candidate seeds, or measure a larger baseline."


def damage_text(damage: Damage) -> str:
    return f"{damage.score} worse by {abs(100 * (damage.factor - 1)):.0f} %"


def comparison_json(comparison: Comparison, power: Power) -> dict[str, Any]:
    return {
        "exit_code": int(comparison.failed),
        "verdict": "REGRESSION" if comparison.failed else "fine",
        "reference": comparison.reference.label,
        "candidates": [{"source": run.source, "seed": run.seed} for run in comparison.candidates],
        "scores": {
            compared.score.name: {
                "direction": compared.score.direction,
                "mean": compared.mean,
                "std": compared.std,
                "candidate": compared.candidate,
                "limit": compared.limit,
                "verdict": compared.verdict,
            }
            for compared in comparison.scores
        },
        "power": power.model_dump(),
    }


def _gated_row(compared: ScoreComparison) -> list[str]:
    return [
        compared.score.name,
        compared.score.direction,
        f"{_short(compared.mean)} ± {_short(compared.std)}",
        _short(compared.candidate),
        f"{'above' if compared.score.worse_sign > 0 else 'below'} {_short(compared.limit)}",
        f"**{compared.verdict}**" if compared.verdict == "REGRESSION" else compared.verdict,
    ]


def _reported_rows(comparison: Comparison) -> list[list[str]]:
    """Scores without a verdict that every run of the candidate has."""
    gated = {compared.score.name for compared in comparison.scores}
    rows = []
    for name in comparison.candidates[0].scores:
        if name in gated or not all(name in run.scores for run in comparison.candidates):
            continue
        values = comparison.reference.values.get(name, [])
        spread = comparison.reference.spread_values.get(name, [])
        mean = _short(float(np.mean(values))) if values else "-"
        std = f" ± {_short(float(np.std(spread, ddof=1)))}" if len(spread) > 1 else ""
        rows.append([name, mean + std, _short(float(np.mean([run.scores[name] for run in comparison.candidates])))])
    return rows


def _differing_versions(reference: Reference, versions: dict[str, str]) -> list[str]:
    return [
        f"{name} {reference.versions[name]} -> {version}"
        for name, version in versions.items()
        if name in reference.versions and reference.versions[name] != version
    ]


def _short(value: float) -> str:
    return f"{value:.4g}"


def _ratio(std: float, mean: float) -> str:
    return f"{100 * std / abs(mean):.1f} %" if mean else "-"
