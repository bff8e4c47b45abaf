"""Takes uploads out of the warehouse, as a Dagster job and for the command line."""

from dagster import Config, OpExecutionContext, in_process_executor, job, op
from pydantic import Field

from h3_pipeline.assets.warehouse import POOL
from h3_pipeline.ops.observed import observed_step
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage import prefixes


class RetractConfig(Config):
    """Which uploads leave the tables."""

    uploads: list[str] = Field(description="Keys below uploads/, as `h3-pipeline status` lists them")


@op(pool=POOL, description="Takes the rows of uploads out of `trips` and every hourly table; the objects stay.")
@observed_step
def retract(context: OpExecutionContext, config: RetractConfig, pipeline: PipelineResource) -> dict[str, int]:
    """Retract uploads; returns the rows that left ``trips``, by upload."""
    taken: dict[str, int] = {}
    keys = [key.removeprefix(prefixes.UPLOADS) for key in config.uploads]
    with pipeline.bucket() as bucket:
        for shard, uploads in pipeline.shards().group(keys).items():
            with pipeline.warehouse(bucket, shard) as warehouse:
                for upload in uploads:
                    taken[upload] = warehouse.retract(upload, run_id=context.run_id)
                    context.log.info("%s: %s rows taken out", upload, f"{taken[upload]:,}")
    context.add_output_metadata({"rows taken out": sum(taken.values()), "uploads": len(taken)})
    return taken


@job(
    executor_def=in_process_executor,
    description="Take uploads out of the tables. It is remembered: the sensor does not load that content again.",
)
def retract_uploads() -> None:
    """Retract uploads."""
    retract()
