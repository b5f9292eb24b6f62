"""The cost-accuracy curve as a picture; needs matplotlib (`pip install 'marcot[plot]'`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import east_asian_width

from ...errors import InputError
from ...results.output_file import check_replaceable, write_output
from ..anytime import Point
from ..series import Series
from .report import Group, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 11.0, 4.8
"""Size of the panels of a group with few strategies, in inches."""

_ROW = 0.33
"""Height that each strategy needs in the panel beside the curve, in inches."""

_LABEL_LETTERS = 42
"""Width, in columns, beyond which labels and names are truncated."""

_HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Colours that people with any colour vision can distinguish (Okabe and Ito, Color Universal Design), without black,
which is the baseline's, and yellow, which is hard to see on white."""

_SHADES = (0.0, 0.45, -0.4)
"""How much each colour is darkened for the first, second and third strategy with the same hue; negative is lighter."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_BASELINE_COLOUR = "#000000"

_MAKER, _US = "Software", "marcot eval"
"""PNG metadata that names the program that made the file."""

_UNNAMED_WIDTH, _UNNAMED_HEIGHT = 1140, 690
"""Size in pixels of a panel in older files, which lack that metadata."""


class _Look(NamedTuple):
    """How a strategy is drawn. No two in a picture share all three fields, and the first 19 differ in colour."""

    color: str
    marker: str
    linestyle: Any


def draw_curve(report: Report, path: Path) -> None:
    """Write the picture of `report` as PNG, replacing an earlier picture.

    Raises:
        InputError: matplotlib is not installed, or `path` is another kind of file.
        OutputError: The file cannot be written.
    """
    check_replaceable(path, is_curve, "a curve of marcot eval", "move it, or give another name")
    write_output(path, curve_picture(report))


def curve_picture(report: Report) -> bytes:
    """The picture of `report` as PNG.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure = curve_figure(report)
    picture = BytesIO()
    with warnings.catch_warnings():
        # Matplotlib warns of characters that its font lacks, and draws them as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(picture, format="png", metadata={_MAKER: _US}, pil_kwargs={"optimize": True})
    return picture.getvalue()


def is_curve(head: bytes) -> bool:
    """Whether a file that begins with `head` was written by `draw_curve`."""
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or f"tEXt{_MAKER}\0".encode() not in head:
        return False
    if f"tEXt{_MAKER}\0{_US}".encode() in head:
        return True
    width, height = (int.from_bytes(head[start : start + 4], "big") for start in (16, 20))
    return b"\0Matplotlib " in head and width == _UNNAMED_WIDTH and height % _UNNAMED_HEIGHT == 0


