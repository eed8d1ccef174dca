"""Ways to damage a file; each takes its bytes and a generator of random numbers, and is repeatable by its seed."""

import random
import struct
from collections.abc import Callable, Sequence

Mutator = Callable[[bytearray, random.Random], bytearray]

_HEADER_BYTES = 2048
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_MP4_BOXES = (
    *(b"mvhd", b"tkhd", b"mdhd", b"elst", b"stsd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"avcC", b"hvcC"),
    *(b"moof", b"tfhd", b"tfdt", b"trun", b"trak", b"mdia", b"ftyp", b"mdat", b"hdlr", b"pasp"),
)
_EBML_FIELDS = (  # ids of Matroska elements: time scale, duration, sizes, rate, track number, cues, block, cluster time
    *(b"\x2a\xd7\xb1", b"\x44\x89", b"\xb0", b"\xba", b"\x23\xe3\x83", b"\xd7", b"\xbb", b"\xa3", b"\xe7", b"\x86"),
)
_RIFF_FIELDS = (b"avih", b"strh", b"strf", b"idx1", b"movi", b"00dc")
_SIZES = (96, 64)  # px of the seeds


def _span(data: bytearray, dice: random.Random, longest: int = 4096) -> tuple[int, int]:
    start = dice.randrange(len(data))
    return start, min(len(data), start + dice.randint(1, longest))


def flip_bits(data: bytearray, dice: random.Random) -> bytearray:
    within = dice.choice((len(data), min(len(data), _HEADER_BYTES)))
    for _ in range(dice.choice((1, 4, 16, 64, 512))):
        data[dice.randrange(within)] ^= 1 << dice.randrange(8)
    return data


def truncate(data: bytearray, dice: random.Random) -> bytearray:
    return data[: dice.randrange(len(data))]


def delete_chunk(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    del data[start:end]
    return data


def repeat_chunk(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    return data[:end] + data[start:end] * dice.choice((1, 2, 50)) + data[end:]


def swap_chunks(data: bytearray, dice: random.Random) -> bytearray:
    length = dice.randint(1, max(1, len(data) // 4))
    one, two = dice.randrange(len(data)), dice.randrange(len(data))
    data[one : one + length], data[two : two + length] = data[two : two + length], data[one : one + length]
    return data


def overwrite_chunk(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    length = end - start
    data[start:end] = dice.choice((bytes(length), b"\xff" * length, dice.randbytes(length)))
    return data


def change_number(data: bytearray, dice: random.Random) -> bytearray:
    """An extreme number in a header: among the first bytes, the last, or in a field that the container names."""
    marks = [mark for mark in (*_MP4_BOXES, *_EBML_FIELDS, *_RIFF_FIELDS) if mark in data]
    for _ in range(dice.choice((1, 1, 3))):
        if marks and dice.random() < 0.7:
            mark = dice.choice(marks)
            at = data.find(mark) + dice.choice((-4, len(mark), len(mark) + dice.randrange(96)))
        else:
            at = dice.choice((dice.randrange(_HEADER_BYTES), len(data) - dice.randrange(_HEADER_BYTES)))
        form = dice.choice((">I", "<I", ">H", "<H", ">Q", "B"))
        size = struct.calcsize(form)
        at = max(0, min(at, len(data) - size))
        data[at : at + size] = struct.pack(form, dice.choice(_NUMBERS) & (1 << 8 * size) - 1)
    return data


def enlarge(data: bytearray, dice: random.Random) -> bytearray:
    """Other pictures' sizes wherever the seed's width or height stands as a number."""
    form = dice.choice((">H", "<H", ">I", "<I", "B"))
    huge = dice.choice((0, 1, 255, 4096, 16383, 32768, 65535)) & (1 << 8 * struct.calcsize(form)) - 1
    size = struct.pack(form, dice.choice(_SIZES))
    return data.replace(size, struct.pack(form, huge), dice.choice((1, 2, -1)))


def add_junk(data: bytearray, dice: random.Random) -> bytearray:
    playlist = b"#EXTM3U\nfile:///etc/passwd\n"
    junk = dice.choice((dice.randbytes(dice.randint(1, 5000)), bytes(3000), playlist, bytes(data)))
    where = dice.choice((0, len(data), dice.randrange(len(data))))
    data[where:where] = junk
    return data


MUTATORS: Sequence[Mutator] = (
    flip_bits,
    truncate,
    delete_chunk,
    repeat_chunk,
    swap_chunks,
    overwrite_chunk,
    change_number,
    change_number,
    enlarge,
    add_junk,
)


def mutate(data: bytes, other: bytes, dice: random.Random) -> tuple[bytes, str]:
    """Up to three mutations of `data`, or its head with the tail of `other`; and what was done."""
    damaged = bytearray(data)
    done = []
    if dice.random() < 0.1:
        damaged = damaged[: dice.randrange(1, len(data))] + bytearray(other[dice.randrange(len(other)) :])
        done.append("splice")
    for mutator in dice.choices(MUTATORS, k=dice.choice((1, 1, 2, 3))):
        if damaged:
            damaged = mutator(damaged, dice)
            done.append(mutator.__name__)
    return bytes(damaged), " ".join(done)
