"""What a colour on white is on a dark page, for figures and explorers alike."""

from collections.abc import Sequence

__all__ = ["dark"]

GROUND = (18, 18, 18)  # of the theme's dark pages
LEAST = 3.0  # contrast of a colour with the ground


def dark(colour: str) -> str:
    """The colour of a drawing on a dark page, both as six hexadecimal digits.

    What is grey or pale has the contrast with the ground that it has on white. Other colours stay,
    and are lifted where they would be dark: one that was darker than another still is.
    """
    rgb = [int(colour[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    light = _linear(rgb)
    y, ground = _luminance(light), _luminance(_linear([c / 255 for c in GROUND]))
    on_white = 1.05 / (y + 0.05)
    spread = max(rgb) - min(rgb)
    if spread < 0.06 or (spread < 0.25 and on_white < 1.5):
        wanted = min(on_white, 14) * (ground + 0.05) - 0.05
    else:
        contrast = (y + 0.05) / (ground + 0.05)
        lifted = LEAST + max(contrast - 1, 0.05) * (5 - LEAST) / 4
        wanted = max(lifted, contrast) * (ground + 0.05) - 0.05
    if max(light) > 0:
        factor = min(wanted / y, 1 / max(light))
        light = [factor * c for c in light]
    white = (wanted - _luminance(light)) / max(1 - _luminance(light), 1e-9)
    light = [c + max(white, 0) * (1 - c) for c in light]
    back = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in light]
    return "".join(f"{round(255 * min(max(c, 0), 1)):02x}" for c in back)


def _linear(rgb: Sequence[float]) -> list[float]:
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]


def _luminance(light: Sequence[float]) -> float:
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), light, strict=True))
