"""Where people travel: from spot to spot, as the hour has it and as far as people like to go."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from h3_pipeline.local.sample_data.cities import City, SpotKind
from h3_pipeline.local.sample_data.demand import HOURS_OF_WEEKDAY_AND_WEEKEND
from h3_pipeline.local.sample_data.draws import choose, cumulative

Degrees = npt.NDArray[np.float64]

EARTH_RADIUS_KM = 6371.0
TRUNCATION = 2.5
"""Points lie within so many standard deviations of their spot."""

_KM_PER_DEGREE = EARTH_RADIUS_KM * np.pi / 180
_USUAL_KM = 3.0
_WITHIN_ONE_SPOT = 0.3  # few take a vehicle to get about a single quarter

# The shares in which kinds of spots send and receive trips, in the order of `SpotKind`:
# home, centre, station, airport, university, nightlife.
_Mix = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Period:
    hours: range
    origins: _Mix
    destinations: _Mix


_WEEKDAY = (
    _Period(range(0, 4), (0.15, 0.20, 0.10, 0.08, 0.05, 0.42), (0.62, 0.07, 0.05, 0.04, 0.02, 0.20)),
    _Period(range(4, 6), (0.66, 0.08, 0.06, 0.06, 0.04, 0.10), (0.14, 0.22, 0.20, 0.40, 0.02, 0.02)),
    _Period(range(6, 10), (0.72, 0.05, 0.13, 0.06, 0.02, 0.02), (0.08, 0.52, 0.16, 0.07, 0.14, 0.03)),
    _Period(range(10, 16), (0.25, 0.35, 0.12, 0.08, 0.11, 0.09), (0.25, 0.35, 0.12, 0.08, 0.11, 0.09)),
    _Period(range(16, 20), (0.12, 0.52, 0.13, 0.06, 0.11, 0.06), (0.63, 0.06, 0.13, 0.05, 0.03, 0.10)),
    _Period(range(20, 24), (0.20, 0.28, 0.10, 0.08, 0.06, 0.28), (0.50, 0.08, 0.06, 0.04, 0.02, 0.30)),
)
_WEEKEND = (
    _Period(range(0, 5), (0.08, 0.16, 0.06, 0.05, 0.03, 0.62), (0.72, 0.05, 0.04, 0.05, 0.02, 0.12)),
    _Period(range(5, 10), (0.60, 0.10, 0.12, 0.08, 0.02, 0.08), (0.20, 0.28, 0.16, 0.22, 0.05, 0.09)),
    _Period(range(10, 17), (0.40, 0.26, 0.11, 0.07, 0.04, 0.12), (0.30, 0.36, 0.10, 0.06, 0.04, 0.14)),
    _Period(range(17, 24), (0.42, 0.24, 0.08, 0.06, 0.03, 0.17), (0.28, 0.12, 0.06, 0.05, 0.01, 0.48)),
)


class Flows:
    """Draws trips within one city."""

    def __init__(self, city: City) -> None:
        spots = city.spots
        kinds = list(SpotKind)
        kind = np.array([kinds.index(spot.kind) for spot in spots])
        weight = np.array([spot.weight for spot in spots])
        share = weight / np.bincount(kind, weight, len(kinds))[kind]
        self._lat = np.array([spot.lat for spot in spots])
        self._lng = np.array([spot.lng for spot in spots])
        self._spread_km = np.array([spot.spread_km for spot in spots])

        km = distance_km(self._lat[:, None], self._lng[:, None], self._lat, self._lng)
        willingness = 1 / (1 + (km / _USUAL_KM) ** 2)
        np.fill_diagonal(willingness, _WITHIN_ONE_SPOT)

        periods = [period for week in (_WEEKDAY, _WEEKEND) for period in week for _ in period.hours]
        origins = np.array([period.origins for period in periods])[:, kind] * share
        destinations = np.array([period.destinations for period in periods])[:, kind] * share
        assert len(periods) == HOURS_OF_WEEKDAY_AND_WEEKEND
        self._origins = cumulative(origins)
        self._destinations = cumulative(destinations[:, None, :] * willingness)

    def draw(self, rng: np.random.Generator, slots: npt.NDArray[np.int64]) -> tuple[Degrees, Degrees, Degrees, Degrees]:
        """Draw one trip for each slot.

        Args:
            rng: Source of chance.
            slots: Hours as `Demand.slots` counts them, shape (n,).

        Returns:
            Latitudes and longitudes of the origins, and of the destinations, shape (n,) each.
        """
        origin = choose(rng, self._origins[slots])
        destination = choose(rng, self._destinations[slots, origin])
        return *self._scatter(rng, origin), *self._scatter(rng, destination)

    def _scatter(self, rng: np.random.Generator, spot: npt.NDArray[np.int64]) -> tuple[Degrees, Degrees]:
        """Points about the spots, by a normal distribution cut off at `TRUNCATION`."""
        within = 1 - np.exp(-(TRUNCATION**2) / 2)
        km = self._spread_km[spot] * np.sqrt(-2 * np.log1p(-within * rng.random(len(spot))))
        direction = 2 * np.pi * rng.random(len(spot))
        lat = self._lat[spot] + km * np.sin(direction) / _KM_PER_DEGREE
        lng = self._lng[spot] + km * np.cos(direction) / (_KM_PER_DEGREE * np.cos(np.radians(lat)))
        return lat, (lng + 180) % 360 - 180


def distance_km(lat: Degrees, lng: Degrees, other_lat: Degrees, other_lng: Degrees) -> npt.NDArray[np.float64]:
    """Great-circle distance between points in degrees, by the haversine formula; arrays broadcast."""
    phi, other_phi = np.radians(lat), np.radians(other_lat)
    half = np.sin((other_phi - phi) / 2) ** 2
    half = half + np.cos(phi) * np.cos(other_phi) * np.sin(np.radians(other_lng - lng) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half))
