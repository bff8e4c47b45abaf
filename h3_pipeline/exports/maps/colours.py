"""Colours that a colour-blind person tells apart, for a light page and a dark one.

More is always further from the page's own colour: darker on a light page, brighter on a dark one.
"""

from dataclasses import dataclass

CLASSES = 7

# viridis at seven even steps
_VIRIDIS = ("#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725")


@dataclass(frozen=True, slots=True)
class Palette:
    """Seven colours, from the smallest class to the largest, as ``#rrggbb``."""

    light: tuple[str, ...]
    dark: tuple[str, ...]

    def pick(self, classes: int, *, dark: bool = False) -> tuple[str, ...]:
        """So many of the colours, spread over all of them."""
        colours = self.dark if dark else self.light
        if classes <= 1:
            return colours[-2:-1]
        return tuple(colours[round(index * (len(colours) - 1) / (classes - 1))] for index in range(classes))


SEQUENTIAL = Palette(light=_VIRIDIS[::-1], dark=_VIRIDIS)
"""From little to much: viridis."""

DIVERGING = Palette(
    light=("#0b4a8f", "#3f8cc5", "#a3cce6", "#d9d9d6", "#f9bd7f", "#dd7513", "#8f3a04"),
    dark=("#b5d8f2", "#4f9bd6", "#22567f", "#4a4f57", "#91490f", "#e8842b", "#ffd0a1"),
)
"""From less than zero, blue, to more than zero, orange."""
