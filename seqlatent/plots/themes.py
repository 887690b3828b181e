"""Pictures for pages: a figure as two small PNGs, for a light and for a dark ground.

The figure is drawn once, and its pixels become places in a palette of at most 256 colours. The dark
picture has the same pixels and another palette, in which lightness is turned round and hue stays:

    c' = c + 1 - max(c) - min(c),    c in [0, 1]^3

(White turns black, black white, and a dark blue a light one.) The middle is lifted a little, since
greys look darker on a dark ground, and the result fills the range from the page's ground to its
ink.
"""

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
GROUND, INK = np.array([20, 24, 29]), np.array([223, 229, 235])  # of dark pages, 0 to 255
LIFT = 0.8  # power of what is turned round
COLORS = 256  # of a palette
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def themed_pngs(figure: "Figure") -> tuple[bytes, bytes]:
    """The figure for a light and for a dark ground, as the bytes of PNG files."""
    figure.set_dpi(DPI)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    palette, places = _reduced(pixels)
    height, width = places.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), places], 1)  # 0: unfiltered
    packed = zlib.compress(lines.tobytes(), 9)
    return tuple(_png(width, height, p, packed) for p in (palette, dark(palette)))  # type: ignore[return-value]


def dark(palette: np.ndarray) -> np.ndarray:
    """(K, 3) uint8 colours for a dark ground in the place of those for a white one."""
    c = palette / 255
    turned = c + 1 - c.max(1, keepdims=True) - c.min(1, keepdims=True)
    return np.rint(GROUND + turned**LIFT * (INK - GROUND)).astype(np.uint8)


def _reduced(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, 3) colours, and (H, W) uint8 the place of the nearest one for each pixel.

    Up to 256 colours are kept as they are. Of more, half of the palette are the commonest ones, and
    half the means of the commonest of 512 cells of similar colours.
    """
    weights = np.array([65536, 256, 1], np.uint32)
    codes, places, counts = np.unique(
        pixels.reshape(-1, 3).astype(np.uint32) @ weights, return_inverse=True, return_counts=True
    )
    colors = np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], 1).astype(np.int64)
    palette = colors if len(colors) <= COLORS else _commonest(colors, counts)
    nearest = np.empty(len(colors), np.uint8)
    for start in range(0, len(colors), 1024):
        apart = colors[start : start + 1024, None] - palette
        nearest[start : start + 1024] = (apart**2).sum(-1).argmin(1)
    return palette.astype(np.uint8), nearest[places].reshape(pixels.shape[:2])


def _commonest(colors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(256, 3) for the (N, 3) colours and how often each is there."""
    order = np.argsort(-counts, kind="stable")
    common, rest = order[: COLORS // 2], order[COLORS // 2 :]
    cell = np.unique(colors[rest] >> 5, axis=0, return_inverse=True)[1].ravel()
    weight = np.bincount(cell, counts[rest])
    sums = [np.bincount(cell, counts[rest] * c) for c in colors[rest].T]
    means = np.rint(np.stack(sums, 1) / weight[:, None]).astype(np.int64)
    chosen = np.argsort(-weight, kind="stable")[: COLORS // 2]
    return np.concatenate([colors[common], means[chosen]])


def _png(width: int, height: int, palette: np.ndarray, packed: bytes) -> bytes:
    """A PNG with a palette (ISO/IEC 15948): header, palette, pixels, end."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    parts = ((b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", packed), (b"IEND", b""))
    chunks = (
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in parts
    )
    return SIGNATURE + b"".join(chunks)
