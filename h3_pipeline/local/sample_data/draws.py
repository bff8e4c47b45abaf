"""Drawing one of several things, for whole arrays."""

import numpy as np
import numpy.typing as npt


def cumulative(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights to cumulative probabilities along the last axis."""
    sums = np.cumsum(weights, axis=-1)
    return sums / sums[..., -1:]


def choose(rng: np.random.Generator, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Draw an index for each row of cumulative probabilities, shape (n, k) to (n,)."""
    return (rng.random(len(probabilities))[:, None] >= probabilities).sum(axis=1)
