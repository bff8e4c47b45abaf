"""What a deployment may choose: one YAML file per environment in `infra/config/`, described and validated here."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

FOLDER = Path(__file__).parent.parent / "config"
CERTIFICATES = Path(__file__).parent.parent / "certificates"

FARGATE_MEMORY_GIB = {1: range(2, 9), 2: range(4, 9), 4: range(8, 9)}
"""Legal memory sizes by vCPU, as far as 2–8 GiB goes: Fargate refuses every other pair."""

Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]


class ConfigError(Exception):
    """A setting is missing or unusable; the message names file, setting and reason."""


class ClickHouseOption(StrEnum):
    """Who runs ClickHouse."""

    EC2 = "A"
    """A cluster of this deployment's own, on EC2."""
    CLOUD = "B"
    """ClickHouse Cloud, reached by a private endpoint."""


class Rotation(StrEnum):
    """How often a password is changed, always on a Sunday night (UTC)."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"

    def at(self, hour: int) -> str:
        """The schedule in Secrets Manager's words."""
        sunday = "SUN" if self is Rotation.WEEKLY else "SUN#1"
        return f"cron(0 {hour} ? * {sunday} *)"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FargateSize(_Section):
    """CPU and memory of a task."""

    vcpu: Literal[1, 2, 4] = Field(1, description="vCPUs")
    memory_gib: int = Field(2, ge=2, le=8, description="Memory in GiB")

    @model_validator(mode="after")
    def _is_legal(self) -> Self:
        legal = FARGATE_MEMORY_GIB[self.vcpu]
        if self.memory_gib not in legal:
            raise ValueError(f"Fargate gives {self.vcpu} vCPU {legal[0]}–{legal[-1]} GiB here, not {self.memory_gib}")
        return self

    @property
    def cpu_units(self) -> int:
        """CPU as ECS writes it: 1024 a vCPU."""
        return self.vcpu * 1024

    @property
    def memory_mib(self) -> int:
        """Memory as ECS writes it, in MiB."""
        return self.memory_gib * 1024


class NetworkConfig(_Section):
    """The VPC."""

    cidr: str = Field("10.40.0.0/16", pattern=r"^\d+\.\d+\.\d+\.\d+/(1[6-9]|2[0-2])$", description="Address range")
    availability_zones: tuple[str, ...] = Field(min_length=2, max_length=3, description="Zones, by their letters")
    endpoint_zones: int = Field(3, ge=1, le=3, description="Zones that get interface endpoints; each costs by the hour")
    nat_gateways: int = Field(
        1,
        ge=0,
        le=3,
        description="Ways out of the private subnets, for ClickHouse's packages and the load balancer's public keys; "
        "0 leaves the endpoints alone",
    )

    @field_validator("availability_zones")
    @classmethod
    def _are_letters(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(zones)) != len(zones) or any(not re.fullmatch(r"[a-z]", zone) for zone in zones):
            raise ValueError(f"different letters are wanted, such as [a, b, c], not {list(zones)}")
        return zones


class OidcProvider(_Section):
    """An OpenID Connect provider that the load balancer signs people in with."""

    issuer: str = Field(pattern=r"^https://")
    authorization_endpoint: str = Field(pattern=r"^https://")
    token_endpoint: str = Field(pattern=r"^https://")
    user_info_endpoint: str = Field(pattern=r"^https://")
    operators_client_id: str = Field(min_length=1, description="Client whose users may change things")
    viewers_client_id: str = Field(min_length=1, description="Client whose users may only look")
    secret_name: str = Field(
        description="Secret, made beforehand, with the JSON keys `operators` and `viewers`: the two clients' secrets"
    )


