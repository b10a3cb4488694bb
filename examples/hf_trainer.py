"""lorastream's adapters inside the Hugging Face Trainer: two tasks, one Trainer each, one model that knows both.

Run it: pip install 'lorastream[hf]'; python examples/hf_trainer.py
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from plain_loop import IMAGES, digits
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

import lorastream
from lorastream.backbones.load import load

TASKS = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


class Classifier(nn.Module):
    """A network with a head that grows, answering as the Trainer wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return logits of all classes, and the loss among the newest ones."""
        features = self.network(pixel_values)
        logits = [head(features) for head in self.heads]
        answer = {"logits": torch.cat(logits, dim=1)}
        if labels is not None:
            first = answer["logits"].shape[1] - logits[-1].shape[1]
            answer = {"loss": F.cross_entropy(logits[-1], labels - first), **answer}
        return answer


class Rows(Dataset[dict[str, Tensor]]):
    """Some images with their labels, one by one."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def main() -> float:
    """Learn both tasks, and return the accuracy on all ten digits."""
    torch.manual_seed(0)
    images, labels = digits()
    train, test = slice(0, 2 * IMAGES // 3), slice(2 * IMAGES // 3, IMAGES)
    model = Classifier(load("glyph_vit").network)
    adapters = lorastream.attach(
        model, [lorastream.Target("network.blocks.[345].attn.qkv", part=part, parts=3) for part in (0, 2)]
    )
    for task in TASKS:
        adapters.new_task(rank=4)
        model.heads.requires_grad_(requires_grad=False).append(nn.Linear(128, len(task)))
        known = torch.isin(labels[train], torch.tensor(task))
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainingArguments(
                output_dir=folder,
                num_train_epochs=2,
                per_device_train_batch_size=32,
                learning_rate=5e-3,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                dataloader_pin_memory=False,
            )
            Trainer(model=model, args=settings, train_dataset=Rows(images[train][known], labels[train][known])).train()
    adapters.merge()
    with torch.inference_mode():
        device = next(model.parameters()).device
        answers = model.eval()(images[test].to(device))["logits"].argmax(dim=1).cpu()
    accuracy = (answers == labels[test]).float().mean().item()
    print(f"accuracy on all ten digits: {100 * accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