def curve_figure(report: Report) -> Figure:
    """The picture as a matplotlib figure, with two panels for each group.

    The left panel shows accuracy against tokens per question; each line ends at the cost of its strategy, and the band
    is the 95 % interval of the baseline. The right panel has a row for each strategy, best first, with the accuracy at
    the end of its line and the 95 % interval.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("the plot needs matplotlib: pip install 'marcot[plot]'") from None
    rows = max(len(group.series) for group in report.groups)
    height = max(_HEIGHT, 1.4 + _ROW * rows) * len(report.groups)
    figure = Figure(figsize=(_WIDTH, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(report.groups), 2, squeeze=False, width_ratios=(1.7, 1))
    for (curve, ends), group in zip(panels, report.groups, strict=True):
        looks = _looks(group)
        _draw_curve(curve, report, group, looks)
        _draw_ends(ends, report, group, looks)
    return figure


def _looks(group: Group) -> Mapping[str, _Look]:
    """How each strategy of a group is drawn, by label."""
    looks = {group.baseline.label: _Look(_BASELINE_COLOUR, _MARKERS[0], _DASHES[0])}
    for number, series in enumerate(group.others):
        hue, shade = _HUES[number % len(_HUES)], _SHADES[number // len(_HUES) % len(_SHADES)]
        marker, dashes = _MARKERS[1 + number % (len(_MARKERS) - 1)], _DASHES[number % len(_DASHES)]
        looks[series.label] = _Look(_shaded(hue, shade), marker, dashes)
    return looks


def _shaded(color: str, darker: float) -> str:
    """`color` mixed with black by the share `darker`, or with white if the share is negative."""
    target = 0 if darker > 0 else 255
    channels = [round(channel + (target - channel) * abs(darker)) for channel in bytes.fromhex(color[1:])]
    return "#{:02x}{:02x}{:02x}".format(*channels)


def _draw_curve(panel: Axes, report: Report, group: Group, looks: Mapping[str, _Look]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    questions = max(len(each.trials) for each in group.series)
    noun = "question" if questions == 1 else "questions"
    title = f"{_short(group.data)}, {_short(group.model)}, {questions} {noun}"
    panel.set_title(title, loc="left", fontsize=11)
    highest, costs = 0.0, []
    for number, series in enumerate(group.series):
        points = _until_it_ends(report.curve(series))
        look, is_baseline = looks[series.label], series is group.baseline
        spent = [point.spent for point in points]
        panel.plot(
            spent,
            [100 * point.accuracy for point in points],
            **look._asdict(),
            linewidth=2.4 if is_baseline else 1.6,
            # Overlapping lines have their markers at different points; every line has one at its end.
            markevery=sorted({*range(number % 4, len(points), 4), len(points) - 1}),
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            clip_on=False,
            zorder=3 if is_baseline else 2,
        )
        if is_baseline:
            low, high = ([100 * end for end in ends] for ends in zip(*(p.interval for p in points), strict=True))
            panel.fill_between(spent, low, high, color=look.color, alpha=0.1, linewidth=0)
            highest = max(highest, *high)
        highest = max(highest, *(100 * point.accuracy for point in points))
        costs += [cost for cost in spent if cost > 0]
    first, last = min(costs, default=1.0), max(costs, default=1.0)
    panel.set_xscale("log")
    panel.set_xlim(first / 1.08 if first < last else last / 2, last * (1.08 if first < last else 2))
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(0, _percent(panel.yaxis, highest, questions))
    panel.set_xlabel("tokens that a question costs, on average (log scale)")
    panel.set_ylabel("right answers (%); band: 95 % interval of the baseline")
    _plain(panel)


def _draw_ends(panel: Axes, report: Report, group: Group, looks: Mapping[str, _Look]) -> None:
    ends = {series.label: _until_it_ends(report.curve(series))[-1] for series in group.series}
    ranked: Sequence[Series] = sorted(
        group.series, key=lambda each: (-ends[each.label].accuracy, ends[each.label].spent)
    )
    for row, series in enumerate(ranked):
        point, look = ends[series.label], looks[series.label]
        low, high = (100 * end for end in point.interval)
        panel.hlines(row, low, high, color=look.color, linestyle=look.linestyle, linewidth=1.8)
        panel.vlines((low, high), row - 0.16, row + 0.16, color=look.color, linewidth=1.8)
        panel.plot(100 * point.accuracy, row, **look._asdict(), markersize=7, clip_on=False)
    panel.set_title("at the end of each line, 95 % intervals", loc="left", fontsize=11)
    panel.set_yticks(range(len(ranked)), [_row_label(each, ends[each.label], group) for each in ranked], fontsize=9)
    panel.yaxis.tick_right()
    panel.tick_params(axis="y", length=0)
    # If there are few rows, keep them together at the top.
    panel.set_ylim(max(len(ranked), 6) - 0.4, -0.6)
    highest = max(100 * end.interval.high for end in ends.values())
    panel.set_xlim(0, _percent(panel.xaxis, highest, max(end.questions for end in ends.values())))
    panel.set_xlabel("right answers (%)")
    _plain(panel)


def _row_label(series: Series, end: Point, group: Group) -> str:
    name = _short(series.label) + (" (baseline)" if series is group.baseline and group.others else "")
    tokens = "1 token" if end.spent == 1 else f"{end.spent:,.0f} tokens"
    return f"{name}\n{100 * end.accuracy:.1f} % at {tokens}"


def _until_it_ends(points: Sequence[Point]) -> Sequence[Point]:
    """`points` up to the budget at which all questions have finished, after which nothing changes."""
    count = next(place for place, point in enumerate(points, 1) if point.spent >= points[-1].spent)
    return points[:count]


def _short(label: str) -> str:
    """`label` truncated to a readable length, with dollar signs escaped so that matplotlib sees no formula."""
    room, shown = _LABEL_LETTERS, ""
    for letter in " ".join(label.split()):
        room -= 2 if east_asian_width(letter) in "WF" else 1
        if room < 0:
            shown += "…"
            break
        shown += letter
    return shown.replace("$", r"\$")


def _percent(axis: Axis, highest: float, questions: int) -> float:
    """Set the ticks of a percentage axis that must reach `highest`, and return the upper end of the axis."""
    from matplotlib.ticker import MultipleLocator

    axis.set_major_locator(MultipleLocator(25 if highest > 80 or questions <= 4 else 10 if highest > 25 else 5))
    return max(1.05 * highest, 1.0)


def _plain(panel: Axes) -> None:
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    for side in ("top", "right", *(("left",) if panel.yaxis.get_ticks_position() == "right" else ())):
        panel.spines[side].set_visible(False)