class WebConfig(_Section):
    """The Dagster UI and the load balancer before it."""

    domain_name: str = Field(pattern=r"^[a-z0-9.-]+\.[a-z]{2,}$", description="Name of the UI")
    viewers_domain_name: str = Field(pattern=r"^[a-z0-9.-]+\.[a-z]{2,}$", description="Name of the read-only UI")
    hosted_zone_id: str = Field(pattern=r"^Z[A-Z0-9]+$", description="Public Route 53 zone of both names")
    hosted_zone_name: str = Field(pattern=r"^[a-z0-9.-]+\.[a-z]{2,}$")
    certificate_arn: str = Field(pattern=r"^arn:aws[a-z-]*:acm:", description="ACM certificate for both names")
    internet_facing: bool = Field(
        True, description="False: only reachable from inside the VPC and what is peered with it"
    )
    sign_in: OidcProvider | None = Field(None, description="Unset: two Cognito user pools of this deployment's own")
    size: FargateSize = FargateSize()
    desired: int = Field(2, ge=2, le=10, description="Web servers at the start")
    minimum: int = Field(2, ge=2, description="Fewest web servers")
    maximum: int = Field(20, le=20, description="Most web servers")
    cpu_target_percent: Literal[70] = 70
    memory_target_percent: Literal[80] = 80
    scale_out_cooldown_seconds: Literal[60] = 60
    scale_in_cooldown_seconds: Literal[300] = 300
    requests_per_five_minutes: int = Field(
        3000, ge=100, description="Requests of one address in five minutes before the firewall blocks it"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.minimum <= self.desired <= self.maximum:
            raise ValueError(f"minimum {self.minimum} ≤ desired {self.desired} ≤ maximum {self.maximum} does not hold")
        for name in (self.domain_name, self.viewers_domain_name):
            if not name.endswith(f".{self.hosted_zone_name}"):
                raise ValueError(f"{name} is not in the zone {self.hosted_zone_name}")
        if self.domain_name == self.viewers_domain_name:
            raise ValueError("the read-only UI needs a name of its own")
        return self


class PipelineConfig(_Section):
    """What Dagster runs."""

    daemon: FargateSize = FargateSize()
    code_server: FargateSize = FargateSize(vcpu=1, memory_gib=4)
    run: FargateSize = Field(
        FargateSize(vcpu=2, memory_gib=4), description="A run's task, unless the job's tags say otherwise"
    )
    viewers_desired: int = Field(1, ge=1, le=10, description="Read-only web servers")


class ClickHouseServers(_Section):
    """Option A: the cluster on EC2."""

    ami_id: str = Field(pattern=r"^ami-[0-9a-f]{8,17}$", description="Pinned image: Amazon Linux 2023, x86-64")
    instance_type: str = Field("r6i.2xlarge", description="Server size: r6i.2xlarge or larger")
    shards: int = Field(1, ge=1, le=20)
    replicas: int = Field(3, ge=2, le=3, description="Copies of every row, each in a zone of its own")
    sharding: Literal["upload"] = Field(
        "upload", description="What decides a row's shard, where there are several: the hash of its upload's name"
    )
    writer: int = Field(
        1, ge=1, description="Number of the server that publishers speak to; another one while that one is lost"
    )
    certificate_authority: str | None = Field(
        None,
        description="PEM file in infra/certificates/ with the authority of the servers' certificate, the only one that "
        "tasks then take; unset: any public one",
    )
    volume_tib: int = Field(1, ge=1, le=5, description="Data volume of each server, TiB of gp3")
    volume_iops: int = Field(3000, ge=3000, le=10_000)
    volume_throughput: int = Field(250, ge=125, le=1000, description="MiB/s")
    packages_url: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9.-]+/.*)?$",
        description="S3 prefix with ClickHouse's RPMs; unset takes them from ClickHouse's repository, by a NAT gateway",
    )
    keepers_on_servers: bool = Field(False, description="True: Keeper runs on the servers, no hosts of its own")
    keeper_instance_type: str = Field("t3.medium", description="Size of the three Keeper hosts")

    @field_validator("instance_type")
    @classmethod
    def _is_large_enough(cls, name: str) -> str:
        match = re.fullmatch(r"r[6-9]i[a-z]*\.(\d+)xlarge", name)
        if not match or int(match[1]) < 2:
            raise ValueError(f"r6i.2xlarge or larger of the same kind (x86-64, much memory) is wanted, not {name}")
        return name

    @field_validator("certificate_authority")
    @classmethod
    def _is_a_certificate(cls, name: str | None) -> str | None:
        if name is not None:
            file = CERTIFICATES / name
            if not file.is_file():
                raise ValueError(f"there is no {name} in {CERTIFICATES.parent.name}/{CERTIFICATES.name}/")
            if "-----BEGIN CERTIFICATE-----" not in file.read_text():
                raise ValueError(f"{name} holds no certificate in PEM format")
        return name

    @model_validator(mode="after")
    def _is_enough(self) -> Self:
        if self.shards * self.replicas < 3:
            raise ValueError(f"{self.shards} × {self.replicas} servers are fewer than 3")
        if self.volume_throughput > self.volume_iops / 4:
            raise ValueError("gp3 gives at most 0.25 MiB/s per IOPS: more IOPS, or less throughput")
        if self.writer > self.replicas:
            raise ValueError(f"writer {self.writer} is not among the {self.replicas} replicas of the first shard")
        return self

    @property
    def authority(self) -> str | None:
        """The authority's certificate, in PEM."""
        return (CERTIFICATES / self.certificate_authority).read_text() if self.certificate_authority else None

    @property
    def nodes(self) -> int:
        """Number of servers."""
        return self.shards * self.replicas


class ClickHouseCloud(_Section):
    """Option B: a service of ClickHouse Cloud."""

    endpoint_service: str = Field(
        pattern=r"^com\.amazonaws\.vpce\.[a-z0-9-]+\.vpce-svc-[0-9a-f]+$",
        description="The region's endpoint service name, shown by the service under Settings, Private endpoint",
    )
    private_zone: str = Field(
        pattern=r"^[a-z0-9-]+\.vpce\.aws\.clickhouse\.cloud$",
        description="Zone of private names, such as REGION.vpce.aws.clickhouse.cloud",
    )
    service_name: str = Field(pattern=r"^[a-z0-9-]+$", description="First part of the service's private DNS name")
    service_role_arn: str = Field(
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/",
        description="The service's own role, shown under Settings: it may assume the role that uses the bucket",
    )

    @property
    def host(self) -> str:
        """The name that tasks connect to."""
        return f"{self.service_name}.{self.private_zone}"


