"""What must survive: the bucket with its lifecycle, the queue of its events, the topic of alarms, the log groups."""

from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from h3_infra.accepted import accept, resource
from h3_infra.config import Config
from h3_infra.retention import retention
from h3_infra.stacks.base import DeploymentStack
from h3_infra.stacks.security import SecurityStack
from h3_pipeline.storage.redelivery import DELIVERIES

UPLOADS_TO_GLACIER_DAYS = 30
PROCESSED_DELETED_DAYS = 90
BACKUPS_TO_GLACIER_DAYS = 7
UNFINISHED_UPLOAD_DAYS = 7
OLD_VERSION_DAYS = 30
ACCESS_LOG_DAYS = 365

QUEUE_VISIBILITY = Duration.minutes(5)

APP_LOG_GROUP = "/ecs/h3-clickhouse-app"
CLICKHOUSE_LOG_GROUP = "/clickhouse/server"


@dataclass(frozen=True, slots=True)
class Access:
    """What a role may do with the bucket; patterns of keys."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()


RUN = Access(
    read=("uploads/*", "processed/*", "rejected/*", "exports/*", "backups/*", "compute-logs/*"),
    write=("processed/*", "rejected/*", "exports/*", "backups/*", "compute-logs/*"),
    delete=("processed/*", "rejected/*", "exports/*", "backups/*"),
)
CODE = Access(read=("uploads/*", "processed/*", "exports/*", "backups/*"), write=("compute-logs/*",))
DAEMON = Access(read=("compute-logs/*",))
WEB = Access(read=("compute-logs/*",))
WAREHOUSE = Access(
    read=("processed/*", "exports/*", "backups/*"),
    write=("exports/*", "backups/*"),
    delete=("exports/*", "backups/*"),
)


class StorageStack(DeploymentStack):
    """Bucket, queue, topic and log groups."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        security: SecurityStack,
    ) -> None:
        super().__init__(scope, config, "storage", "bucket, queue, topic, logs", stateful=True)
        self.key = security.key
        self.removal = RemovalPolicy.RETAIN if config.keep_data else RemovalPolicy.DESTROY
        self.access_logs = self._access_logs()
        self.bucket = self._bucket()
        self.queue, self.dead_letters = self._queue()
        self._events()
        self._only_for(security)
        self.topic = self._topic()
        self.app_logs = self._log_group("AppLogs", APP_LOG_GROUP, self.key)
        self.clickhouse_logs = self._log_group("ClickHouseLogs", CLICKHOUSE_LOG_GROUP, self.key)
        self.exec_logs = self._log_group("ExecLogs", f"/ecs/{config.name}-exec", self.key)

    def _access_logs(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,  # load balancers write with no other
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_PREFERRED,
            lifecycle_rules=[s3.LifecycleRule(id="expire", expiration=Duration.days(ACCESS_LOG_DAYS))],
            removal_policy=self.removal,
        )
        accept(
            bucket,
            "it holds the access logs: logging its own access would never end, and no log is ever replaced",
            nag=["S1"],
            checkov=["CKV_AWS_18", "CKV_AWS_21"],
        )
        return bucket

    def _bucket(self) -> s3.Bucket:
        glacier = s3.StorageClass.GLACIER
        return s3.Bucket(
            self,
            "Trips",
            bucket_name=self.config.storage.bucket_name,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix="s3/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="uploads-to-glacier",
                    prefix="uploads/",
                    transitions=[
                        s3.Transition(storage_class=glacier, transition_after=Duration.days(UPLOADS_TO_GLACIER_DAYS))
                    ],
                ),
                s3.LifecycleRule(
                    id="processed-deleted", prefix="processed/", expiration=Duration.days(PROCESSED_DELETED_DAYS)
                ),
                s3.LifecycleRule(
                    id="backups-to-glacier",
                    prefix="backups/",
                    transitions=[
                        s3.Transition(storage_class=glacier, transition_after=Duration.days(BACKUPS_TO_GLACIER_DAYS))
                    ],
                ),
                s3.LifecycleRule(
                    id="unfinished-uploads",
                    abort_incomplete_multipart_upload_after=Duration.days(UNFINISHED_UPLOAD_DAYS),
                ),
                s3.LifecycleRule(
                    id="old-versions",
                    noncurrent_version_expiration=Duration.days(OLD_VERSION_DAYS),
                    expired_object_delete_marker=True,
                ),
            ],
            removal_policy=self.removal,
        )

    def _queue(self) -> tuple[sqs.Queue, sqs.Queue]:
        dead_letters = sqs.Queue(
            self,
            "UploadDeadLetters",
            queue_name=f"{self.config.name}-uploads-dead",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        queue = sqs.Queue(
            self,
            "Uploads",
            queue_name=f"{self.config.name}-uploads",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            visibility_timeout=QUEUE_VISIBILITY,
            retention_period=Duration.days(14),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=DELIVERIES),
        )
        return queue, dead_letters

    def _events(self) -> None:
        queue_policy = self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                sid="EventsOfTheBucket",
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                conditions={
                    "ArnEquals": {"aws:SourceArn": f"arn:{self.partition}:s3:::{self.config.storage.bucket_name}"},
                    "StringEquals": {"aws:SourceAccount": self.account},
                },
            )
        )
        bucket = resource(self.bucket)
        assert isinstance(bucket, s3.CfnBucket)
        # the construct's own way would add a function that writes this property
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event="s3:ObjectCreated:*",
                    queue=self.queue.queue_arn,
                    filter=s3.CfnBucket.NotificationFilterProperty(
                        s3_key=s3.CfnBucket.S3KeyFilterProperty(
                            rules=[s3.CfnBucket.FilterRuleProperty(name="prefix", value="uploads/")]
                        )
                    ),
                )
            ]
        )
        if queue_policy.policy_dependable is not None:
            bucket.node.add_dependency(queue_policy.policy_dependable)

    def _only_for(self, security: SecurityStack) -> None:
        roles = security.roles
        self._grant("RunAccess", roles.run, RUN)
        self._grant("CodeAccess", roles.code, CODE, events=True)
        self._grant("DaemonAccess", roles.daemon, DAEMON)
        self._grant("WebAccess", roles.web, WEB)
        allowed = [role.role_arn for role in roles.tasks]
        self._grant("WarehouseAccess", security.warehouse_role, WAREHOUSE)
        allowed.append(security.warehouse_role.role_arn)
        allowed += self.config.storage.administrator_role_arns
        uploaders = list(self.config.storage.uploader_role_arns)
        for sid, actions, principals in (
            (
                "OnlyTheirRolesReadAndDelete",
                ["s3:GetObject*", "s3:DeleteObject*", "s3:RestoreObject", "s3:ListBucket"],
                allowed,
            ),
            ("OnlyTheirRolesWrite", ["s3:PutObject", "s3:PutObjectAcl", "s3:PutObjectTagging"], allowed + uploaders),
        ):
            self.bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    effect=iam.Effect.DENY,
                    principals=[iam.AnyPrincipal()],
                    actions=actions,
                    resources=[self.bucket.bucket_arn, self.bucket.arn_for_objects("*")],
                    conditions={
                        "ArnNotEquals": {"aws:PrincipalArn": principals},
                        "Bool": {"aws:PrincipalIsAWSService": "false"},
                    },
                )
            )
        if uploaders:
            self.bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="Uploaders",
                    principals=[iam.ArnPrincipal(arn) for arn in uploaders],
                    actions=["s3:PutObject", "s3:AbortMultipartUpload"],
                    resources=[self.bucket.arn_for_objects("uploads/*")],
                )
            )

    def _grant(self, construct_id: str, role: iam.IRole, access: Access, *, events: bool = False) -> None:
        def keys(patterns: tuple[str, ...]) -> list[str]:
            return [self.bucket.arn_for_objects(pattern) for pattern in patterns]

        statements = [
            iam.PolicyStatement(
                sid="List",
                actions=["s3:ListBucket", "s3:GetBucketLocation", "s3:GetBucketVersioning"],
                resources=[self.bucket.bucket_arn],
            ),
            iam.PolicyStatement(
                sid="Read", actions=["s3:GetObject", "s3:GetObjectVersion"], resources=keys(access.read)
            ),
            iam.PolicyStatement(
                sid="Key", actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[self.key.key_arn]
            ),
        ]
        if access.write:
            statements.append(
                iam.PolicyStatement(
                    sid="Write", actions=["s3:PutObject", "s3:AbortMultipartUpload"], resources=keys(access.write)
                )
            )
        if access.delete:
            statements.append(
                iam.PolicyStatement(sid="Delete", actions=["s3:DeleteObject"], resources=keys(access.delete))
            )
        if events:
            statements.append(
                iam.PolicyStatement(
                    sid="Events",
                    actions=[
                        "sqs:ReceiveMessage",
                        "sqs:DeleteMessage",
                        "sqs:ChangeMessageVisibility",
                        "sqs:GetQueueAttributes",
                    ],
                    resources=[self.queue.queue_arn],
                )
            )
        policy = iam.Policy(self, construct_id, roles=[role], statements=statements)
        bucket = self.get_logical_id(resource(self.bucket))
        accept(
            policy,
            "the star stands for the keys below one prefix",
            nag=[
                f"IAM5[Resource::<{bucket}.Arn>/{pattern}]" for pattern in {*access.read, *access.write, *access.delete}
            ],
        )

    def _topic(self) -> sns.Topic:
        topic = sns.Topic(
            self, "Alarms", topic_name=f"{self.config.name}-alarms", master_key=self.key, enforce_ssl=True
        )
        for address in self.config.alarms.emails:
            topic.add_subscription(subscriptions.EmailSubscription(address))
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsBudgetsAndEvents",
                principals=[
                    iam.ServicePrincipal(f"{service}.amazonaws.com") for service in ("cloudwatch", "budgets", "events")
                ],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return topic

    def _log_group(self, construct_id: str, name: str, key: kms.IKey) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            construct_id,
            log_group_name=name,
            encryption_key=key,
            retention=retention(self.config.log_days),
            removal_policy=self.removal,
        )
