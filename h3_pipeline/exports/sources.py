"""What the tables held when they were asked: the uploads, and a digest of everything published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from h3_pipeline.warehouse import history, publications
from h3_pipeline.warehouse.read_only import Reader

LISTED_UPLOADS = 1000
"""A manifest names at most so many uploads; the digest covers all."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The state of the tables.

    Attributes:
        uploads: ETag of each upload that is loaded, by key; at most `LISTED_UPLOADS`.
        count: How many uploads are loaded.
        digest: Differs whenever anything was published, withdrawn or begun.
    """

    uploads: Mapping[str, str]
    count: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"digest": self.digest, "count": self.count, "uploads": dict(self.uploads)}


def sources(reader: Reader) -> Sources:
    """Look at the tables' state."""
    loaded = reader.rows(
        f"SELECT upload, upload_etag FROM (SELECT * FROM {history.TABLE} WHERE event != 'refused' "
        "ORDER BY upload, at DESC LIMIT 1 BY upload) WHERE event = 'loaded' ORDER BY upload"
    )
    ((digest,),) = reader.rows(
        "SELECT lower(hex(sum(cityHash64(upload, table_name, partition_id, toString(state), rows, version)))) "
        f"FROM {publications.TABLE} FINAL"
    )
    return Sources({str(upload): str(etag) for upload, etag in loaded[:LISTED_UPLOADS]}, len(loaded), str(digest))
