"""Workers' processes that are ended in the middle of their work."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from forebay.processors.crashes.caution import Caution
from forebay.processors.crashes.life import Life


class Lives:
    """The lives of one worker after the other, in one folder. Each takes so long."""

    def __init__(self, folder: Path, *, take_s: float = 0.0) -> None:
        self.folder, self._take_s, self._number = folder, take_s, count()

    def begin(self) -> Caution:
        """The next one."""
        self.life = Life(self.folder)
        return Caution(self.life)

    def end(self, clear_away: Callable[[], object] = lambda: None) -> None:
        """It is ended: what it has noted stays as it is, whatever else becomes of it."""
        [path] = self.folder.glob("*.life")
        left = path.read_bytes()
        clear_away()
        self.life.close()
        for ended in self.folder.glob("*.ended"):
            at = ended.stat().st_mtime - self._take_s
            os.utime(ended, (at, at))
        (self.folder / f"{next(self._number)}.ended").write_bytes(left)
