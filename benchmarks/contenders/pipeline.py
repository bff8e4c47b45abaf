"""The pipeline: what ``h3-pipeline ingest`` does once the file is in the bucket, in a fresh process.

Settings come from the environment, as for any command; the first argument is the upload's key.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from h3_pipeline.cli.ingest import load
from h3_pipeline.cli.process import collect_rarely, multiply_alone, quieten
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access
from h3_pipeline.storage.bucket import Bucket


def main(keys: Sequence[str]) -> int:
    """Ingest uploads and print the report as JSON; 0 if all of them were loaded."""
    collect_rarely()
    multiply_alone()
    quieten()
    settings = Settings.load()
    with bucket_access(settings) as access:
        report = load(settings, Bucket(access), keys)
    print(json.dumps(asdict(report)))
    return 0 if all(upload.status == "loaded" for upload in report.uploads) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
