"""Pretrain the bundled backbone `glyph_vit` on rendered glyphs, digits left out, and write it in half precision.

    nice -n 15 .venv/bin/python scripts/pretrain_glyph_vit.py --minutes 40 --seed 0

Two stages: first at 16 pixels (16 patches: cheap, and attention learns where things are), then at 32 (64 patches).
Classes and deformations grow over the first half. Killed at any instant, `--resume` goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from glyph_classifier import (
    ARCHITECTURE,
    GlyphClassifier,
    digit_accuracies,
    enlarge,
    initialise_attention,
    new_optimiser,
)
from glyphs import GlyphSet, augment, build_glyph_set

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "src/lorastream/backbones/glyph_vit.safetensors"
LOG = ROOT / "docs/glyph_vit_log.json"
WORK = Path(tempfile.gettempdir()) / "glyph_vit"
HELD_OUT_SHARE = 0.1
FULL_SIZE = ARCHITECTURE["img_size"]
GROWN_BY = 0.5  # share of the run after which all classes are in and deformations are at full strength


@dataclass(kw_only=True)
class Run:
    """What a run is and how far it got; saved as JSON beside the tensors of its checkpoint."""

    seed: int
    minutes: float
    batch_size: int
    peak_lr: float
    class_limit: int
    full_size_from: float
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    size: int = 16
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def progress(self) -> float:
        """Share of the time budget used, in [0, 1]."""
        return min(1.0, self.seconds / (60 * self.minutes))


def learning_rate(run: Run) -> float:
    """Warm up over the first 4 % of the run, then follow a cosine to nearly zero."""
    warm = 0.04
    if run.progress < warm:
        return run.peak_lr * max(0.02, run.progress / warm)
    return run.peak_lr * max(0.002, 0.5 * (1 + math.cos(math.pi * (run.progress - warm) / (1 - warm))))


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, flush it to disk, and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save_checkpoint(folder: Path, run: Run, model: GlyphClassifier, optimiser: torch.optim.AdamW) -> None:
    """Write weights, optimiser state and run as one safetensors file (the run is JSON in its metadata)."""
    tensors = {f"model/{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": tensor.contiguous() for name, tensor in state.items()}
    write_atomically(folder / "checkpoint.safetensors", save(tensors, metadata={"run": json.dumps(asdict(run))}))


def read_run(folder: Path) -> Run:
    """Read the run that a checkpoint belongs to."""
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        return Run(**json.loads(file.metadata()["run"]))


def load_checkpoint(folder: Path, class_count: int) -> tuple[Run, GlyphClassifier, torch.optim.AdamW]:
    """Read back what `save_checkpoint` wrote."""
    run = read_run(folder)
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator on safe_open)
    model = GlyphClassifier(class_count, run.size)
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model/")})
    optimiser = new_optimiser(model)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return run, model, optimiser


class Sampler:
    """Draws training batches, each a pure function of seed and step, so that a resumed run sees the same images."""

    def __init__(self, glyphs: GlyphSet) -> None:
        """Index the training renderings of `glyphs` by class (labels ascend in the set)."""
        self.glyphs = glyphs
        self.indices = torch.nonzero(~glyphs.held_out)[:, 0]
        self.counts = torch.bincount(glyphs.labels[self.indices])
        self.starts = self.counts.cumsum(0) - self.counts

    def draw(self, run: Run) -> tuple[Tensor, Tensor]:
        """Return images `[B, 3, size, size]` in [-1, 1] and labels `[B]`; every class in play is equally likely."""
        generator = torch.Generator().manual_seed(run.seed * 1_000_003 + run.step)
        grown = min(1.0, run.progress / GROWN_BY)
        class_count = round(len(self.counts) * (0.25 + 0.75 * grown))
        labels = torch.randint(class_count, (run.batch_size,), generator=generator)
        place = (torch.rand(run.batch_size, generator=generator) * self.counts[labels]).long()
        masters = self.glyphs.images[self.indices[self.starts[labels] + place]]
        return augment(masters, size=run.size, strength=0.25 + 0.75 * grown, generator=generator), labels


def share_the_machine() -> None:
    """Use the cores that others leave: with a busy neighbour, two threads that wait for each other are the slowest."""
    own = torch.get_num_threads()
    spare = (os.cpu_count() or 1) - (os.getloadavg()[0] - own)
    torch.set_num_threads(max(1, min(os.cpu_count() or 1, round(spare - 0.25))))


@torch.inference_mode()
def held_out_accuracy(model: GlyphClassifier, glyphs: GlyphSet, run: Run, strength: float, every: int) -> float:
    """Accuracy in [0, 1] on one in `every` renderings held out, deformed with `strength` in [0, 1] by a fixed seed."""
    indices = torch.nonzero(glyphs.held_out)[::every, 0]
    generator = torch.Generator().manual_seed(0)
    right = 0
    model.eval()
    for part in indices.split(256):
        images = augment(glyphs.images[part], size=run.size, strength=strength, generator=generator)
        right += int((model(images).argmax(1) == glyphs.labels[part]).sum())
    model.train()
    return right / len(indices)


def export(run: Run, model: GlyphClassifier, out: Path) -> None:
    """Write the backbone without its classifier, in half precision, with what is needed to rebuild it as metadata."""
    tensors = {name: tensor.half().contiguous() for name, tensor in model.backbone.state_dict().items()}
    metadata = {
        "architecture": json.dumps(ARCHITECTURE), "mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]",
        "seed": str(run.seed), "minutes": str(run.minutes), "steps": str(run.step),
        "glyph_classes": str(len(model.class_vectors)),
        "made_by": "scripts/pretrain_glyph_vit.py",
        "torch": torch.__version__, "matplotlib": mpl.__version__,
    }  # fmt: skip
    write_atomically(out, save(tensors, metadata=metadata))


def train_step(run: Run, model: GlyphClassifier, optimiser: torch.optim.AdamW, sampler: Sampler) -> tuple[float, float]:
    """Take one step on one batch; return loss (nats) and accuracy in [0, 1]."""
    images, labels = sampler.draw(run)
    logits = model(images)
    loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(run)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    run.step += 1
    run.images += len(labels)
    return loss.item(), float((logits.argmax(1) == labels).float().mean())


def log_entry(run: Run, model: GlyphClassifier, glyphs: GlyphSet, recent: list[tuple[float, float]]) -> dict[str, Any]:
    """Summarise the steps since the last entry, with held-out accuracy plain and at full deformation."""
    loss, accuracy = np.mean(recent, axis=0)
    every = 1 if run.progress == 1 else 3  # the whole held-out set only at the end: it takes a while
    return {
        "minutes": round(run.seconds / 60, 2), "step": run.step, "images": run.images, "size": run.size,
        "lr": round(learning_rate(run), 7), "loss": round(float(loss), 4), "train_accuracy": round(float(accuracy), 4),
        "held_out_plain": round(held_out_accuracy(model, glyphs, run, 0, every), 4),
        "held_out_deformed": round(held_out_accuracy(model, glyphs, run, 1, every), 4),
    }  # fmt: skip


def train(
    run: Run, model: GlyphClassifier, optimiser: torch.optim.AdamW, glyphs: GlyphSet, folder: Path
) -> GlyphClassifier:
    """Train until the run's minutes are used up, with a checkpoint and a log entry twenty times; return the model."""
    sampler = Sampler(glyphs)
    recent: list[tuple[float, float]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        row = bar.add_task("pretraining", total=60 * run.minutes, completed=int(run.seconds))
        while run.progress < 1:
            started = time.perf_counter()
            if run.size < FULL_SIZE and run.progress >= run.full_size_from:
                run.size = FULL_SIZE
                model, optimiser = enlarge(model, optimiser, FULL_SIZE)
            recent.append(train_step(run, model, optimiser, sampler))
            before = run.progress
            run.seconds += time.perf_counter() - started
            bar.update(row, completed=run.seconds, description=f"{run.size} px, loss {recent[-1][0]:.2f}")
            if int(before * 20) != int(run.progress * 20):
                started = time.perf_counter()
                share_the_machine()
                run.log.append(log_entry(run, model, glyphs, recent))
                bar.console.print(json.dumps(run.log[-1]), soft_wrap=True)
                recent = []
                run.seconds += time.perf_counter() - started
                save_checkpoint(folder, run, model, optimiser)
    return model


def write_log(path: Path, run: Run, model: GlyphClassifier, glyphs: GlyphSet, untrained: VisionTransformer) -> None:
    """Write the log as JSON lines (the run, its entries, the digits) and its plot; `untrained` has random weights."""
    head = {key: value for key, value in asdict(run).items() if key != "log"}
    head |= {"architecture": ARCHITECTURE, "classes": len(glyphs.class_names), "renderings": len(glyphs.labels)}
    head |= {"held_out": int(glyphs.held_out.sum()), "faces": glyphs.faces, "threads": torch.get_num_threads()}
    digits = {"digits": digit_accuracies(model.backbone), "digits_random_weights": digit_accuracies(untrained)}
    lines = [json.dumps(line, ensure_ascii=False) for line in (head, *run.log, digits)]
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    print(lines[-1])
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    minutes = [entry["minutes"] for entry in run.log]
    left.plot(minutes, [entry["loss"] for entry in run.log], marker=".")
    left.set(xlabel="minutes", ylabel="training loss (nats)")
    for key in ("train_accuracy", "held_out_deformed", "held_out_plain"):
        right.plot(minutes, [100 * entry[key] for entry in run.log], marker=".", label=key.replace("_", " "))
    right.set(xlabel="minutes", ylabel="glyph accuracy (%)", ylim=(0, 100))
    right.legend()
    figure.savefig(path.with_suffix(".png"), dpi=110)


def main(
    out: Annotated[Path, typer.Option(help="Weights to write")] = WEIGHTS,
    log: Annotated[Path, typer.Option(help="JSON lines log to write; the plot goes beside it")] = LOG,
    work: Annotated[Path, typer.Option(help="Folder of the checkpoint")] = WORK,
    minutes: Annotated[float, typer.Option(min=0.1, help="Training time")] = 40.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, held-out share and batches")] = 0,
    batch_size: Annotated[int, typer.Option(min=8)] = 128,
    peak_lr: Annotated[float, typer.Option(min=0)] = 1.5e-3,
    class_limit: Annotated[int, typer.Option(min=10, help="Use only the classes drawn by the most faces")] = 10_000,
    full_size_from: Annotated[float, typer.Option(min=0, max=1, help="Share of the run at 16 pixels")] = 0.7,
    resume: Annotated[
        bool, typer.Option(help="Go on from the checkpoint in the work folder, with its own options")
    ] = False,
) -> None:
    """Render glyphs, pretrain the backbone, and write weights, log and plot."""
    torch.manual_seed(seed)
    share_the_machine()
    run = Run(
        seed=seed, minutes=minutes, batch_size=batch_size, peak_lr=peak_lr,
        class_limit=class_limit, full_size_from=full_size_from,
    )  # fmt: skip
    if resume and not (work / "checkpoint.safetensors").exists():
        raise typer.BadParameter(f"no checkpoint.safetensors in {work}: run without --resume", param_hint="--resume")
    if resume:
        run = read_run(work)
    print("rendering glyphs ...")
    glyphs = build_glyph_set(seed=run.seed, held_out_share=HELD_OUT_SHARE, class_limit=run.class_limit)
    class_count = len(glyphs.class_names)
    untrained = VisionTransformer(**ARCHITECTURE)
    if resume:
        run, model, optimiser = load_checkpoint(work, class_count)
    else:
        model = GlyphClassifier(class_count, run.size)
        initialise_attention(model.backbone)
        optimiser = new_optimiser(model)
    print(f"{class_count} classes, {len(glyphs.labels)} renderings, {int(glyphs.held_out.sum())} held out")
    model = train(run, model, optimiser, glyphs, work)
    export(run, model, out)
    write_log(log, run, model, glyphs, untrained)


if __name__ == "__main__":
    typer.run(main)
