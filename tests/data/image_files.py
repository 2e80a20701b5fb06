"""Image files made byte by byte, so that what a person sees of them is known from the format alone."""

import struct
import zlib

import numpy as np

# Where EXIF says that the first row and the first column of what is stored lie in what is shown.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def shown(stored, orientation):
    """What is shown of stored pixels: rows and columns go to their sides."""
    rows, columns = SIDES[orientation]
    if rows in ("bottom", "right"):
        stored = stored[::-1]
    if columns in ("bottom", "right"):
        stored = stored[:, ::-1]
    return stored.swapaxes(0, 1) if rows in ("left", "right") else stored


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels, depth=8, color=0, *more):
    """A PNG of whole numbers `[H, W]` or `[H, W, C]`: `color` 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA."""
    high, wide = pixels.shape[:2]
    rows = pixels.reshape(high, -1)
    bits = ((rows[..., None] >> np.arange(depth)[::-1]) & 1).astype(np.uint8).reshape(high, -1)
    lines = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", wide, high, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


def exif(orientation, order="<"):
    """An EXIF block that holds an orientation alone."""
    mark = {"<": b"II", ">": b"MM"}[order]
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def tiff(pixels, order="<", orientation=1, photometric=None, extra=None):
    """An uncompressed TIFF of numbers of any type."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    high, wide, channels = pixels.shape
    bits, kind = 8 * pixels.dtype.itemsize, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    tags = {
        256: (3, [wide]),
        257: (3, [high]),
        258: (3, [bits] * channels),
        259: (3, [1]),
        262: (3, [(2 if channels > 2 else 1) if photometric is None else photometric]),
        273: (4, [8]),
        274: (3, [orientation]),
        277: (3, [channels]),
        278: (4, [high]),
        279: (4, [len(content)]),
        339: (3, [kind] * channels),
    }
    if extra is not None:
        tags[338] = (3, [extra])
    place = 8 + len(content) + len(content) % 2
    after, entries, long = place + 2 + 12 * len(tags) + 4, b"", b""
    for tag, (form, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{'H' if form == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, long = struct.pack(f"{order}I", after + len(long)), long + packed
        entries += struct.pack(f"{order}HHI", tag, form, len(values)) + packed.ljust(4, b"\0")
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + struct.pack(f"{order}HI", 42, place) + content + b"\0" * (len(content) % 2)
    return head + struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0" + long


def pnm(pixels, most):
    """A PGM or PPM of whole numbers up to `most`."""
    form = 5 if pixels.ndim == 2 else 6
    numbers = pixels.astype(">u2" if most > 255 else "u1")
    return f"P{form} {pixels.shape[1]} {pixels.shape[0]} {most}\n".encode() + numbers.tobytes()
