"""Glyph images for pretraining: render every usable character of matplotlib's own fonts, and deform them in batches.

No decimal digit of any script is rendered, nor any other character that means or spells a number, so that the digits
stay unseen by the backbone. Masters are rendered once; all augmentation is tensor arithmetic on batches of masters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MASTER_SIZE = 48
GLYPH_EXTENT = 38  # longer side of a glyph in its master, in pixels
FULL_SIZE = 32  # side of the finished images, in pixels
IDENTICAL_BELOW = 0.04  # root mean square difference under which two masters of one face count as the same glyph
TEX_FACES = {
    "cmb10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
}  # TeX encodings: only ASCII letters are where Unicode has them
SKIPPED_FACES = re.compile(r"LastResort|STIXSiz|STIXNonUni|cmex|cmsy")
SKIPPED_RANGES = (
    (0x2500, 0x25FF),  # box drawing, blocks and plain geometry: hundreds of near twins
    (0x2800, 0x28FF),  # Braille
    (0x4DC0, 0x4DFF),  # hexagrams
    (0x1F000, 0x1F0FF),  # tiles, dominoes and cards, which show numbers
)
NUMBER_WORDS = re.compile(
    r"DIGIT|NUMBER|NUMERAL|FRACTION|HALF|QUARTER|ROOT|DECIMAL|\d|"
    r"\b(ZERO|ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|ELEVEN|TWELVE|TWENTY|HUNDRED|THOUSAND|PERCENT|MILLE)\b"
)

MATHEMATICAL_LETTER = re.compile(r"MATHEMATICAL (BOLD|ITALIC|BOLD ITALIC|SANS-SERIF.*|MONOSPACE) (CAPITAL|SMALL) \w+$")
LIKE_A_DIGIT_BELOW = (
    0.06  # the same distance to a European digit of any face: the letter ze can be drawn exactly as a 3
)
FEWEST_FACES = {"L": 2, "S": 12, "P": 8}  # letters transfer best; rare symbols are mostly arrows and pictures

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class GlyphSet:
    """Rendered glyphs.

    images: uint8 `[N, 48, 48]`, bright on black; labels: int64 `[N]`, 0 is the class seen in the most faces;
    held_out: bool `[N]`, the renderings never trained on; class_names: the characters merged into each class;
    faces: the names of the font files used.
    """

    images: Tensor
    labels: Tensor
    held_out: Tensor
    class_names: list[str]
    faces: list[str]


def means_a_number(character: str) -> bool:
    """Tell whether `character` has a numeric value, contains a digit when decomposed, or is named after a number."""
    spelled = unicodedata.normalize("NFKD", character)
    if any(unicodedata.category(part).startswith("N") for part in spelled + character):
        return True
    if any(unicodedata.numeric(part, None) is not None for part in spelled + character):
        return True
    return NUMBER_WORDS.search(unicodedata.name(character, "")) is not None


def plain_form(character: str) -> str:
    """Return the letter that a mathematical bold, italic, sans-serif or monospace letter stands for, else itself."""
    if MATHEMATICAL_LETTER.match(unicodedata.name(character, "")):
        return unicodedata.normalize("NFKD", character)
    return character


def is_usable(character: str) -> bool:
    """Tell whether `character` is a letter, symbol or punctuation mark worth a class, and no number."""
    code = ord(character)
    if unicodedata.category(character)[0] not in "LSP" or any(low <= code <= high for low, high in SKIPPED_RANGES):
        return False
    if means_a_number(character):
        return False
    # Accented letters, superscripts and presentation forms differ from another character by little: left out.
    base = plain_form(character)
    return unicodedata.normalize("NFKD", base) == base


def face_files() -> list[Path]:
    """List the font files that matplotlib ships and we use, sorted by name."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return sorted(path for path in folder.glob("*.ttf") if not SKIPPED_FACES.search(path.stem))


def usable_characters(face: Path) -> list[str]:
    """List the usable characters that the font file `face` has a glyph for, without its `.notdef` box."""
    with TTFont(face) as font:
        table = font.getBestCmap() or {}
    characters = [chr(code) for code, glyph in sorted(table.items()) if glyph != ".notdef"]
    if face.stem in TEX_FACES:
        characters = [character for character in characters if character.isascii() and character.isalpha()]
    return [character for character in characters if is_usable(character)]


