"""A bar of work counted in images, with images a second, fits 80 columns."""

from __future__ import annotations

from rich.console import Console

from lorastream.cli.stages import _bars


def test_the_rate_fits_beside_the_rest() -> None:
    console = Console(width=80, force_terminal=True, color_system=None)
    seconds = iter(range(0, 1000, 10))
    progress = _bars(console, rate=True)
    progress.get_time = lambda: float(next(seconds))
    bar = progress.add_task("evaluating", total=1_000_000, figures="")
    for done in range(10_000, 50_000, 10_000):
        progress.update(bar, completed=done, figures=f"{done:,} of 1,000,000")
    with console.capture() as captured:
        console.print(progress.make_tasks_table(progress.tasks))
    line = captured.get().rstrip("\n")
    assert "\n" not in line
    assert "evaluating" in line
    assert "40,000 of 1,000,000" in line
    assert "images/s" in line
    assert len(line) <= 80
