"""Comparisons and baselines for people, as Markdown or as aligned text, and as a plain structure for machines."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dcgan.gate.baseline import Baseline, Power, Reference
from dcgan.gate.compare import Comparison, ScoreComparison
from dcgan.gate.settings import GateSettings, TargetRegression


@dataclass(frozen=True)
class Table:
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [self.header, ["-" * width for width in widths], *self.rows]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


@dataclass(frozen=True)
class Report:
    title: str
    parts: list[str | Table]  # a str is a paragraph

    def markdown(self) -> str:
        parts = [part.markdown() if isinstance(part, Table) else part for part in self.parts]
        return "\n\n".join([f"### {self.title}", *parts])

    def text(self) -> str:
        """For a terminal."""
        parts = [part.text() if isinstance(part, Table) else part for part in self.parts]
        return "\n\n".join([self.title, *parts])


def comparison_report(settings: GateSettings, comparison: Comparison, power: Power, versions: dict[str, str]) -> Report:
    """The verdict, gated scores, reported scores, error rates, and library versions that differ."""
    names = ", ".join(f"{run.source} (seed {run.seed})" for run in comparison.candidates)
    header = ["score", "better", "baseline", "candidate", "fails if", "verdict"]
    parts: list[str | Table] = [
        f"{names} against {comparison.reference.label}.",
        Table(header, [_gated_row(settings, compared) for compared in comparison.scores]),
    ]
    if reported := _reported_rows(settings, comparison):
        parts.append(Table(["reported only", "baseline", "candidate"], reported))
    parts.append(_power_sentence(settings, power))
    if _may_have_regressed(settings.target, comparison) and not settings.target.is_detected(power.detection_power):
        parts.append(_too_few_seeds(settings))
    if differing := _differing_versions(comparison.reference, versions):
        parts.append(f"Library versions that differ from the baseline's (reported only): {', '.join(differing)}.")
    return Report(f"Gate: {'REGRESSION' if comparison.failed else 'fine'}", parts)


def baseline_report(settings: GateSettings, baseline: Baseline) -> Report:
    """A new baseline: scores with their spread, false-alarm rate and detection power."""
    rows = [
        [
            settings.title(name),
            score.direction or "reported",
            _short(score.mean),
            _short(score.std),
            _ratio(score.std, score.mean),
        ]
        for name, score in baseline.scores.items()
    ]
    seeds = ", ".join(map(str, baseline.seeds))
    parts: list[str | Table] = [
        Table(["score", "better", "mean", "std", "std / mean"], rows),
        *(_power_sentence(settings, power) for power in baseline.power),
    ]
    if not settings.target.is_detected(baseline.power[-1].detection_power):
        parts.append(_too_few_seeds(settings))
    return Report(f"Baseline: {len(baseline.seeds)} seeds ({seeds}) at {baseline.revision[:12]}", parts)


def _power_sentence(settings: GateSettings, power: Power) -> str:
    """False-alarm rate and detection power of a comparison with this number of candidate seeds."""
    return (
        f"With {power.candidate_seeds} candidate seed{'s' if power.candidate_seeds > 1 else ''}: false-alarm rate "
        f"{100 * power.false_alarm_rate:.2f} % (at most {100 * settings.false_alarm_rate:.2g} %), detection power "
        f"{100 * power.detection_power:.1f} % for {target_text(settings)} "
        f"(target: {100 * settings.target.target_power:.0f} %)."
    )


def _may_have_regressed(target: TargetRegression, comparison: Comparison) -> bool:
    """Whether the target's score passed, but is worse than the baseline by more than half of the target."""
    compared = next(compared for compared in comparison.scores if compared.score.name == target.score)
    worse_by = compared.score.worse_sign * (compared.candidate - compared.mean)
    return not comparison.failed and worse_by > abs(target.factor - 1) * compared.mean / 2


def _too_few_seeds(settings: GateSettings) -> str:
    return (
        f"Too few seeds to detect {target_text(settings)} reliably: give more candidate seeds, or measure a larger "
        "baseline."
    )


def target_text(settings: GateSettings) -> str:
    target = settings.target
    return f"{settings.title(target.score)} worse by {abs(100 * (target.factor - 1)):.0f} %"


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


def _gated_row(settings: GateSettings, compared: ScoreComparison) -> list[str]:
    return [
        settings.title(compared.score.name),
        compared.score.direction,
        f"{_short(compared.mean)} ± {_short(compared.std)}",
        _short(compared.candidate),
        f"{'above' if compared.score.worse_sign > 0 else 'below'} {_short(compared.limit)}",
        compared.verdict,
    ]


def _reported_rows(settings: GateSettings, comparison: Comparison) -> list[list[str]]:
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
        candidate = _short(float(np.mean([run.scores[name] for run in comparison.candidates])))
        rows.append([settings.title(name), mean + std, candidate])
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
