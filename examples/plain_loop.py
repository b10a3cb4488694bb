"""lorastream's adapters in your own PyTorch loop: the ten digits in three tasks, without keeping an old image.

Run it: python examples/plain_loop.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import lorastream
from lorastream.backbones.load import load

TASKS = ((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))
IMAGES = 240


def digits() -> tuple[Tensor, Tensor]:
    """Return the first `IMAGES` digits as a small vision transformer wants them: `[n, 3, 32, 32]` in [-1, 1]."""
    data, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(data[:IMAGES]).float().view(-1, 1, 8, 8).expand(-1, 3, -1, -1) / 8 - 1
    return F.interpolate(images, size=32, mode="bilinear"), torch.from_numpy(labels[:IMAGES])


def main() -> float:
    """Learn task by task, and return the accuracy on all ten digits."""
    torch.manual_seed(0)
    images, labels = digits()
    train, test = slice(0, 2 * IMAGES // 3), slice(2 * IMAGES // 3, IMAGES)

    network = load("glyph_vit").network  # any nn.Module of yours
    query_and_value = [lorastream.Target("blocks.[345].attn.qkv", part=part, parts=3) for part in (0, 2)]
    adapters = lorastream.attach(network, query_and_value)
    heads = nn.ModuleList()

    for task in TASKS:
        learning = adapters.new_task(rank=4)  # what was live is frozen; a new update that changes nothing yet
        heads.append(nn.Linear(128, len(task)))
        optimiser = torch.optim.AdamW([*learning, *heads[-1].parameters()], lr=5e-3)
        known = torch.isin(labels[train], torch.tensor(task)).nonzero().squeeze(1)
        for _ in range(2):
            for batch in known[torch.randperm(len(known))].split(32):
                loss = F.cross_entropy(heads[-1](network(images[batch])), labels[batch] - task[0])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        print(f"task {task}: loss {loss.item():.3f}, {sum(p.numel() for p in learning)} numbers learnt")

    adapters.merge()  # the plain network again, all updates in its weights
    with torch.inference_mode():
        features = network(images[test])
        answers = torch.cat([head(features) for head in heads], dim=1).argmax(dim=1)
    accuracy = (answers == labels[test]).float().mean().item()
    print(f"accuracy on all ten digits: {100 * accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
