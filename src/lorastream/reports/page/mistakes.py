"""Where the errors go: between tasks, between classes; and how far the probabilities can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lorastream.reports.page.drawing import ACCENT, MUTED, SECOND, drawing, legend, percents
from lorastream.reports.page.figure import Figure, Gallery, Section, Table, data_uri
from lorastream.reports.page.heat_map import MOST_WITH_FIGURES, heat_map
from lorastream.reports.page.words import class_name
from lorastream.reports.units import percent
from lorastream.runs import RunRecord, thumbnails
from lorastream.runs.answers import CalibrationRecord, ConfusionRecord

_PAIRS, _WORST = 12, 12


def mistakes_section(record: RunRecord, folder: Path | None = None) -> Section:
    """Return the part of the page about confusion; empty where the record, an older one, has none.

    Args:
        record: of the run.
        folder: of the run, for the pictures that the record names; None shows none.
    """
    confusion = record.confusion
    if confusion is None or not sum(confusion.images):
        return Section(name="mistakes", title="Where the errors go")
    figures = (_between_tasks(confusion),) if len(confusion.tasks) > 1 else ()
    tables = (_worst(record, confusion), _pairs(record, confusion))
    return Section(
        name="mistakes",
        title="Where the errors go",
        text=_summary(confusion),
        figures=figures,
        tables=tuple((caption, table) for caption, table in tables if table.rows),
        galleries=tuple(_galleries(record, confusion, folder)) if folder else (),
    )


def calibration_section(record: RunRecord) -> Section:
    """Return the part of the page about probabilities; empty where the record has none."""
    kept = record.calibration
    figures = (_reliability(kept),) if kept and sum(kept.images) else ()
    return Section(name="calibration", title="Calibration", figures=figures)


def _summary(confusion: ConfusionRecord) -> str:
    images, right = sum(confusion.images), sum(confusion.right)
    wrong, elsewhere = images - right, images - sum(row[k] for k, row in enumerate(confusion.tasks))
    if not wrong:
        return f"None: all {images:,} test images of the last evaluation are right."
    text = f"{wrong:,} of {images:,} test images of the last evaluation are wrong"
    if len(confusion.tasks) == 1:
        return f"{text}."
    return (
        f"{text}: {elsewhere:,} ({percent(elsewhere / wrong)} % of the errors) are taken for a class of another task, "
        f"{wrong - elsewhere:,} for another class of their own."
    )


def _between_tasks(confusion: ConfusionRecord) -> Figure:
    shares = [[images / sum(row) if sum(row) else None for images in row] for row in confusion.tasks]
    n = len(shares)
    kept = [row[k] for k, row in enumerate(shares)]
    least = min(range(n), key=lambda k: 2.0 if (value := kept[k]) is None else value)
    return Figure(
        name="between-tasks",
        title="Confusion between tasks",
        alt=f"Heat map of {n} by {n} tasks. Task {least + 1} keeps fewest of its images: {percent(kept[least])} % are "
        "taken for one of its own classes.",
        caption="Of the images of a row's task, the percentage that is taken for a class of the column's task, right "
        "or wrong. Off the diagonal, the task itself is mistaken."
        + (" The figures are in the table." if n > MOST_WITH_FIGURES else ""),
        svg=heat_map("between-tasks", shares, across="task of the answer", down="task of the image"),
        table=Table.of(
            ["images of task", *(f"task {k + 1}" for k in range(n))],
            [[str(k + 1), *(f"{images:,}" for images in row)] for k, row in enumerate(confusion.tasks)],
        ),
    )


def _pairs(record: RunRecord, confusion: ConfusionRecord) -> tuple[str, Table]:
    rows = [
        [class_name(record, true), class_name(record, taken), f"{n:,}", f"{confusion.images[true]:,}"]
        for true, taken, n in confusion.pairs[:_PAIRS]
    ]
    return "Most often confused", Table.of(["class", "taken for", "images", "of"], rows)


def _galleries(record: RunRecord, confusion: ConfusionRecord, folder: Path) -> Iterator[Gallery]:
    """Yield the pictures of each pair of classes; what is not there, as of a record moved alone, is left out."""
    for true, taken, n in confusion.pairs:
        kept = [one for one in record.thumbnails if (one.true, one.taken) == (true, taken)]
        found = [(data, one.image) for one in kept if (data := thumbnails.read(folder, one))]
        if found:
            alt = f"{class_name(record, true)} taken for {class_name(record, taken)}"
            pictures = tuple((data_uri(data, "image/jpeg"), image) for data, image in found)
            yield Gallery(caption=f"{alt}, {len(found)} of {n:,}", alt=alt, pictures=pictures)


def _worst(record: RunRecord, confusion: ConfusionRecord) -> tuple[str, Table]:
    seen = zip(confusion.right, confusion.images, strict=False)
    entries = sorted((right / n, label, n) for label, (right, n) in enumerate(seen) if n and right < n)
    rows = [[class_name(record, label), percent(share), f"{n:,}"] for share, label, n in entries[:_WORST]]
    return "Worst classes", Table.of(["class", "right, %", "images"], rows)


def _reliability(kept: CalibrationRecord) -> Figure:
    found = kept.reliability()
    bins, images = len(found.images), sum(found.images)
    present = [(c, a) for c, a in zip(found.confidence, found.accuracy, strict=True) if c is not None and a is not None]
    with drawing("reliability", height=300, top=38) as drawn:
        panel = drawn.panel
        centres = [100 * (i + 0.5) / bins for i in range(bins)]
        shares = [100 * n / images for n in found.images]
        panel.bar(centres, shares, width=92 / bins, color=ACCENT, alpha=0.3, label="share of the answers")
        panel.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (3, 2)), label="as claimed")
        claimed, true = zip(*((100 * c, 100 * a) for c, a in present), strict=True)
        panel.plot(claimed, true, color=SECOND, linewidth=1.8, marker="o", markersize=4, label="right")
        percents(panel, "%")
        panel.set_xlim(-2, 103)
        panel.set_xticks(range(0, 101, 20))
        panel.set_xlabel("probability of the answer, %")
        legend(panel)
    rows = [
        [_between(i, bins), f"{found.images[i]:,}", percent(found.confidence[i]), percent(found.accuracy[i])]
        for i in range(bins)
    ]
    return Figure(
        name="reliability",
        title="Claimed and true",
        alt=f"Chart of {bins} bins. The expected calibration error is {percent(found.error)} points.",
        caption="How often answers are right, by the probability that the softmax claims for them; no temperature was "
        f"fitted. Below the dashed line it claims too much. Expected calibration error: {percent(found.error)} points.",
        svg=drawn.svg,
        table=Table.of(["probability, %", "answers", "mean probability, %", "right, %"], rows),
    )


def _between(place: int, bins: int) -> str:
    return f"{percent(place / bins)} to {percent((place + 1) / bins)}"
