"""Counts as docs/analytics.py does, and dies at the statement of its database that is asked for: the test's victim."""

import os
import signal
import sys
from typing import Any

from tests.recipes.analytics_recipe import recipe_on


def main(bootstrap: str, topic: str, database: str, dies_at: int) -> None:
    recipe = recipe_on(bootstrap, topic, database)
    steps = 0

    def step(statement: str) -> None:
        nonlocal steps
        steps += 1
        if steps == dies_at:
            print(statement, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    opened = recipe.opened

    def watched() -> Any:
        connection = opened()
        connection.set_trace_callback(step)
        return connection

    recipe.opened = watched
    recipe.main()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
