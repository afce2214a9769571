"""Tables of the accuracy study."""

from __future__ import annotations

import numpy as np


def table(results: dict[str, dict[str, np.ndarray]], linear: list[str]) -> str:
    """Markdown: accuracies as mean ± standard deviation over the splits, and the paired difference to the best linear.

    results: {method: {condition: float64 (splits, 3)}}. The best linear method of a condition is the one of ``linear``
    with the best mean 20-way accuracy there: chosen in hindsight, in the linear methods' favour.
    """
    lines = ["| condition | method | 20-way | 5-way | 2-way | minus best linear (SEM) |", "|---|---|---|---|---|---|"]
    for condition in next(iter(results.values())):
        best = max(linear, key=lambda m: results[m][condition][:, 0].mean(), default=None)
        for name, found in results.items():
            values = found[condition]
            spread = values.std(0, ddof=min(1, len(values) - 1))
            cells = [f"{m:.1f} ± {s:.1f}" for m, s in zip(values.mean(0), spread, strict=True)]
            difference = "" if best is None or name == best else paired(values[:, 0] - results[best][condition][:, 0])
            lines.append(f"| {condition} | {name} | {' | '.join(cells)} | {difference} |")
    return "\n".join(lines)


def difference_table(results: dict[str, dict[str, np.ndarray]], reference: dict[str, dict[str, np.ndarray]]) -> str:
    """Markdown: 20-way accuracy of each method minus the same method's in ``reference``, paired by split, with SEM."""
    conditions = list(next(iter(results.values())))
    lines = ["| method | " + " | ".join(conditions) + " |", "|---" * (len(conditions) + 1) + "|"]
    for name, found in results.items():
        cells = [paired(found[c][:, 0] - reference[name][c][:, 0]) for c in conditions]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def generalised_table(results: dict[str, np.ndarray]) -> str:
    """Markdown: unseen / seen / harmonic mean, without and with calibration. results: {method: (splits, 2, 3)}."""
    lines = ["| method | u / s / H without calibration | u / s / H calibrated |", "|---|---|---|"]
    for name, values in results.items():
        mean, spread = values.mean(0), values.std(0, ddof=min(1, len(values) - 1))
        cells = [" / ".join(f"{m:.1f} ± {s:.1f}" for m, s in zip(*row)) for row in zip(mean, spread)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paired(differences: np.ndarray) -> str:
    """Mean and standard error of differences on the same splits."""
    if len(differences) == 1:
        return f"{differences[0]:+.1f}"
    return f"{differences.mean():+.1f} ({differences.std(ddof=1) / np.sqrt(len(differences)):.1f})"
