"""A real Chromium, headless, and pages of runs of every kind on disk."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from lorastream.reports.page.run_page import write_run_page
from lorastream.runs import RunRecord, TaskResult, read
from lorastream.runs.answers import CalibrationRecord, ConfusionRecord

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
HOSTILE = "<script>document.title='taken'</script> & \"$x$\" \u202e"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
)


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """Start the system's Chromium, once; without one, tell how to get it."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    pytest.importorskip("selenium", reason="pip install -e '.[dev]' installs selenium")
    if not binary or not driver:
        pytest.skip("no Chromium with its driver here: apt-get install -y chromium chromium-driver")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = binary
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(driver))
    yield Browser(chrome)
    chrome.quit()


class Browser:
    """A window, with what the tests ask of it."""

    def __init__(self, chrome: Any) -> None:
        self.chrome = chrome

    def open(self, page: Path, *, theme: str = "light", width: int = 1100) -> None:
        """Load a page from disk, anew."""
        self.logs()
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.chrome.get(page.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript and return what it returns."""
        return self.chrome.execute_script(script, *arguments)

    def logs(self) -> tuple[list[str], list[str]]:
        """Return what stood in the console, and the addresses that were asked for, since the last call."""
        console = [entry["message"] for entry in self.chrome.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.chrome.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return console, asked

    def picture(self, name: str) -> None:
        """Write the whole page as a picture, for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def press(self, *keys: str) -> None:
        """Press keys one after another."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.chrome).send_keys(key).perform()


@pytest.fixture(scope="session")
def records() -> dict[str, RunRecord]:
    """Return runs of every kind: real ones, large ones, tiny ones, unfinished ones, hostile ones."""
    results = ROOT / "benchmarks" / "results" / "cifar100_deit_tiny"
    started = _record("sd_lora", 3)
    return {
        "sd-lora": read(results / "sd_lora" / "1993"),
        "inf-lora": read(results / "inf_lora_ca" / "1993"),
        "confused": _record("sd_lora", 5, classes_per_task=4).ended("finished"),
        "hundred-tasks": _record("inf_lora", 100, classes_per_task=10).ended("finished"),
        "one-task": _record("prototypes", 1).ended("finished"),
        "running": started.model_copy(update={"tasks": (*started.tasks, ("later",))}),
        "nothing-yet": RunRecord(recipe={"name": "small", "method": {"name": "sd_lora"}}),
        "failed": _record("sd_lora", 2, name=HOSTILE).ended("failed", failure=f"the loss is not finite\n{HOSTILE}"),
    }


@pytest.fixture(scope="session")
def pages(records: dict[str, RunRecord], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the page of each, with an analysis beside one of them."""
    root = tmp_path_factory.mktemp("pages")
    for name, record in records.items():
        (root / name / "analyses").mkdir(parents=True)
        if name == "confused":
            _analysis(root / name / "analyses")
        file = write_run_page(record, root / name)
        # A page that loads itself again in the middle of a test has no elements for a moment.
        text = file.read_text("utf-8")
        file.write_text(re.sub(r'(http-equiv="refresh" content=)"\d+"', r'\1"3600"', text), "utf-8")
    return {name: root / name / "report.html" for name in records}


def _record(method: str, n_tasks: int, *, classes_per_task: int = 2, name: str = "class") -> RunRecord:
    """Make a run in which every task loses a little with each that follows, and errors go everywhere."""
    record = RunRecord(
        recipe={"name": "small", "seed": 3, "method": {"name": method}},
        command="lorastream run small --methods " + method,
        notes=("two images could not be decoded",) if n_tasks == 1 else (),
        versions={"python": "3.11.7", "commit": "abc"},
    )
    for t in range(n_tasks):
        record = record.with_task(_task(method, t, classes_per_task, name))
    return record


def _task(method: str, t: int, classes: int, name: str) -> TaskResult:
    import numpy as np

    n = (t + 1) * classes
    counts = np.fromfunction(lambda i, j: (i * 7 + j * 3) % 5 == 0, (n, n)).astype(np.int64) + 9 * np.eye(n, dtype=int)
    tasks = [range(k * classes, (k + 1) * classes) for k in range(t + 1)]
    tested = np.array([counts[own.start : own.stop].sum() for own in tasks])
    claimed = tuple((i + 0.5) / 15 for i in range(15))
    return TaskResult(
        classes=tuple(f"{name} {t * classes + i}" for i in range(classes)),
        n_train=20,
        n_test=10,
        accuracy=[max(0.0, 0.97 - 0.03 * (t - k) - 0.004 * k) for k in range(t + 1)],
        seconds=12.5 + t,
        evaluation_seconds=1.5,
        step_milliseconds=1200.0 + 10 * t if method != "prototypes" else None,
        peak_memory_bytes=1_100_000_000 + 1_000_000 * t,
        trainable_parameters=94_000 + t,
        stored_bytes=370_000 * (t + 1),
        figures=_figures(method, t),
        confusion=ConfusionRecord.of(counts * int(tested.min() > 0), tasks),
        calibration=CalibrationRecord(
            images=tuple(range(15)), confidence=(None, *claimed[1:]), accuracy=(None, *(0.9 * c for c in claimed[1:]))
        ),
    )


def _figures(method: str, t: int) -> dict[str, Any]:
    if method == "sd_lora":
        return {"magnitudes": [1.2 - 0.05 * k + 0.01 * t for k in range(t + 1)], "ranks": [10] * (t + 1)}
    if method == "inf_lora":
        layers = {f"blocks.{i}.attn.qkv": {"mode": "remove", "protected": 10 + t * (i + 1) // 3} for i in range(12)}
        return {"threshold": 0.95, "layers": layers}
    return {}


def _analysis(folder: Path) -> None:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><script>alert(1)</script>'
        '<rect width="9" height="9"/></svg>'
    )
    document = {"title": "Closeness", "paragraph": "Nearer than chance.", "svg": "a.svg", "alt": "Bars.", "holds": True}
    (folder / "closeness.json").write_text(json.dumps(document))
    (folder / "a.svg").write_text(drawing)
    (folder / "torn.json").write_text('{"title": ')
