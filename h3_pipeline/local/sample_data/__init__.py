"""Sample trips that look real: cities of six continents, rush hours, hot spots, and a little dirt.

Everything is invented, and the same arguments give the same bytes.
"""

from h3_pipeline.local.sample_data.ancestral import write_ancestral
from h3_pipeline.local.sample_data.cities import CITIES, NEW_YORK, TAVEUNI, City, Spot, SpotKind
from h3_pipeline.local.sample_data.files import SampleSummary
from h3_pipeline.local.sample_data.nyc import write_nyc_like

__all__ = [
    "CITIES",
    "NEW_YORK",
    "TAVEUNI",
    "City",
    "SampleSummary",
    "Spot",
    "SpotKind",
    "write_ancestral",
    "write_nyc_like",
]
