"""Plots of the accuracy study, as small SVG files. matplotlib comes with the extra [study]."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from t2m_edge.evaluation.report import deviation

COLOURS = {"name": "#7f7f7f", "sentence": "#ff7f0e", "descriptions": "#1f77b4"}


def plot_accuracy(results: dict[str, dict[str, dict[str, np.ndarray]]], chance: float, title: str, path: Path) -> None:
    """Accuracy over all classes: a panel a text encoder, a line a method, a dot a condition, bars of one deviation.

    results: {encoder: {method: {condition: float64 (splits, 3)}}}.

    Raises:
        ModuleNotFoundError: no matplotlib.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "t2m-edge"
    from matplotlib import pyplot

    methods = list(next(iter(results.values())))
    figure, axes = pyplot.subplots(
        1,
        len(results),
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=(3.2 + 3.2 * len(results), 1.3 + 0.3 * len(methods)),
    )
    lines = np.arange(len(methods))[::-1]
    for axis, (encoder, found) in zip(axes[0], results.items()):
        for i, (condition, colour) in enumerate(COLOURS.items()):
            values = [found[m][condition][:, 0] for m in methods]
            axis.errorbar(
                [v.mean() for v in values],
                lines + 0.2 - 0.2 * i,
                xerr=[deviation(v) for v in values],
                fmt="o",
                markersize=3,
                linewidth=0.8,
                color=colour,
                label=condition,
            )
        axis.axvline(chance, color="black", linewidth=0.6, linestyle=":")
        axis.set_title(f"texts by {encoder}", fontsize=9)
        axis.set_yticks(lines, methods, fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", linewidth=0.3)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), fontsize=7, loc="upper right", ncol=len(COLOURS), frameon=False
    )
    figure.supxlabel("mean per-class top-1, % (dotted: chance)", fontsize=8)
    figure.suptitle(title, fontsize=9, x=0.01, horizontalalignment="left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
