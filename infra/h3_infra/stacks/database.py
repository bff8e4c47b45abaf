"""PostgreSQL, where Dagster keeps runs, events and schedules."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from h3_infra import ports
from h3_infra.accepted import accept
from h3_infra.config import Config
from h3_infra.stacks.base import DeploymentStack
from h3_infra.stacks.network import NetworkStack
from h3_infra.stacks.security import SecurityStack

DATABASE = "dagster"
ENGINE_VERSION = "17.6"
FAMILY = "postgres17"
MONITORING_SECONDS = 60


class DatabaseStack(DeploymentStack):
    """One instance, with a standby where the configuration says so; RDS keeps its password, and changes it every week.

    CloudFormation cannot change that schedule: its handler wants a function, and RDS has its own.
    """

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        network: NetworkStack,
        security: SecurityStack,
    ) -> None:
        super().__init__(scope, config, "database", "PostgreSQL of Dagster", stateful=True)
        database = config.database
        subnets = rds.CfnDBSubnetGroup(
            self,
            "Subnets",
            db_subnet_group_name=config.name,
            db_subnet_group_description="Subnets without a way out",
            subnet_ids=network.vpc.select_subnets(subnet_group_name="Database").subnet_ids,
        )
        parameters = rds.CfnDBParameterGroup(
            self,
            "Parameters",
            family=FAMILY,
            description="TLS only; slow statements are logged",
            parameters={"rds.force_ssl": "1", "log_min_duration_statement": "1000", "log_connections": "1"},
        )
        monitoring = iam.Role(
            self,
            "Monitoring",
            assumed_by=iam.ServicePrincipal("monitoring.rds.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonRDSEnhancedMonitoringRole")
            ],
        )
        accept(
            monitoring,
            "RDS's own policy for its own monitoring",
            nag=["IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]"],
        )
        self.instance = rds.CfnDBInstance(
            self,
            "Postgres",
            db_instance_identifier=f"{config.name}-dagster",
            engine="postgres",
            engine_version=ENGINE_VERSION,
            db_instance_class=f"db.{database.instance_class}",
            db_name=DATABASE,
            port=str(ports.POSTGRES),
            master_username=DATABASE,
            manage_master_user_password=True,
            master_user_secret=rds.CfnDBInstance.MasterUserSecretProperty(kms_key_id=security.key.key_arn),
            allocated_storage=str(database.storage_gib),
            max_allocated_storage=database.storage_gib * 4,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=security.key.key_arn,
            multi_az=database.multi_az,
            db_subnet_group_name=subnets.ref,
            db_parameter_group_name=parameters.ref,
            vpc_security_groups=[security.groups.database.security_group_id],
            publicly_accessible=False,
            backup_retention_period=database.backup_days,
            preferred_backup_window="03:00-03:30",
            preferred_maintenance_window="sun:05:00-sun:05:30",
            copy_tags_to_snapshot=True,
            deletion_protection=config.keep_data,
            delete_automated_backups=not config.keep_data,
            auto_minor_version_upgrade=True,
            enable_iam_database_authentication=False,
            enable_performance_insights=True,
            performance_insights_kms_key_id=security.key.key_arn,
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=monitoring.role_arn,
            enable_cloudwatch_logs_exports=["postgresql", "upgrade"],
        )
        self.instance.apply_removal_policy(RemovalPolicy.SNAPSHOT if config.keep_data else RemovalPolicy.DESTROY)
        accept(
            self.instance,
            "Dagster signs in with the password that RDS rotates, having no driver for IAM's tokens; a port that is "
            "not the default one hides nothing",
            nag=["RDS11"],
            checkov=["CKV_AWS_161"],
        )
        if not config.keep_data:
            accept(
                self.instance,
                "a deployment to try things in is torn down whole",
                nag=["RDS3", "RDS10"],
                checkov=["CKV_AWS_157", "CKV_AWS_293"],
            )
        self.host = self.instance.attr_endpoint_address
        self.secret = secretsmanager.Secret.from_secret_complete_arn(
            self, "Secret", self.instance.attr_master_user_secret_secret_arn
        )
