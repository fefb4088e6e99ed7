"""Workers' processes that are ended in the middle of their work."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from forebay.processors.crashes.caution import Caution
from forebay.processors.crashes.life import Life


class Lives:
    """The lives of one worker after the other, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._number = folder, count()

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
        (self.folder / f"{next(self._number)}.ended").write_bytes(left)
