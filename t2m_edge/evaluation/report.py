"""Tables of the accuracy study."""

from __future__ import annotations

import numpy as np


def table(results: dict[str, dict[str, np.ndarray]], linear: list[str], ways: int = 20) -> str:
    """Markdown: accuracies as mean ± standard deviation over the splits, and the paired difference to the best linear.

    results: {method: {condition: float64 (splits, 3)}}. The best linear method of a condition is the one of ``linear``
    with the best mean accuracy over all classes there: chosen in hindsight, in the linear methods' favour.
    """
    lines = [
        f"| condition | method | {ways}-way | 5-way | 2-way | {ways}-way minus best linear (SEM) |",
        "|---|---|---|---|---|---|",
    ]
    for condition in next(iter(results.values())):
        best = best_of(results, linear, condition)
        top = max(found[condition][:, 0].mean() for found in results.values())
        for name, found in results.items():
            values = found[condition]
            cells = means(values)
            if values[:, 0].mean() == top:
                cells[0] = f"**{cells[0]}**"
            difference = "" if best is None else paired(values[:, 0] - results[best][condition][:, 0])
            lines.append(
                f"| {condition} | {name} | {' | '.join(cells)} | {'best linear' if name == best else difference} |"
            )
    return "\n".join(lines)


def best_of(results: dict[str, dict[str, np.ndarray]], names: list[str], condition: str) -> str | None:
    """The one of ``names`` with the best mean accuracy over all classes; None where there are no names."""
    return max(names, key=lambda m: results[m][condition][:, 0].mean(), default=None)


def means(values: np.ndarray) -> list[str]:
    """Mean ± standard deviation over the splits, the first of two axes; of one split the value alone."""
    if len(values) == 1:
        return [f"{v:.1f}" for v in values[0]]
    return [f"{m:.1f} ± {s:.1f}" for m, s in zip(values.mean(0), deviation(values), strict=True)]


def deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the splits, the first axis; 0 where there is one."""
    return values.std(0, ddof=min(1, len(values) - 1))


def over_splits(count: int) -> str:
    """What figures of so many splits are, in words."""
    return "of one split" if count == 1 else f"mean ± standard deviation over {count} splits"


def difference_table(results: dict[str, dict[str, np.ndarray]], reference: dict[str, dict[str, np.ndarray]]) -> str:
    """Markdown: accuracy over all classes of each method minus the same method's in ``reference``, paired by split."""
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
        cells = [" / ".join(means(values[:, i])) for i in range(values.shape[1])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paired(differences: np.ndarray) -> str:
    """Mean and standard error of differences on the same splits."""
    if len(differences) == 1:
        return f"{differences[0]:+.1f}"
    return f"{differences.mean():+.1f} ({differences.std(ddof=1) / np.sqrt(len(differences)):.1f})"
