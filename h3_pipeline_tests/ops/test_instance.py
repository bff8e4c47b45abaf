"""``infra/dagster`` and the instance of ``--production-like`` say the same, but for where they run."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from h3_pipeline.local import production
from h3_pipeline.task_sizes import FEED_TAG
from h3_pipeline_tests.ops.cluster import INSTANCE, instance_settings

HERE: dict[str, Any] = yaml.safe_load(resources.files(production).joinpath("dagster.yaml").read_text())
AWS = instance_settings()


@pytest.mark.parametrize("section", ["telemetry", "run_retries", "sensors", "schedules", "retention"])
def test_sections_that_are_the_same(section: str) -> None:
    assert HERE[section] == AWS[section]


def test_the_same_parts_do_the_work() -> None:
    assert HERE["run_coordinator"]["class"] == AWS["run_coordinator"]["class"] == "AttributingRunCoordinator"
    assert HERE["concurrency"]["pools"] == AWS["concurrency"]["pools"]
    assert HERE["run_monitoring"].keys() == AWS["run_monitoring"].keys()
    here, aws = (settings["storage"]["postgres"]["postgres_db"] for settings in (HERE, AWS))
    assert {name: here[name] for name in here if name != "params"} == {
        name: aws[name] for name in aws if name != "params"
    }


def test_a_half_done_run_is_repeated_and_not_resumed() -> None:
    """Resuming takes an executor that keeps steps apart; ours runs them in one process."""
    for settings in (HERE, AWS):
        assert settings["run_monitoring"]["max_resume_run_attempts"] == 0


def test_the_limit_of_a_feed_is_on_the_tag_that_sensors_set() -> None:
    for settings in (HERE, AWS):
        (limit,) = settings["concurrency"]["runs"]["tag_concurrency_limits"]
        assert limit["key"] == FEED_TAG
        assert limit["limit"] < settings["concurrency"]["runs"]["max_concurrent_runs"]


def test_no_secret_is_in_a_file() -> None:
    for settings in (HERE, AWS):
        assert settings["storage"]["postgres"]["postgres_db"]["password"] == {"env": "DAGSTER_PG_PASSWORD"}


def test_the_workspace_is_where_the_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_CODE_SERVER_HOST", "code.h3.internal")
    monkeypatch.setenv("DAGSTER_CODE_SERVER_PORT", "4000")
    for path in (INSTANCE / "workspace.yaml", production.write_instance(tmp_path)):
        (origin,) = location_origins_from_yaml_paths([str(path)])
        assert isinstance(origin, GrpcServerCodeLocationOrigin)
        assert (origin.host, origin.port, origin.location_name) == ("code.h3.internal", 4000, "h3_pipeline")
