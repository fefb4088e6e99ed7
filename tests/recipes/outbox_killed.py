"""Handles an event as docs/outbox.py does, and dies at the statement that is asked for: the test's victim."""

import os
import signal
import sys
from typing import Any

from sqlalchemy import event as sqlalchemy_event

from forebay.processors.testing import event, run_now
from tests.recipes.outbox_recipe import recipe_on


def main(url: str, dies_at: int) -> None:
    recipe = recipe_on(url)
    steps = 0

    def step(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "commit"):
        sqlalchemy_event.listen(recipe.engine, name, step)
    print(run_now(recipe.handlers, event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, id="the event's id")))
    # What comes after the commit, and before the worker has committed its offset, is the next step.
    step()
    print("steps", steps, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
