"""The bucket as ClickHouse knows it: one named collection, so that no SQL carries a credential."""

from collections.abc import Mapping
from urllib.parse import quote

from h3_pipeline.clickhouse.embedded import element
from h3_pipeline.sql import literal, mapped
from h3_pipeline.storage.bucket import BucketAccess

NAME = "trips_bucket"

S3_SETTINGS: Mapping[str, int] = {
    # by default an answer of 500 is asked for again for ten minutes and more; so it takes about ten seconds
    "s3_retry_attempts": 6,
}
"""Engine settings for every statement that uses `s3_table`."""


def named_collection_configuration(access: BucketAccess) -> str:
    """The collection as XML for an engine's configuration.

    Without keys, the engine takes the usual AWS chain: on AWS, the task's or the instance's role.
    """
    elements = [element("url", access.url)]
    if access.access_key and access.secret_key:
        elements += [element("access_key_id", access.access_key), element("secret_access_key", access.secret_key)]
    else:
        elements.append(element("use_environment_credentials", "1"))
    return f"<named_collections><{NAME}>{''.join(elements)}</{NAME}></named_collections>"


def s3_table(*keys: str, csv_format: str, structure: str | None = None, compression: str = "auto") -> str:
    """The ``s3()`` table function on an object of the bucket, or on several.

    Args:
        keys: Whole object keys; `prefixes.names_a_pattern` must not hold for any, nor may one of several have a comma.
        csv_format: ClickHouse input or output format.
        structure: Columns and types; None lets the engine find them.
        compression: A ClickHouse compression method; ``auto`` goes by the key's ending.
    """
    names = ",".join(quote(key, safe="/") for key in keys)
    arguments = [
        f"filename = {literal(names if len(keys) == 1 else f'{{{names}}}')}",
        f"format = {literal(csv_format)}",
        f"compression_method = {literal(compression)}",
    ]
    if structure is not None:
        arguments.append(f"structure = {literal(structure)}")
    return f"s3({NAME}, {', '.join(arguments)})"


def s3_targets(keys: Mapping[int, str], number: str, *, csv_format: str, compression: str) -> str:
    """What to insert into where each row goes to one of several objects; each is written whole or not at all.

    Args:
        keys: Whole object keys, by number; `prefixes.names_a_pattern` must not hold for any.
        number: The column that tells a row's number.
        csv_format: ClickHouse output format.
        compression: A ClickHouse compression method.
    """
    anywhere = [
        "filename = '{_partition_id}'",
        f"format = {literal(csv_format)}",
        f"compression_method = {literal(compression)}",
    ]
    return f"s3({NAME}, {', '.join(anywhere)}) PARTITION BY {mapped(number, keys, otherwise='')}"
