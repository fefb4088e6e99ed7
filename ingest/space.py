"""Space on the disk, taken before it is needed."""

import os


def take_space(file: int, start: int, size: int) -> None:
    """Let so many bytes of the open file from there on be on the disk; what stands there stays. Raises `OSError`.

    Who has mapped a hole of a file into its memory would be ended by SIGBUS when a full disk can't fill it. macOS knows
    no such call: there the file has the length, and holes.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, size)
    elif os.fstat(file).st_size < start + size:
        os.ftruncate(file, start + size)