def render(character: str, font: ImageFont.FreeTypeFont) -> UInt8Array | None:
    """Render one character centred in a uint8 `[48, 48]` master, its longer side 38 pixels; None if it is blank."""
    left, top, right, bottom = font.getbbox(character)
    width, height = int(right - left), int(bottom - top)
    if width < 1 or height < 1:
        return None
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).text((-left, -top), character, font=font, fill=255)
    box = canvas.getbbox()
    if box is None:
        return None
    ink = canvas.crop(box)
    scale = min(GLYPH_EXTENT / max(ink.size), 0.75)  # the cap keeps dots and commas smaller than letters
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    master = Image.new("L", (MASTER_SIZE, MASTER_SIZE))
    corner = ((MASTER_SIZE - size[0]) // 2, (MASTER_SIZE - size[1]) // 2)
    master.paste(ink.resize(size, Image.Resampling.BOX), corner)
    return np.asarray(master, dtype=np.uint8)


def render_face(face: Path) -> dict[str, UInt8Array]:
    """Render every usable character of one font file: character to uint8 `[48, 48]` master."""
    font = ImageFont.truetype(str(face), size=96)
    missing = render("\U000f1234", font)  # a private character no face has: FreeType draws .notdef
    masters: dict[str, UInt8Array] = {}
    for character in usable_characters(face):
        master = render(character, font)
        if master is not None and (missing is None or not np.array_equal(master, missing)):
            masters[character] = master
    return masters


def _compact(masters: list[UInt8Array]) -> Tensor:
    """Average masters over 3 x 3 pixels: `[N, 256]`, scaled so that distance is root mean square difference."""
    stack = torch.from_numpy(np.stack(masters)).float() / 255
    small = F.avg_pool2d(stack[:, None], 3).flatten(1)
    return small / small.shape[1] ** 0.5


def drop_digit_twins(rendered: dict[str, dict[str, UInt8Array]]) -> dict[str, dict[str, UInt8Array]]:
    """Leave out the renderings that can hardly be told from a digit 0 to 9, as drawn by any of the faces."""
    fonts = [ImageFont.truetype(str(face), size=96) for face in face_files() if face.stem not in TEX_FACES]
    drawn = [render(digit, font) for font in fonts for digit in "0123456789"]
    digits = _compact([master for master in drawn if master is not None])
    kept: dict[str, dict[str, UInt8Array]] = {}
    for face, masters in rendered.items():
        nearest = torch.cdist(_compact(list(masters.values())), digits).amin(1)
        far = (nearest >= LIKE_A_DIGIT_BELOW).tolist()
        kept[face] = {character: masters[character] for character, keep in zip(masters, far, strict=True) if keep}
    return kept


def merge_identical(rendered: dict[str, dict[str, UInt8Array]]) -> dict[str, str]:
    """Map each character to the first character that it cannot be told from in some face (Latin, Greek, Cyrillic A)."""
    leader = {character: plain_form(character) for masters in rendered.values() for character in masters}
    leader |= {character: character for character in leader.values()}

    def find(character: str) -> str:
        while leader[character] != character:
            character = leader[character]
        return character

    for masters in rendered.values():
        characters = sorted(masters)
        compact = _compact([masters[character] for character in characters])
        distance = torch.cdist(compact, compact)
        for first, second in torch.nonzero(torch.triu(distance < IDENTICAL_BELOW, diagonal=1)).tolist():
            low, high = sorted((find(characters[first]), find(characters[second])))
            leader[high] = low
    return {character: find(character) for character in leader}


def build_glyph_set(*, seed: int, held_out_share: float, class_limit: int) -> GlyphSet:
    """Render, merge and label the glyphs; hold out a share (in [0, 1)) of the renderings of each class.

    Letters drawn by fewer than two faces, and rarer symbols, are dropped; at least two renderings of a class train.
    Of the rest, the `class_limit` classes drawn by the most faces are kept.
    """
    rendered = drop_digit_twins({face.stem: render_face(face) for face in face_files()})
    leaders = merge_identical(rendered)
    members: dict[str, set[str]] = defaultdict(set)
    images: dict[str, dict[bytes, UInt8Array]] = defaultdict(dict)
    face_count: dict[str, set[str]] = defaultdict(set)
    for face, masters in rendered.items():
        for character, master in masters.items():
            leader = leaders[character]
            members[leader].add(character)
            face_count[leader].add(face)
            images[leader].setdefault(master.tobytes(), master)
    kept = [leader for leader in images if len(face_count[leader]) >= FEWEST_FACES[unicodedata.category(leader)[0]]]
    kept.sort(key=lambda leader: (-len(face_count[leader]), leader))
    kept = kept[:class_limit]
    random = np.random.default_rng(seed)
    stack, labels, held_out = [], [], []
    for label, leader in enumerate(kept):
        renderings = list(images[leader].values())
        count = min(round(len(renderings) * held_out_share + 0.4), max(0, len(renderings) - 2))
        chosen = set(random.permutation(len(renderings))[:count].tolist())
        stack += renderings
        labels += [label] * len(renderings)
        held_out += [index in chosen for index in range(len(renderings))]
    return GlyphSet(
        images=torch.from_numpy(np.stack(stack)),
        labels=torch.tensor(labels),
        held_out=torch.tensor(held_out),
        class_names=["".join(sorted(members[leader])) for leader in kept],
        faces=sorted(rendered),
    )


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw `[count]` numbers evenly from [low, high)."""
    return torch.rand(count, generator=generator) * (high - low) + low


def _sampling_grid(count: int, size: int, strength: float, generator: torch.Generator) -> Tensor:
    """Draw affine and elastic deformations: sampling grid `[count, size, size, 2]` in [-1, 1] coordinates."""
    angle = _uniform(count, -0.25, 0.25, generator) * strength
    slant = _uniform(count, -0.45, 0.45, generator) * strength
    zoom = 1 + _uniform(count, -0.25, 0.15, generator) * strength
    stretch = torch.exp(_uniform(count, -0.3, 0.3, generator) * strength)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    across = torch.stack([cosine, slant * cosine - sine, _uniform(count, -0.15, 0.15, generator) * strength], 1)
    down = torch.stack([sine, slant * sine + cosine, _uniform(count, -0.15, 0.15, generator) * strength], 1)
    across[:, :2] *= (zoom * stretch)[:, None]
    down[:, :2] *= (zoom / stretch)[:, None]
    grid = F.affine_grid(torch.stack([across, down], 1), [count, 1, size, size], align_corners=False)
    elastic = torch.zeros_like(grid)
    for cells, amplitude in ((4, 0.12), (7, 0.05)):
        coarse = torch.randn(count, 2, cells, cells, generator=generator)
        coarse *= (_uniform(count, 0, amplitude, generator) * strength)[:, None, None, None]
        elastic += F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return grid + elastic


def _change_thickness(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Thicken or thin the strokes of `[B, 1, H, W]` by up to two pixels or one pixel respectively."""
    amount = (_uniform(len(images), -0.6, 2.0, generator) * strength)[:, None, None, None]
    once = F.max_pool2d(images, 3, 1, 1)
    twice = F.max_pool2d(once, 3, 1, 1)
    thin = -F.max_pool2d(-images, 3, 1, 1)
    thick = torch.lerp(torch.lerp(images, once, amount.clamp(0, 1)), twice, (amount - 1).clamp(0, 1))
    return torch.where(amount < 0, torch.lerp(images, thin, amount.clamp(-1, 0).neg()), thick)


def _lower_resolution(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Sample random shares of the batch `[B, 1, 32, 32]` at 8 to 16 pixels by area, and back up bilinearly."""
    choice = torch.rand(len(images), generator=generator)
    result = images.clone()
    bound = 0.0
    for pixels, share in ((8, 0.45), (10, 0.1), (12, 0.1), (16, 0.1)):
        chosen = torch.nonzero((choice >= bound) & (choice < bound + share * strength))[:, 0]
        bound += share * strength
        if len(chosen):
            small = F.interpolate(images[chosen], size=(pixels, pixels), mode="area")
            result[chosen] = F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return result


def augment(masters: Tensor, *, size: int, strength: float, generator: torch.Generator) -> Tensor:
    """Deform uint8 masters `[B, 48, 48]` into normalised float images `[B, 3, size, size]` in [-1, 1].

    `strength` in [0, 1] scales every deformation; 0 only resamples. The work is done at 32 pixels, then averaged.
    """
    count = len(masters)
    images = masters[:, None].float() / 255
    if strength > 0:
        images = _change_thickness(images, strength, generator)
    grid = _sampling_grid(count, FULL_SIZE, strength, generator)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    images = _lower_resolution(images, strength, generator)
    gain = 1 + (_uniform(count, -0.45, 0.4, generator) * strength)[:, None, None, None]
    offset = (_uniform(count, -0.05, 0.1, generator) * strength)[:, None, None, None]
    noise = torch.randn(images.shape, generator=generator)
    noise *= (_uniform(count, -0.08, 0.08, generator).clamp(min=0) * strength)[:, None, None, None]
    images = (images * gain + offset + noise).clamp(0, 1)
    flipped = (torch.rand(count, generator=generator) < 0.05 * strength)[:, None, None, None]
    images = torch.where(flipped, 1 - images, images)
    if size != FULL_SIZE:
        images = F.interpolate(images, size=(size, size), mode="area")
    return ((images - 0.5) / 0.5).expand(-1, 3, -1, -1)
