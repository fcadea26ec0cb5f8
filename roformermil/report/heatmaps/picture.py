"""Blocks of pictures and text, to be joined into one picture."""

import math
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
DARK, WHITE = (40, 40, 40), (255, 255, 255)
FONT, SMALL = ImageFont.load_default(size=24), ImageFont.load_default(size=20)
SPACING = 1.3  # of lines, in the font's size


def text_block(
    text: str,
    width: int,
    colour: Colour = DARK,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont = FONT,
    ground: Colour = WHITE,
    margin: int = 0,
    least_lines: int = 1,
) -> Image.Image:
    """Text in lines of at most `width` pixels, on a ground as wide, of `least_lines` or more."""
    lines = wrap(text, width - 2 * margin, font)
    lines += [""] * (least_lines - len(lines))
    height = math.ceil(SPACING * getattr(font, "size", 12))
    image = Image.new("RGB", (width, height * len(lines) + 2 * margin), ground)
    draw = ImageDraw.Draw(image)
    for k, line in enumerate(lines):
        draw.text((margin, margin + k * height), line, colour, font)
    return image


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Lines of at most `width` pixels, broken between words, and within those that are longer."""
    lines = [""]
    for word in text.split():
        if font.getlength(f"{lines[-1]} {word}".strip()) <= width:
            lines[-1] = f"{lines[-1]} {word}".strip()
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def join(images: list[Image.Image], gap: int = 0, down: bool = False) -> Image.Image:
    """Images side by side, or one below the other, on white."""
    sizes = [image.size[::-1] if down else image.size for image in images]  # (along, across)
    starts = list(accumulate((along + gap for along, _ in sizes), initial=0))
    size = starts[-1] - gap, max(across for _, across in sizes)
    joined = Image.new("RGB", size[::-1] if down else size, "white")
    for image, start in zip(images, starts, strict=False):
        joined.paste(image, (0, start) if down else (start, 0))
    return joined


def length_text(um: float) -> str:
    """A length with its unit: um, since Pillow's font has no µ; from 1000 um mm."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} um"


def draw_scale_bar(picture: Image.Image, um_per_px: float) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten um, at most a quarter as long as the picture is wide, into its lower left."""
    longest = picture.width / 4 * um_per_px
    power = 10 ** math.floor(math.log10(longest))
    um = max(step * power for step in (1, 2, 5) if step * power <= longest)
    draw, length, text = ImageDraw.Draw(picture), um / um_per_px, length_text(um)
    width, edge = max(length, SMALL.getlength(text)), picture.height
    draw.rectangle((6, edge - 44, 26 + width, edge - 6), WHITE)
    draw.rectangle((16, edge - 16, 16 + length, edge - 12), DARK)
    draw.text((16, edge - 42), text, DARK, SMALL)
