"""The network that `pretrain_glyph_vit.py` trains: the backbone, its start, its growth, and its score on the digits."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.layers.attention import Attention
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

ARCHITECTURE: dict[str, Any] = {
    "img_size": 32, "patch_size": 4, "in_chans": 3, "num_classes": 0, "embed_dim": 128, "depth": 6, "num_heads": 4,
}  # fmt: skip


class GlyphClassifier(nn.Module):
    """The backbone and a cosine classifier: logits are scaled cosines, so that class means become meaningful."""

    def __init__(self, class_count: int, size: int) -> None:
        """Build for `class_count` glyph classes and square images of `size` pixels."""
        super().__init__()
        keywords: dict[str, Any] = {**ARCHITECTURE, "img_size": size}
        self.backbone = VisionTransformer(**keywords)
        self.class_vectors = nn.Parameter(torch.randn(class_count, ARCHITECTURE["embed_dim"]) * 0.1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(16.0)))

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images `[B, 3, size, size]` to logits `[B, class_count]`."""
        features = F.normalize(self.backbone(images), dim=1)
        return self.log_scale.exp() * features @ F.normalize(self.class_vectors, dim=1).T


def place_codes(cells: int, width: int) -> Tensor:
    """Return sine and cosine codes of the cells of a square grid: `[cells * cells, width]`, in [-1, 1]."""
    frequency = torch.exp(torch.linspace(math.log(math.pi / 8), math.log(math.pi * 4), width // 4))
    centre = (torch.arange(cells) + 0.5) / cells
    angle = centre[:, None] * frequency[None]
    code = torch.cat([angle.sin(), angle.cos()], 1)
    grid = [code[:, None].expand(cells, cells, -1), code[None].expand(cells, cells, -1)]
    return torch.cat(grid, 2).flatten(0, 1)


def initialise_attention(backbone: VisionTransformer) -> None:
    """Start attention as trained transformers end: tokens attend to what resembles them (Trockman and Kolter, 2023).

    Per head Wq^T Wk is near 0.7 (Z + I), and Wo Wv near 0.4 (Z - I), with Z random of variance 1 / width.
    """
    width, heads = backbone.embed_dim, ARCHITECTURE["num_heads"]
    rank = width // heads
    with torch.no_grad():
        position = backbone.get_parameter("pos_embed")
        position[0, 1:] = place_codes(round((position.shape[1] - 1) ** 0.5), width)
        for block in backbone.blocks:
            attention = cast("Attention", block.get_submodule("attn"))
            qkv, out = attention.qkv.weight, attention.proj.weight
            for head in range(heads):
                noise = torch.randn(width, width) / width**0.5
                left, value, right = torch.linalg.svd(0.7 * (noise + torch.eye(width)))
                root = value[:rank].sqrt()[:, None]
                qkv[head * rank : (head + 1) * rank] = root * left[:, :rank].T
                qkv[width + head * rank : width + (head + 1) * rank] = root * right[:rank]
            left, value, right = torch.linalg.svd(0.4 * (torch.randn(width, width) / width**0.5 - torch.eye(width)))
            out.copy_(left * value.sqrt())
            qkv[2 * width :] = value.sqrt()[:, None] * right


def new_optimiser(model: GlyphClassifier) -> torch.optim.AdamW:
    """Make AdamW with weight decay on matrices only."""
    matrices = [p for name, p in model.named_parameters() if p.ndim > 1 and "embed" not in name and "token" not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def enlarge(
    model: GlyphClassifier, optimiser: torch.optim.AdamW, size: int
) -> tuple[GlyphClassifier, torch.optim.AdamW]:
    """Return classifier and optimiser for images of `size` pixels; the position embedding is interpolated."""
    larger = GlyphClassifier(len(model.class_vectors), size)
    state = model.state_dict()
    cells = size // ARCHITECTURE["patch_size"]
    state["backbone.pos_embed"] = resample_abs_pos_embed(state["backbone.pos_embed"], new_size=[cells, cells])
    larger.load_state_dict(state)
    new = new_optimiser(larger)
    names = dict(larger.named_parameters())
    for name, parameter in model.named_parameters():
        if names[name].shape == parameter.shape:
            new.state[names[name]] = optimiser.state[parameter]
    return larger, new


@torch.inference_mode()
def digit_accuracies(backbone: VisionTransformer) -> dict[str, float]:
    """Linear probe and cosine nearest-class-mean accuracy in [0, 1] on scikit-learn's digits; for reporting only."""
    pixels, target = (np.asarray(array) for array in load_digits(return_X_y=True))
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16
    images = F.interpolate(images, size=(32, 32), mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
    backbone.eval()
    features = torch.cat([backbone((part - 0.5) / 0.5) for part in images.split(256)]).double().numpy()
    train_x, test_x, train_y, test_y = train_test_split(
        features, target, test_size=0.2, stratify=target, random_state=0
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train_x, train_y)
    unit = train_x / np.linalg.norm(train_x, axis=1, keepdims=True)
    means = np.stack([unit[train_y == digit].mean(0) for digit in range(10)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest = float(((test_x @ means.T).argmax(1) == test_y).mean())
    return {"linear_probe": float(probe.score(test_x, test_y)), "nearest_class_mean": nearest}