class ClickHouseConfig(_Section):
    """The warehouse."""

    option: ClickHouseOption = Field(ClickHouseOption.EC2, description="A: a cluster on EC2. B: ClickHouse Cloud")
    database: str = Field("h3_pipeline", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    rotation: Rotation = Field(Rotation.MONTHLY, description="How often passwords are changed")
    servers: ClickHouseServers | None = None
    cloud: ClickHouseCloud | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.option is ClickHouseOption.EC2 and self.servers is None:
            raise ValueError("option A needs the section `servers`")
        if self.option is ClickHouseOption.CLOUD and self.cloud is None:
            raise ValueError("option B needs the section `cloud`")
        return self


class DatabaseConfig(_Section):
    """PostgreSQL, where Dagster keeps runs and events."""

    instance_class: str = Field("t4g.medium", pattern=r"^[a-z0-9]+\.[a-z0-9]+$")
    storage_gib: int = Field(50, ge=20, le=1000)
    multi_az: bool = Field(True, description="A standby in another zone")
    backup_days: int = Field(14, ge=1, le=35)


class StorageConfig(_Section):
    """The bucket."""

    bucket_name: str = Field("trips-data-bucket", pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")
    uploader_role_arns: tuple[str, ...] = Field(
        (), description="Roles besides the tasks' that may put objects under uploads/, and nothing else"
    )
    administrator_role_arns: tuple[str, ...] = Field(
        (), description="Roles that the bucket does not shut out: for a person's hands in an emergency"
    )


class AlarmConfig(_Section):
    """Whom to tell, and from when on."""

    emails: tuple[Email, ...] = Field((), description="Addresses that subscribe to the alarm topic")
    cpu_percent: int = Field(85, ge=71, le=100)
    memory_percent: int = Field(90, ge=81, le=100)
    error_percent: float = Field(5, gt=0, le=100, description="Share of requests that are answered 5xx")
    latency_seconds: float = Field(5, gt=0, description="99th percentile of the load balancer's answers")
    disk_free_percent: Literal[20] = 20
    backup_age_hours: int = Field(30, ge=25, description="Age of the newest good backup")
    replication_lag_seconds: int = Field(300, ge=10)
    monthly_budget_usd: int = Field(3000, ge=10)


class Config(_Section):
    """One deployment."""

    environment: str = Field(pattern=r"^[a-z][a-z0-9]{1,11}$", description="Short name; part of every resource's name")
    account: str = Field(pattern=r"^\d{12}$", description="AWS account")
    region: str = Field("us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    keep_data: bool = Field(True, description="False: tearing down deletes bucket, database and volumes too")
    log_days: Literal[7, 14, 30, 60, 90, 180, 365] = 90
    tags: dict[str, str] = Field(
        default_factory=dict, description="Tags of every resource, besides project and environment"
    )
    network: NetworkConfig
    web: WebConfig
    pipeline: PipelineConfig = PipelineConfig()
    clickhouse: ClickHouseConfig
    database: DatabaseConfig = DatabaseConfig()
    storage: StorageConfig = StorageConfig()
    alarms: AlarmConfig = AlarmConfig()

    @model_validator(mode="after")
    def _replicas_have_zones(self) -> Self:
        zones, servers = len(self.network.availability_zones), self.clickhouse.servers
        if servers and self.clickhouse.option is ClickHouseOption.EC2 and zones < 3:
            raise ValueError(f"network.availability_zones: option A needs three zones for its Keepers, not {zones}")
        if self.network.endpoint_zones > zones:
            raise ValueError(f"network.endpoint_zones: {self.network.endpoint_zones} is more than the {zones} zones")
        return self

    @property
    def name(self) -> str:
        """Prefix of stacks' and resources' names."""
        return f"h3-{self.environment}"

    @property
    def zones(self) -> list[str]:
        """Full names of the availability zones."""
        return [self.region + letter for letter in self.network.availability_zones]

    @classmethod
    def load(cls, environment: str, folder: Path = FOLDER) -> Self:
        """Read an environment's YAML file.

        Raises:
            ConfigError: There is no such file, or a setting in it is missing or unusable.
        """
        path = folder / f"{environment}.yaml"
        try:
            settings = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
            raise ConfigError(f"There is no {path.name} in {folder.name}/ (there are: {known}); copy one") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
        return cls.parse(settings, path.name)

    @classmethod
    def parse(cls, settings: Any, source: str) -> Self:
        """Validate settings that were read from `source`.

        Raises:
            ConfigError: A setting is missing or unusable.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            found = error.errors()[0]
            where = ".".join(str(part) for part in found["loc"])
            reason = found["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{source}: {where}: {reason}" if where else f"{source}: {reason}") from None
