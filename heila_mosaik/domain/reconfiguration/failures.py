"""What can be wrong with a question about reconfiguration."""

from __future__ import annotations

from heila_mosaik.errors import HeilaError


class NotRadialError(HeilaError):
    """Branch exchange starts from a radial grid, and this one is not.

    Args:
        loops: Devices that close a loop.
        dark: Zones without a source that an operable device could supply.
    """

    def __init__(self, loops: tuple[str, ...], dark: tuple[str, ...]) -> None:
        self.loops, self.dark = loops, dark
        super().__init__(loops, dark)

    def __str__(self) -> str:
        said = []
        if self.loops:
            said.append(f"closed in a loop: {', '.join(self.loops[:8])}; open one device in each loop")
        if self.dark:
            said.append(f"without supply: {', '.join(self.dark[:8])}; close a device towards them")
        return "the grid is not radial where reconfiguration starts: " + "; ".join(said)
