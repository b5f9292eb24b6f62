"""The cost-accuracy curve as a picture; needs matplotlib (`pip install 'marcot[plot]'`)."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .report import Group, Report

_WIDTH, _HEIGHT = 7.6, 4.6
"""Inches of a panel."""

_BAR_STEP = 1.02
"""From one bar at the right end to the next."""

_COLORS = ("#0b62a4", "#d1480f", "#2f7d32", "#8a3ffc", "#b8860b", "#c2185b", "#00796b", "#5d4037", "#546e7a")


def draw_curve(report: Report, path: Path) -> None:
    """Write a PNG with a panel for each group: accuracy over tokens per question.

    A line ends at what its strategy cost. The band is the 95 % interval of the baseline, the bars at the right end are
    those of the others.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("the plot needs matplotlib: pip install 'marcot[plot]'") from None
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(report.groups)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(report.groups), 1, squeeze=False)[:, 0]
    for panel, group in zip(panels, report.groups, strict=True):
        _draw(panel, report, group)
    figure.savefig(path, format="png")


def _draw(panel, report: Report, group: Group) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    questions = max(len(each.trials) for each in group.series)
    panel.set_title(f"{group.data}, {group.model}, {questions} questions", loc="left", fontsize=11)
    for number, series in enumerate(group.series):
        color = _COLORS[number % len(_COLORS)]
        points = report.curve(series)
        spent = [point.spent for point in points]
        panel.plot(
            spent,
            [100 * point.accuracy for point in points],
            color=color,
            label=series.label,
            linewidth=2 if series is group.baseline else 1.5,
            linestyle="-" if number < len(_COLORS) else "--",
            marker="o",
            markersize=3,
            alpha=0.85,
        )
        low = [100 * point.interval.low for point in points]
        high = [100 * point.interval.high for point in points]
        if series is group.baseline:
            panel.fill_between(spent, low, high, color=color, alpha=0.12, linewidth=0)
        else:
            panel.vlines(report.budgets[-1] * _BAR_STEP ** (number + 1), low[-1], high[-1], color=color, linewidth=1.5)
    panel.set_xscale("log", base=2)
    panel.set_xticks(report.budgets[::4], [str(budget) for budget in report.budgets[::4]])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)
    panel.set_xlabel("tokens that a question costs, on average")
    panel.set_ylabel("right answers, %")
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    panel.legend(frameon=False, fontsize=9, loc="upper left")
