"""A real Chromium, headless, and pages of runs of every kind on disk."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from lorastream.reports.comparison import compare
from lorastream.reports.comparison.page import page
from lorastream.reports.page.run_page import write_run_page
from lorastream.runs import RunRecord, TaskResult, find, read, thumbnails
from lorastream.runs.answers import CalibrationRecord, ConfusionRecord
from lorastream.runs.thumbnails import Thumbnail

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
HOSTILE = "<script>document.title='taken'</script> & \"$x$\" \u202e"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
)

CUT_OFF = """
const found = [], whole = document.documentElement;
if (whole.scrollWidth > whole.clientWidth) found.push("the page is wider than its window");
for (const svg of document.querySelectorAll("svg")) {
  const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")];
  const boxes = texts.map(text => text.getBoundingClientRect());
  texts.forEach((text, i) => {
    const b = boxes[i], name = svg.closest("figure").id + ": " + text.textContent;
    const inside = b.left > box.left - 1 && b.right < box.right + 1 && b.top > box.top - 1 && b.bottom < box.bottom + 1;
    if (!inside) found.push(name + " is cut off");
    for (let j = 0; j < i; j++) {
      const c = boxes[j], across = Math.min(b.right, c.right) - Math.max(b.left, c.left);
      const down = Math.min(b.bottom, c.bottom) - Math.max(b.top, c.top);
      if (across > 0.5 && down > 3) found.push(name + " covers " + texts[j].textContent);
    }
  });
}
return found;
"""
FAINT = """
const numbers = colour => (colour.match(/[0-9.]+/g) || []).slice(0, 3).map(Number);
const straight = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = colour => numbers(colour).reduce((sum, v, i) => sum + straight(v / 255) * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const paper = getComputedStyle(document.documentElement).backgroundColor;
const texts = "h1, h2, h3, p, li, dt, dd, th, td, caption, figcaption, summary, footer, svg text";
const cells = "#matrix text, #between-tasks text";
const colour = e => e.tagName === "text" ? getComputedStyle(e).fill : getComputedStyle(e).color;
return [...document.querySelectorAll(texts)].filter(e => !e.matches(cells) && contrast(colour(e), paper) < 4.5)
  .map(e => e.tagName + ": " + e.textContent.slice(0, 40));
"""
FIGURES = """
return [...document.querySelectorAll("figure")].map(figure => {
  const picture = figure.querySelector("[role=img]"), box = picture.getBoundingClientRect();
  const said = name => document.getElementById(picture.getAttribute(name)).textContent.trim();
  return {
    name: figure.id, label: said("aria-labelledby"), words: said("aria-describedby"),
    width: box.width, height: box.height, parts: picture.querySelectorAll("path, text, use, img").length,
  };
});
"""
COMPLETE = "return document.readyState === 'complete'"
DOUBLED = "const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length - new Set(ids).size"


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """Start the system's Chromium, once; without one, tell how to get it."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    pytest.importorskip("selenium", reason="pip install -e '.[dev]' installs selenium")
    if not binary or not driver:
        pytest.skip("no Chromium with its driver here: apt-get install -y chromium chromium-driver")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService
    from selenium.webdriver.support.wait import WebDriverWait

    options = ChromeOptions()
    options.binary_location = binary
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(driver))
    yield Browser(chrome, WebDriverWait)
    chrome.quit()


