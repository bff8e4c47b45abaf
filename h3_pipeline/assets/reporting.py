"""Tells Dagster of what was done for many uploads.

Dagster's public ways are made for one partition: each event in transactions of its own, which for a small
upload takes longer than loading it, and for each partition's metadata a list of all the partitions there are.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from dagster import AssetExecutionContext, AssetKey, AssetMaterialization, DagsterInstance
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, DagsterEventType, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID


def report(context: AssetExecutionContext, materializations: Iterable[AssetMaterialization]) -> None:
    """Tell Dagster of a step's materializations in one go, as it does for the partitions of a yielded asset."""
    step = context.get_step_execution_context()
    for materialization, batch in _in_batches(materializations):
        DagsterEvent.asset_materialization(step, materialization, batch)


def report_without_run(instance: DagsterInstance, materializations: Iterable[AssetMaterialization]) -> None:
    """Tell Dagster of materializations that belong to no run, in one go."""
    for materialization, batch in _in_batches(materializations):
        event = DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            event_specific_data=StepMaterializationData(materialization),
            job_name=RUNLESS_JOB_NAME,
        )
        instance.report_dagster_event(event, RUNLESS_RUN_ID, batch_metadata=batch)


def describe_partitions(context: AssetExecutionContext, asset: str, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Add metadata to the materializations of an asset that the step is to yield.

    Args:
        context: The step's.
        asset: The asset.
        metadata: By partition; all of them are in the step's range.
    """
    step = context.get_step_execution_context()
    for partition, of_partition in metadata.items():
        step._metadata_accumulator = step._metadata_accumulator.with_additional_asset_metadata(
            AssetKey(asset), partition, of_partition
        )


def _in_batches(
    materializations: Iterable[AssetMaterialization],
) -> Iterator[tuple[AssetMaterialization, DagsterEventBatchMetadata]]:
    """A batch for each asset: of a batch, Dagster's storages take the last event to be the asset's newest."""
    by_asset: dict[AssetKey, list[AssetMaterialization]] = {}
    for materialization in materializations:
        by_asset.setdefault(materialization.asset_key, []).append(materialization)
    for of_asset in by_asset.values():
        batch = uuid4().hex
        for number, materialization in enumerate(of_asset, 1):
            yield materialization, DagsterEventBatchMetadata(batch, is_end=number == len(of_asset))
