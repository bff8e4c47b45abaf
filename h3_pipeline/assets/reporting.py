"""Tells Dagster of what a step did for many uploads."""

from collections.abc import Sequence
from uuid import uuid4

from dagster import AssetExecutionContext, AssetMaterialization
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata


def report(context: AssetExecutionContext, materializations: Sequence[AssetMaterialization]) -> None:
    """Tell Dagster of materializations in one go.

    It is what Dagster does for the partitions of an asset that a step yields. `context.log_event` stores each in
    transactions of its own, which for a small upload takes longer than loading it.
    """
    step = context.get_step_execution_context()
    batch = uuid4().hex
    for number, materialization in enumerate(materializations, 1):
        last = number == len(materializations)
        DagsterEvent.asset_materialization(step, materialization, DagsterEventBatchMetadata(batch, is_end=last))
