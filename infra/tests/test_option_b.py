"""Option B, deployed by the CDK command line into an emulated AWS, looked at with boto3, changed, and torn down."""

from tests.deployed import check_all, check_nothing_is_left, empty, size
from tests.emulator.client import Aws
from tests.synthesis import Assembly, Choice


def test_option_b_is_deployed_changed_and_torn_down(emulator: Aws, assemblies: dict[Choice, Assembly]) -> None:
    cloud, larger = assemblies[Choice.DEV_CLOUD], assemblies[Choice.DEV_CLOUD_LARGER]
    emulator.bootstrap()
    emulator.deploy(cloud.folder)
    check_all(emulator, cloud, {"webserver": 2, "viewer": 1, "daemon": 1, "code": 1})
    endpoints = emulator.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    assert cloud.config.clickhouse.cloud.endpoint_service in {each["ServiceName"] for each in endpoints}
    assert emulator.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert size(emulator, cloud.config.name) == (1, 20)

    emulator.deploy(larger.folder)
    check_all(emulator, larger, {"webserver": 4, "viewer": 1, "daemon": 1, "code": 1})
    assert size(emulator, cloud.config.name) == (2, 40)

    empty(emulator)
    emulator.destroy(larger.folder)
    check_nothing_is_left(emulator, "trips-data-bucket-dev")
