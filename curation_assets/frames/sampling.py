"""Which frames of a clip are stored."""

STORED_FRAMES = 9


def stored_frame_indices(frame_count: int) -> list[int]:
    """Indices floor(i * N / 8) for i = 0..7, and N - 1, of a clip of N = `frame_count` frames.

    The first eight are EasyAnimate's uniform sampling of eight (captions, alignment); every second of them
    is its uniform sampling of four (aesthetic score), the fifth its middle frame (text score). Short clips
    repeat indices.
    """
    return [i * frame_count // 8 for i in range(8)] + [frame_count - 1]
