"""Processes that tests start."""

import shutil


def dying_with_us() -> list[str]:
    """A test run that is killed can't stop its servers: the kernel does it then, where util-linux is there."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
