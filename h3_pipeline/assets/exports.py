"""The exports: one asset for each query."""

from collections.abc import Iterable, Iterator
from datetime import date

from dagster import (
    AllPartitionMapping,
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    Backoff,
    Config,
    DailyPartitionsDefinition,
    Failure,
    MaterializeResult,
    MetadataValue,
    MonthlyPartitionsDefinition,
    RetryPolicy,
    TableColumn,
    TableRecord,
    TableSchema,
    asset,
)
from pydantic import Field

from h3_pipeline.assets.metadata import Metadata, preview
from h3_pipeline.errors import ExportError
from h3_pipeline.exports.binding import bind
from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.picture import markdown
from h3_pipeline.exports.runner import Exported, run_export
from h3_pipeline.exports.values import Partition, PartitionKind
from h3_pipeline.ops.observed import observed_step
from h3_pipeline.resources import PipelineResource

GROUP = "exports"
CHECK = "export_equals_query"
MANIFEST = "manifest"
"""Key of the metadata that names the manifest's object."""


class ExportConfig(Config):
    """How an export runs by hand."""

    parameters: dict[str, str] = Field(
        default_factory=dict,
        description="Values of the query's parameters as text, by name; others have their defaults. A result with "
        "other values than the defaults has a `latest.json` of its own",
    )


def asset_key(query: Query) -> AssetKey:
    """The export's asset."""
    return AssetKey([GROUP, query.name])


def export_assets(queries: Iterable[Query], timezone: str) -> list[AssetsDefinition]:
    """An asset for each query.

    Args:
        queries: The queries.
        timezone: Zone in which a day or month ends, after which it can be exported.
    """
    return [_asset(query, timezone) for query in queries]


def _asset(query: Query, timezone: str) -> AssetsDefinition:
    header = query.header
    key = asset_key(query)

    @asset(
        key=key,
        group_name=GROUP,
        # every day is asked of all uploads
        deps=[AssetDep(AssetKey(table), partition_mapping=AllPartitionMapping()) for table in header.reads],
        partitions_def=partitions(query, timezone),
        description=_description(query),
        kinds={"clickhouse", "s3"},
        check_specs=[
            AssetCheckSpec(
                CHECK,
                asset=key,
                description="Every file in the bucket reads back, row by row, as what the query gave; "
                "and the query, counted again, gives as many rows.",
            )
        ],
        # for the store and the network; a query that is refused is never tried again
        retry_policy=RetryPolicy(max_retries=2, delay=2, backoff=Backoff.EXPONENTIAL),
    )
    @observed_step
    def export(
        context: AssetExecutionContext, config: ExportConfig, pipeline: PipelineResource
    ) -> Iterator[MaterializeResult | AssetCheckResult]:
        settings = pipeline.settings()
        partition = (
            header.partition.containing(date.fromisoformat(context.partition_key))
            if context.has_partition_key
            else None
        )
        try:
            bound = bind(query, config.parameters, partition, settings.h3_rollup_resolutions)
            with pipeline.bucket() as bucket:
                exported = run_export(
                    bound, settings=settings, bucket=bucket, run_id=context.run.run_id, on_stage=context.log.debug
                )
        except ExportError as error:
            raise Failure(str(error), allow_retries=False) from error
        if damaged := exported.damaged:
            yield _check(exported)
            raise Failure(
                f"The {damaged[0].format} file of {query.name} reads back as {damaged[0].found}, not as "
                f"{damaged[0].expected}; nothing was published"
            )
        yield MaterializeResult(asset_key=key, metadata=_metadata(query, exported))
        yield _check(exported)

    return export


def export_events(query: Query, exported: Exported) -> tuple[AssetMaterialization, AssetCheckEvaluation]:
    """An export that was run by hand, as Dagster shows one that a run made."""
    check = _check(exported)
    return (
        AssetMaterialization(asset_key(query), metadata=_metadata(query, exported), partition=exported.place.partition),
        AssetCheckEvaluation(
            asset_key=asset_key(query),
            check_name=CHECK,
            passed=check.passed,
            metadata=check.metadata,
            severity=check.severity,
        ),
    )


def partitions(query: Query, timezone: str) -> DailyPartitionsDefinition | MonthlyPartitionsDefinition | None:
    """The days or months that an export is about."""
    start = query.header.first_partition.isoformat()
    match query.header.partition:
        case PartitionKind.DAILY:
            return DailyPartitionsDefinition(start_date=start, timezone=timezone)
        case PartitionKind.MONTHLY:
            return MonthlyPartitionsDefinition(start_date=start, timezone=timezone)
        case _:
            return None


def partition_key(query: Query, day: date) -> str | None:
    """Key of the partition that holds a day; None where there are none."""
    partition: Partition | None = query.header.partition.containing(day)
    return partition.key if partition else None


def _description(query: Query) -> str:
    header = query.header
    lines = [f"**{header.title}.** {header.description.strip()}"]
    if header.parameters:
        lines.append("\nParameters:")
        lines += [
            f"- `{name}` ({parameter.type}, `{parameter.default!r}`): {parameter.description}"
            for name, parameter in header.parameters.items()
        ]
    if not query.shipped:
        instead = ", instead of the shipped query of this name" if query.replaces_shipped else ""
        lines.append(f"\nFrom `{query.filename}`{instead}.")
    return "\n".join(lines)


def _metadata(query: Query, exported: Exported) -> Metadata:
    manifest = exported.manifest
    metadata: Metadata = {
        "dagster/row_count": manifest.rows,
        "dagster/column_schema": TableSchema(
            columns=[TableColumn(name=column["name"], type=column["type"]) for column in manifest.columns]
        ),
        "bytes": sum(file.bytes for file in manifest.files),
        "files": MetadataValue.table(
            [TableRecord({"format": f.format, "bytes": f.bytes, "object": f.key}) for f in manifest.files]
        ),
        "preview": preview(exported.preview),
        "latest": MetadataValue.path(exported.place.latest_key),
        MANIFEST: MetadataValue.path(exported.place.key(manifest.version, "manifest.json")),
        "parameters": MetadataValue.json({name: _plain(value) for name, value in manifest.parameters.items()}),
        "query": MetadataValue.md(f"```sql\n{query.text}\n```"),
        "uploads": manifest.sources["count"],
        "seconds": manifest.seconds,
    }
    if exported.picture is not None:
        metadata["picture"] = MetadataValue.md(markdown(exported.picture, manifest.title))
    if exported.folder is not None:
        metadata["folder"] = MetadataValue.path(str(exported.folder))
    if not exported.is_latest:
        metadata["superseded"] = "a version that began later is the latest"
    if exported.removed:
        metadata["versions removed"] = len(exported.removed)
    return metadata


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _check(exported: Exported) -> AssetCheckResult:
    rows = exported.manifest.rows
    counted_alike = exported.recounted == rows or not exported.undisturbed
    records = [
        TableRecord({"format": c.format, "written": c.expected, "read back": c.found, "equal": c.equal})
        for c in exported.checks
    ]
    return AssetCheckResult(
        check_name=CHECK,
        asset_key=AssetKey([GROUP, exported.manifest.name]),
        passed=not exported.damaged and counted_alike,
        severity=AssetCheckSeverity.ERROR,
        metadata={
            "rows": rows,
            "rows counted again": exported.recounted,
            "published to meanwhile": not exported.undisturbed,
            "files": MetadataValue.table(records),
        },
    )
