"""Which endpoint a path leads to, and how it goes on behind it."""

from .endpoint import Endpoint


class Paths:
    """Those of the endpoints, as Falcon's routes have them: the longest counts."""

    def __init__(self) -> None:
        self._exact: dict[str, Endpoint] = {}
        self._above: list[tuple[str, Endpoint]] = []

    def add(self, root: str, endpoint: Endpoint) -> None:
        """Lead there from that path, and from all below it; empty is `/`, and below it only Falcon finds its way."""
        self._exact[root or "/"] = endpoint
        if root:
            self._above.append((f"{root}/", endpoint))
            self._above.sort(key=lambda one: len(one[0]), reverse=True)

    def find(self, path: str) -> tuple[Endpoint | None, str]:
        """The endpoint, None where there is none, and the rest of the path."""
        if (endpoint := self._exact.get(path)) is not None:
            return endpoint, ""
        for root, above in self._above:
            if path.startswith(root):
                return above, path[len(root) :]
        return None, ""