class Browser:
    """A window, with what the tests ask of it."""

    def __init__(self, chrome: Any, wait: Any) -> None:
        self.chrome, self.wait = chrome, wait

    def open(self, page: Path, *, theme: str = "light", width: int = 1100) -> None:
        """Load a page from disk, anew."""
        self.logs()
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.chrome.get(page.as_uri())
        # On a busy machine the driver comes back before the last elements of a large page are there.
        self.wait(self.chrome, 60).until(lambda chrome: chrome.execute_script(COMPLETE))

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

    def opens_alone(self, page: Path) -> bool:
        """Load a page and see that it has no error in the console and no script, and asks for nothing but itself."""
        self.open(page)
        console, asked = self.logs()
        assert console == []
        assert {address for address in asked if not address.startswith("data:")} == {page.as_uri()}
        return self.ask("return document.querySelectorAll('script, link[href^=http], img[src^=http]').length") == 0

    def figures(self) -> list[dict[str, Any]]:
        """Return what is said of each figure of the page, and how much of it there is to see."""
        levels = self.ask("return [...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert self.ask(DOUBLED) == 0
        return self.ask(FIGURES)

    def looks_right(self, page: Path, theme: str, width: int) -> None:
        """See that with all of a page open nothing is cut off, covered or faint; take a picture with figures closed."""
        self.open(page, theme=theme, width=width)
        self.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        found = [*self.ask(CUT_OFF), *self.ask(FAINT)]
        paper = self.ask("return getComputedStyle(document.documentElement).backgroundColor")
        self.ask("document.querySelectorAll('figure details').forEach(d => d.open = false)")
        self.picture(f"{page.parent.name}-{theme}-{width}")
        assert found == []
        assert paper == ("rgb(255, 255, 255)" if theme == "light" else "rgb(13, 17, 23)")

    def rows(self, within: str) -> list[list[str]]:
        """Return the cells of the tables in an element."""
        script = "return [...document.querySelectorAll(arguments[0])].map(r => [...r.cells].map(c => c.textContent))"
        return self.ask(script, f"{within} tbody tr")

    def prints(self, page: Path) -> bool:
        """Whether a page can be made a PDF of."""
        self.open(page)
        paper = self.chrome.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        (SCREENSHOTS / f"{page.parent.name}.pdf").write_bytes(base64.b64decode(paper["data"]))
        return base64.b64decode(paper["data"]).startswith(b"%PDF")

    def press(self, *keys: str) -> None:
        """Press keys one after another."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.chrome).send_keys(key).perform()


@pytest.fixture(scope="session")
def records() -> dict[str, RunRecord]:
    """Return runs of every kind: real ones, large ones, tiny ones, unfinished ones, hostile ones."""
    results = ROOT / "benchmarks" / "results" / "cifar100_deit_tiny"
    started, confused = _record("sd_lora", 3), _record("sd_lora", 5, classes_per_task=4).ended("finished")
    return {
        "sd-lora": read(results / "sd_lora" / "1993"),
        "inf-lora": read(results / "inf_lora_ca" / "1993"),
        "confused": confused.model_copy(update={"thumbnails": _thumbnails(confused)}),
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
        for i, one in enumerate(record.thumbnails):
            thumbnails.write(root / name, one, PIL.Image.radial_gradient("L").resize((60 + 20 * i, 90)).convert("RGB"))
        file = write_run_page(record, root / name)
        # A page that loads itself again in the middle of a test has no elements for a moment.
        text = file.read_text("utf-8")
        file.write_text(re.sub(r'(http-equiv="refresh" content=)"\d+"', r'\1"3600"', text), "utf-8")
    return {name: root / name / "report.html" for name in records}


@pytest.fixture(scope="session")
def compared(records: dict[str, RunRecord]) -> dict[str, list[RunRecord]]:
    """Return runs to be compared: all that we measured, one table of them, a lone one, and hostile ones."""
    results = ROOT / "benchmarks" / "results"
    digits = [read(file) for file in find(results / "digits")]
    hostile = [
        _record(method, 2).ended("finished").model_copy(update={"seed": seed})
        for method in (HOSTILE, "a_method_with_a_very_long_name_indeed", "sd_lora")
        for seed in (1, 2)
    ]
    return {
        "compared-all": [*digits, *(read(file) for file in find(results / "cifar100_deit_tiny"))],
        "compared-digits": digits,
        "compared-lone": [records["confused"], records["running"]],
        "compared-hostile": [*hostile, records["failed"]],
    }


@pytest.fixture(scope="session")
def comparisons(compared: dict[str, list[RunRecord]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the page of each comparison."""
    root = tmp_path_factory.mktemp("comparisons")
    files = {name: root / name / "comparison.html" for name in compared}
    for name, file in files.items():
        file.parent.mkdir()
        file.write_text(page(compare(compared[name])), "utf-8")
    return files


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


def _thumbnails(record: RunRecord) -> tuple[Thumbnail, ...]:
    pairs = record.confusion.pairs[:6] if record.confusion else ()
    return tuple(
        Thumbnail(true=true, taken=taken, image=f"photos/{true}/{i}.jpg", file=f"{true}-{taken}-{i}.jpg")
        for true, taken, n in pairs
        for i in range(min(n, 3))
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
