"""Option A, deployed by the CDK command line into an emulated AWS, looked at with boto3, used, changed, torn down."""

from pathlib import Path

import pytest

from tests.deployed import check_all, check_nothing_is_left, empty, size, writer
from tests.emulator.client import Aws
from tests.pipeline import lacking, run_once
from tests.synthesis import Assembly, Choice


def test_option_a_is_deployed_runs_the_pipeline_is_changed_and_torn_down(
    emulator: Aws, assemblies: dict[Choice, Assembly], tmp_path: Path
) -> None:
    first, larger = assemblies[Choice.DEV], assemblies[Choice.LARGER]
    emulator.bootstrap()

    emulator.deploy(first.folder)
    check_all(emulator, first, {"webserver": 2, "viewer": 1, "daemon": 1, "code": 1})
    groups = emulator.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [(each["MinSize"], each["MaxSize"], len(each["Instances"])) for each in groups] == [(1, 1, 1)] * 3
    assert size(emulator, first.config.name) == (1, 20)
    assert writer(emulator, first.config.name)[0] == "ch-1.h3-dev.internal"
    without = lacking()
    if without is None:
        run_once(emulator, first.config.name, tmp_path / "pipeline")

    emulator.deploy(larger.folder)
    check_all(emulator, larger, {"webserver": 4, "viewer": 1, "daemon": 1, "code": 1})
    assert size(emulator, first.config.name) == (2, 40)
    assert writer(emulator, first.config.name)[0] == "ch-2.h3-dev.internal"

    empty(emulator)
    emulator.destroy(larger.folder)
    check_nothing_is_left(emulator, "trips-data-bucket-dev")
    if without is not None:
        pytest.skip(f"all but the pipeline's run was tested: {without}")
