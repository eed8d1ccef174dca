"""Image files without what cameras and programs write beside the picture: place, time, author, previews, more pictures.

Nothing is encoded anew: whole parts of the file are left out. What pixels and colours need stays, ICC profiles too.
"""

import re

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # no stuffed byte, restart or filling
_FIRST_OF_CODING, _LAST_OF_CODING = b"\xff\xc0", b"\xff\xdf"  # from frame header to tables
_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_COLOURS_IN_JPEG = (b"JFIF\0", b"ICC_PROFILE\0", b"Adobe\0")
_COLOURS_IN_PNG = {b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
_PICTURE_IN_WEBP = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF"}
_FLAGS_AT = 8  # in VP8X
_HAS_EXIF_OR_XMP = 0b1100


def without_metadata(data: bytes, format_: str) -> bytes:
    """The file, whose format goes by its name in small letters; bmp and gif as they are.

    What it makes of a damaged file may be no image.
    """
    strip = {"jpeg": _jpeg, "png": _png, "webp": _webp}.get(format_)
    return strip(data) if strip else data


def _jpeg(data: bytes) -> bytes:
    """Segments, up to the end of the first picture (ISO/IEC 10918-1, annex B)."""
    kept, place, marker = [data[:2]], 2, b""
    while found := _MARKER.search(data, place):
        if marker == _SCAN:  # pixels, up to the next marker; else filling
            kept.append(data[place : found.start()])
        marker, start = found[0], found.start()
        if marker == _END_OF_IMAGE:
            break
        place = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if _FIRST_OF_CODING <= marker <= _LAST_OF_CODING or data.startswith(_COLOURS_IN_JPEG, start + 4):
            kept.append(data[start:place])
    return b"".join([*kept, _END_OF_IMAGE])


def _png(data: bytes) -> bytes:
    """Chunks, up to the picture's end; those that matter to pixels begin with a capital."""
    kept, place = [data[:8]], 8
    while place < len(data):
        kind, end = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4])
        if kind[:1].isupper() or kind in _COLOURS_IN_PNG:
            kept.append(data[place:end])
        place = len(data) if kind == b"IEND" else end
    return b"".join(kept)


def _webp(data: bytes) -> bytes:
    """RIFF chunks, padded to even sizes."""
    kept, place = b"WEBP", 12
    while place < len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        chunk = bytearray(data[place : place + 8 + size + size % 2])
        if kind == b"VP8X":
            chunk[_FLAGS_AT] &= ~_HAS_EXIF_OR_XMP
        if kind in _PICTURE_IN_WEBP:
            kept += chunk
        place += 8 + size + size % 2
    return b"RIFF" + len(kept).to_bytes(4, "little") + kept
