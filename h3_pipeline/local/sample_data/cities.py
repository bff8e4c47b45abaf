"""Where people live, work and go out: a few spots for each city, roughly where they are."""

from dataclasses import dataclass
from enum import StrEnum


class SpotKind(StrEnum):
    """What draws people to a spot; `flows` says at which hours."""

    HOME = "home"
    CENTRE = "centre"
    STATION = "station"
    AIRPORT = "airport"
    UNIVERSITY = "university"
    NIGHTLIFE = "nightlife"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place where trips begin and end.

    Attributes:
        kind: What it is.
        lat: Latitude of its middle, degrees.
        lng: Longitude of its middle, degrees.
        spread_km: Standard deviation of the points about the middle, in each direction. Points
            further off than two and a half of it do not occur, so that a coast can be kept.
        weight: Share among the city's spots of that kind.
    """

    kind: SpotKind
    lat: float
    lng: float
    spread_km: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class City:
    """A city with its own clock.

    Attributes:
        name: Value of ``region``.
        timezone: IANA zone by whose local hours people travel.
        weight: Share of the trips.
        spots: Where trips begin and end; the first is the middle of the city.
    """

    name: str
    timezone: str
    weight: float
    spots: tuple[Spot, ...]


_SPREAD_KM = {
    SpotKind.HOME: 0.6,
    SpotKind.CENTRE: 0.4,
    SpotKind.STATION: 0.12,
    SpotKind.AIRPORT: 0.3,
    SpotKind.UNIVERSITY: 0.25,
    SpotKind.NIGHTLIFE: 0.3,
}


def _spots(kind: SpotKind, *places: tuple[float, float] | tuple[float, float, float]) -> tuple[Spot, ...]:
    """Spots of one kind; a place is (lat, lng), or (lat, lng, spread in km) where the usual one does not fit.

    The first is the most important: each next one has a little less weight.
    """
    return tuple(
        Spot(kind, place[0], place[1], place[2] if len(place) == 3 else _SPREAD_KM[kind], weight=1 / (1 + 0.3 * rank))
        for rank, place in enumerate(places)
    )


NEW_YORK = City(
    "New York",
    "America/New_York",
    0.22,
    (
        *_spots(SpotKind.CENTRE, (40.7565, -73.9800, 0.6), (40.7080, -74.0090, 0.25)),
        *_spots(SpotKind.STATION, (40.7506, -73.9935), (40.7527, -73.9772)),
        *_spots(SpotKind.AIRPORT, (40.7735, -73.8722, 0.2), (40.6446, -73.7822)),
        *_spots(SpotKind.UNIVERSITY, (40.7295, -73.9965), (40.8075, -73.9615)),
        *_spots(SpotKind.NIGHTLIFE, (40.7265, -73.9850), (40.7145, -73.9570)),
        *_spots(
            SpotKind.HOME,
            (40.7735, -73.9585, 0.4),
            (40.7860, -73.9740, 0.35),
            (40.8116, -73.9465, 0.5),
            (40.7644, -73.9205),
            (40.7557, -73.8831),
            (40.6710, -73.9814),
            (40.6694, -73.9422),
            (40.6958, -73.9171),
            (40.6409, -73.9620, 0.8),
        ),
    ),
)

SAO_PAULO = City(
    "São Paulo",
    "America/Sao_Paulo",
    0.13,
    (
        *_spots(SpotKind.CENTRE, (-23.5614, -46.6559, 0.5), (-23.5505, -46.6333)),
        *_spots(SpotKind.STATION, (-23.5346, -46.6353), (-23.5164, -46.6254)),
        *_spots(SpotKind.AIRPORT, (-23.6261, -46.6564, 0.25), (-23.4306, -46.4730)),
        *_spots(SpotKind.UNIVERSITY, (-23.5614, -46.7308, 0.5)),
        *_spots(SpotKind.NIGHTLIFE, (-23.5537, -46.6908)),
        *_spots(
            SpotKind.HOME,
            (-23.5670, -46.7020),
            (-23.6010, -46.6650),
            (-23.5890, -46.6340),
            (-23.5405, -46.5760, 0.8),
            (-23.5020, -46.6250, 0.8),
            (-23.5270, -46.7050),
            (-23.6530, -46.7080, 0.9),
            (-23.5400, -46.4560, 1.0),
        ),
    ),
)

MEXICO_CITY = City(
    "Mexico City",
    "America/Mexico_City",
    0.10,
    (
        *_spots(SpotKind.CENTRE, (19.4270, -99.1677, 0.5), (19.4326, -99.1332), (19.3590, -99.2600)),
        *_spots(SpotKind.STATION, (19.4467, -99.1526)),
        *_spots(SpotKind.AIRPORT, (19.4363, -99.0721)),
        *_spots(SpotKind.UNIVERSITY, (19.3320, -99.1870, 0.5)),
        *_spots(SpotKind.NIGHTLIFE, (19.4150, -99.1680), (19.4110, -99.1740)),
        *_spots(
            SpotKind.HOME,
            (19.3930, -99.1560),
            (19.4330, -99.1950),
            (19.3500, -99.1620, 0.7),
            (19.4880, -99.1330, 0.8),
            (19.3580, -99.0930, 1.0),
            (19.3960, -99.0980, 0.8),
        ),
    ),
)

LAGOS = City(
    "Lagos",
    "Africa/Lagos",
    0.10,
    (
        *_spots(SpotKind.CENTRE, (6.4545, 3.3930, 0.25), (6.6018, 3.3515, 0.6)),
        *_spots(SpotKind.STATION, (6.5550, 3.3430, 0.2), (6.4835, 3.3820)),
        *_spots(SpotKind.AIRPORT, (6.5774, 3.3215)),
        *_spots(SpotKind.UNIVERSITY, (6.5158, 3.3890, 0.2)),
        *_spots(SpotKind.NIGHTLIFE, (6.4320, 3.4220, 0.25)),
        *_spots(
            SpotKind.HOME,
            (6.4990, 3.3530, 0.8),
            (6.5130, 3.3750, 0.4),
            (6.5300, 3.3550),
            (6.4520, 3.4350, 0.3),
            (6.4470, 3.4720, 0.4),
            (6.6200, 3.3250, 0.7),
            (6.6400, 3.3600, 0.7),
        ),
    ),
)

NAIROBI = City(
    "Nairobi",
    "Africa/Nairobi",
    0.07,
    (
        *_spots(SpotKind.CENTRE, (-1.2841, 36.8233), (-1.2990, 36.8120, 0.3)),
        *_spots(SpotKind.STATION, (-1.2905, 36.8280)),
        *_spots(SpotKind.AIRPORT, (-1.3300, 36.9250)),
        *_spots(SpotKind.UNIVERSITY, (-1.2795, 36.8163)),
        *_spots(SpotKind.NIGHTLIFE, (-1.2650, 36.8040)),
        *_spots(
            SpotKind.HOME,
            (-1.2920, 36.7830),
            (-1.2730, 36.8500),
            (-1.3110, 36.8340),
            (-1.2790, 36.7800),
            (-1.2230, 36.8970, 0.8),
            (-1.3180, 36.8950, 0.8),
            (-1.3200, 36.7050, 0.9),
        ),
    ),
)

PRAGUE = City(
    "Prague",
    "Europe/Prague",
    0.11,
    (
        *_spots(SpotKind.CENTRE, (50.0850, 14.4240), (50.0510, 14.4380)),
        *_spots(SpotKind.STATION, (50.0831, 14.4352), (50.0614, 14.4087)),
        *_spots(SpotKind.AIRPORT, (50.1068, 14.2690)),
        *_spots(SpotKind.UNIVERSITY, (50.1030, 14.3910)),
        *_spots(SpotKind.NIGHTLIFE, (50.0850, 14.4500)),
        *_spots(
            SpotKind.HOME,
            (50.0750, 14.4450, 0.5),
            (50.0700, 14.4030, 0.5),
            (50.1040, 14.4400, 0.4),
            (50.0310, 14.5070, 0.8),
            (50.0470, 14.3220, 0.7),
            (50.1190, 14.4990),
            (50.0070, 14.4100),
        ),
    ),
)

MUMBAI = City(
    "Mumbai",
    "Asia/Kolkata",
    0.11,
    (
        *_spots(SpotKind.CENTRE, (19.0660, 72.8680, 0.5), (18.9340, 72.8345, 0.25)),
        *_spots(SpotKind.STATION, (18.9400, 72.8354), (19.0186, 72.8430)),
        *_spots(SpotKind.AIRPORT, (19.0968, 72.8680)),
        *_spots(SpotKind.UNIVERSITY, (19.1334, 72.9133, 0.4)),
        *_spots(SpotKind.NIGHTLIFE, (19.0600, 72.8350)),
        *_spots(
            SpotKind.HOME,
            (19.1250, 72.8460),
            (19.2300, 72.8570, 0.7),
            (19.0860, 72.9080, 0.5),
            (19.0580, 72.8990, 0.5),
            (19.0130, 72.8290, 0.35),
            (19.1720, 72.9560, 0.5),
            (19.1860, 72.8480),
        ),
    ),
)

TOKYO = City(
    "Tokyo",
    "Asia/Tokyo",
    0.17,
    (
        *_spots(SpotKind.CENTRE, (35.6800, 139.7640), (35.6920, 139.6960)),
        *_spots(SpotKind.STATION, (35.6896, 139.7006), (35.6812, 139.7671), (35.7295, 139.7110)),
        *_spots(SpotKind.AIRPORT, (35.5494, 139.7798)),
        *_spots(SpotKind.UNIVERSITY, (35.7130, 139.7620)),
        *_spots(SpotKind.NIGHTLIFE, (35.6590, 139.7005), (35.6628, 139.7315)),
        *_spots(
            SpotKind.HOME,
            (35.6460, 139.6530, 1.0),
            (35.7070, 139.6640, 0.7),
            (35.6340, 139.7000),
            (35.7360, 139.6520, 0.9),
            (35.6970, 139.8140),
            (35.7490, 139.8050),
            (35.7030, 139.5800, 0.7),
        ),
    ),
)

SYDNEY = City(
    "Sydney",
    "Australia/Sydney",
    0.08,
    (
        *_spots(SpotKind.CENTRE, (-33.8710, 151.2070, 0.3), (-33.8150, 151.0030, 0.5)),
        *_spots(SpotKind.STATION, (-33.8832, 151.2067)),
        *_spots(SpotKind.AIRPORT, (-33.9353, 151.1640)),
        *_spots(SpotKind.UNIVERSITY, (-33.8886, 151.1873)),
        *_spots(SpotKind.NIGHTLIFE, (-33.8970, 151.1790)),
        *_spots(
            SpotKind.HOME,
            (-33.8930, 151.2480),
            (-33.9110, 151.1550),
            (-33.7970, 151.1830),
            (-33.8760, 151.0940),
            (-33.9630, 151.1330, 0.4),
            (-33.7560, 151.2800, 0.35),
        ),
    ),
)

SUVA = City(
    "Suva",
    "Pacific/Fiji",
    0.03,
    (
        *_spots(SpotKind.CENTRE, (-18.1410, 178.4265, 0.15)),
        *_spots(SpotKind.STATION, (-18.1385, 178.4275, 0.08)),
        *_spots(SpotKind.AIRPORT, (-18.0433, 178.5592)),
        *_spots(SpotKind.UNIVERSITY, (-18.1485, 178.4440, 0.15)),
        *_spots(SpotKind.NIGHTLIFE, (-18.1440, 178.4275, 0.1)),
        *_spots(
            SpotKind.HOME,
            (-18.1250, 178.4480, 0.5),
            (-18.1370, 178.4480, 0.3),
            (-18.1050, 178.4500),
            (-18.0800, 178.5000),
            (-18.0330, 178.5330),
        ),
    ),
)

TAVEUNI = City(
    "Taveuni",
    "Pacific/Fiji",
    0.01,
    (
        *_spots(SpotKind.CENTRE, (-16.7900, 180.0, 0.5)),
        *_spots(SpotKind.AIRPORT, (-16.6906, -179.8770, 0.2)),
        *_spots(SpotKind.HOME, (-16.7710, -179.9690, 0.4), (-16.8300, 179.9700, 0.4)),
    ),
)
"""An island that the 180th meridian crosses, for tests of that edge; not among `CITIES`."""

CITIES: tuple[City, ...] = (
    NEW_YORK,
    SAO_PAULO,
    MEXICO_CITY,
    LAGOS,
    NAIROBI,
    PRAGUE,
    MUMBAI,
    TOKYO,
    SYDNEY,
    SUVA,
)
"""The cities of the sample; Suva lies a degree and a half from the antimeridian."""
