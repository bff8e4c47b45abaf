"""CloudFormation types whose API moto emulates, but not as resources of a stack."""

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import boto3
import moto.cloudformation.models as cloudformation
import moto.cloudformation.parsing as parsing
import moto.ec2.models.route_tables as route_tables
import moto.ec2.models.vpcs as vpc_endpoints
import moto.kms.models as key_management
from botocore.exceptions import ClientError
from moto.core.common_models import CloudFormationModel
from moto.ec2.models import ec2_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.emulator.names import ACCOUNT, REGION

Properties = dict[str, Any]
SHIMS: dict[str, type["Shim"]] = {}
endpoint: str = ""


def client(service: str) -> Any:
    """A client of this emulator."""
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


class Shim(CloudFormationModel):
    """One resource of a stack; subclasses say what CloudFormation would call."""

    type: ClassVar[str]

    def __init_subclass__(cls) -> None:
        SHIMS[cls.type] = cls
        cls.cloudformation_type = staticmethod(lambda: cls.type)  # type: ignore[method-assign]

    def __init__(self, name: str) -> None:
        self.name = self.physical = name
        self.attributes: dict[str, str] = {}

    def create(self, properties: Properties) -> None:
        raise NotImplementedError

    def update(self, properties: Properties) -> None:
        """Most APIs overwrite what is there."""
        self.create(properties)

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        """Most tests look no further."""

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    @property
    def physical_resource_id(self) -> str:
        return self.physical

    @property
    def arn(self) -> str:
        return self.attributes.get("Arn", self.physical)

    def get_cfn_attribute(self, attribute: str) -> str:
        return self.attributes[attribute]

    def is_created(self) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs):
        shim = cls(resource_name)
        shim.create(plain(cloudformation_json.get("Properties") or {}))
        return shim

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
    ):
        original_resource.update(plain(cloudformation_json.get("Properties") or {}))
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name) -> None:
        try:
            cls.remove(resource_name, cloudformation_json.get("Properties") or {})
        except ClientError as error:
            # it went with what it belonged to
            if "NotFound" not in error.response["Error"]["Code"]:
                raise


def plain(value: Any) -> Any:
    """Resources of moto's in place of references, as what the APIs take."""
    if isinstance(value, Mapping):
        # tags are written in as many ways as there are APIs, and no test looks at them here
        return {key: plain(part) for key, part in value.items() if part is not None and key != "Tags"}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value


def lower_first(value: Any) -> Any:
    """Keys as ECS spells them."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lower_first(part) for key, part in value.items()}
    return [lower_first(part) for part in value] if isinstance(value, list) else value


def numbers(value: Properties, *keys: str) -> Properties:
    """CloudFormation takes numbers as texts; the APIs do not."""
    return {key: int(part) if key in keys else part for key, part in value.items()}


class Secret(Shim):
    type = "AWS::SecretsManager::Secret"

    def create(self, properties: Properties) -> None:
        generate = properties["GenerateSecretString"]
        content = json.loads(generate.get("SecretStringTemplate") or "{}")
        content[generate["GenerateStringKey"]] = uuid.uuid4().hex
        name = properties.get("Name") or self.name
        created = client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(content))
        self.physical = created["ARN"]

    def update(self, properties: Properties) -> None:
        """The value stays."""

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("secretsmanager").delete_secret(SecretId=physical, ForceDeleteWithoutRecovery=True)


class RotationSchedule(Shim):
    type = "AWS::SecretsManager::RotationSchedule"

    def create(self, properties: Properties) -> None:
        self.physical = properties["SecretId"]
        rules = numbers(properties["RotationRules"], "AutomaticallyAfterDays")
        client("secretsmanager").rotate_secret(
            SecretId=self.physical,
            RotationLambdaARN=properties["RotationLambdaARN"],
            RotationRules=rules,
            RotateImmediately=False,
        )
        # moto notes these only when it rotates at once, by a function that does not run here
        secret = secretsmanager_backends[ACCOUNT][REGION].secrets[self.physical]
        secret.rotation_enabled = True
        secret.rotation_lambda_arn = properties["RotationLambdaARN"]


class BucketPolicy(Shim):
    type = "AWS::S3::BucketPolicy"

    def create(self, properties: Properties) -> None:
        """Kept, but not enforced: moto knows no conditions, so that a Deny with one would shut everybody out."""
        client("s3").put_bucket_tagging(
            Bucket=properties["Bucket"], Tagging={"TagSet": [{"Key": "policy", "Value": "on paper"}]}
        )


class Bucket(Shim):
    type = "AWS::S3::Bucket"

    def create(self, properties: Properties) -> None:
        s3 = client("s3")
        self.physical = name = properties.get("BucketName") or self.name.lower()[:63]
        s3.create_bucket(Bucket=name)
        self.attributes |= {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{REGION}.amazonaws.com",
        }
        self.update(properties)

    def update(self, properties: Properties) -> None:
        s3, name = client("s3"), self.physical
        if "VersioningConfiguration" in properties:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=properties["VersioningConfiguration"])
        block = {key: str(on).lower() == "true" for key, on in properties["PublicAccessBlockConfiguration"].items()}
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
        rules = [self._rule(rule) for rule in (properties.get("LifecycleConfiguration") or {}).get("Rules", [])]
        if rules:
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        events = properties.get("NotificationConfiguration")
        if events:
            s3.put_bucket_notification_configuration(
                Bucket=name,
                NotificationConfiguration={
                    "QueueConfigurations": [self._queue(queue) for queue in events["QueueConfigurations"]]
                },
                SkipDestinationValidation=True,
            )

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("s3").delete_bucket(Bucket=physical)

    @staticmethod
    def _rule(rule: Properties) -> Properties:
        made: Properties = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
        if "Transitions" in rule:
            made["Transitions"] = [
                {"StorageClass": each["StorageClass"], "Days": int(each["TransitionInDays"])}
                for each in rule["Transitions"]
            ]
        if "ExpirationInDays" in rule:
            made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
        if "NoncurrentVersionExpiration" in rule:
            made["NoncurrentVersionExpiration"] = {
                "NoncurrentDays": int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
            }
        if "AbortIncompleteMultipartUpload" in rule:
            days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
            made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
        return made

    @staticmethod
    def _queue(queue: Properties) -> Properties:
        rules = [{"Name": rule["Name"], "Value": rule["Value"]} for rule in queue["Filter"]["S3Key"]["Rules"]]
        return {"QueueArn": queue["Queue"], "Events": [queue["Event"]], "Filter": {"Key": {"FilterRules": rules}}}


class QueuePolicy(Shim):
    type = "AWS::SQS::QueuePolicy"

    def create(self, properties: Properties) -> None:
        for url in properties["Queues"]:
            policy = json.dumps(properties["PolicyDocument"])
            client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


class TopicPolicy(Shim):
    type = "AWS::SNS::TopicPolicy"

    def create(self, properties: Properties) -> None:
        for arn in properties["Topics"]:
            policy = json.dumps(properties["PolicyDocument"])
            client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)


class Subscription(Shim):
    type = "AWS::SNS::Subscription"

    def create(self, properties: Properties) -> None:
        self.physical = client("sns").subscribe(ReturnSubscriptionArn=True, **properties)["SubscriptionArn"]


class Alarm(Shim):
    type = "AWS::CloudWatch::Alarm"

    def create(self, properties: Properties) -> None:
        properties = numbers(properties, "EvaluationPeriods", "Period", "DatapointsToAlarm")
        properties["Threshold"] = float(properties["Threshold"])
        for query in properties.get("Metrics", []):
            query["ReturnData"] = str(query.get("ReturnData", True)).lower() == "true"
            if "MetricStat" in query:
                query["MetricStat"] = numbers(query["MetricStat"], "Period")
        self.physical = properties["AlarmName"]
        properties.pop("Tags", None)
        client("cloudwatch").put_metric_alarm(**properties)
        self.attributes["Arn"] = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{self.physical}"

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("cloudwatch").delete_alarms(AlarmNames=[physical])


class ScalableTarget(Shim):
    type = "AWS::ApplicationAutoScaling::ScalableTarget"

    def create(self, properties: Properties) -> None:
        client("application-autoscaling").register_scalable_target(**numbers(properties, "MinCapacity", "MaxCapacity"))
        names = ("ResourceId", "ScalableDimension", "ServiceNamespace")
        self.physical = "|".join(properties[name] for name in names)


class ScalingPolicy(Shim):
    type = "AWS::ApplicationAutoScaling::ScalingPolicy"

    def create(self, properties: Properties) -> None:
        target = properties.pop("ScalingTargetId").split("|")
        names = ("ResourceId", "ScalableDimension", "ServiceNamespace")
        tracking = numbers(
            properties["TargetTrackingScalingPolicyConfiguration"], "ScaleInCooldown", "ScaleOutCooldown"
        )
        tracking["TargetValue"] = float(tracking["TargetValue"])
        properties["TargetTrackingScalingPolicyConfiguration"] = tracking
        client("application-autoscaling").put_scaling_policy(**properties, **dict(zip(names, target, strict=True)))


class PrivateDnsNamespace(Shim):
    type = "AWS::ServiceDiscovery::PrivateDnsNamespace"

    def create(self, properties: Properties) -> None:
        api = client("servicediscovery")
        api.create_private_dns_namespace(Name=properties["Name"], Vpc=properties["Vpc"])
        made = next(each for each in api.list_namespaces()["Namespaces"] if each["Name"] == properties["Name"])
        self.physical = made["Id"]
        self.attributes |= {"Id": made["Id"], "Arn": made["Arn"]}

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("servicediscovery").delete_namespace(Id=physical)


class DiscoveredService(Shim):
    type = "AWS::ServiceDiscovery::Service"

    def create(self, properties: Properties) -> None:
        dns = properties["DnsConfig"]
        made = client("servicediscovery").create_service(
            Name=properties["Name"],
            NamespaceId=properties.get("NamespaceId") or dns["NamespaceId"],
            DnsConfig={"DnsRecords": [numbers(record, "TTL") for record in dns["DnsRecords"]]},
        )["Service"]
        self.physical = made["Id"]
        self.attributes |= {"Id": made["Id"], "Arn": made["Arn"], "Name": made["Name"]}

    def update(self, properties: Properties) -> None:
        """The name stays."""

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("servicediscovery").delete_service(Id=physical)


class WebAcl(Shim):
    type = "AWS::WAFv2::WebACL"

    def create(self, properties: Properties) -> None:
        made = client("wafv2").create_web_acl(**typed(properties))["Summary"]
        self.physical = f"{made['Name']}|{made['Id']}|{properties['Scope']}"
        self.attributes |= {"Arn": made["ARN"], "Id": made["Id"]}

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""


class WebAclAssociation(Shim):
    type = "AWS::WAFv2::WebACLAssociation"

    def create(self, properties: Properties) -> None:
        client("wafv2").associate_web_acl(WebACLArn=properties["WebACLArn"], ResourceArn=properties["ResourceArn"])


class WebAclLogging(Shim):
    type = "AWS::WAFv2::LoggingConfiguration"

    def create(self, properties: Properties) -> None:
        names = ("ResourceArn", "LogDestinationConfigs")
        configuration = {name: properties[name] for name in names}
        client("wafv2").put_logging_configuration(LoggingConfiguration=configuration)


class Budget(Shim):
    type = "AWS::Budgets::Budget"

    def create(self, properties: Properties) -> None:
        budget = properties["Budget"]
        budget["BudgetLimit"] = {key: str(value) for key, value in budget["BudgetLimit"].items()}
        self.physical = budget["BudgetName"]
        client("budgets").create_budget(AccountId=ACCOUNT, Budget=budget)

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("budgets").delete_budget(AccountId=ACCOUNT, BudgetName=physical)


class TraceGroup(Shim):
    type = "AWS::XRay::Group"

    def create(self, properties: Properties) -> None:
        """Moto has X-Ray's segments, not its groups."""
        self.physical = properties["GroupName"]


class UserPool(Shim):
    type = "AWS::Cognito::UserPool"

    def create(self, properties: Properties) -> None:
        policy = typed(properties["Policies"])
        made = client("cognito-idp").create_user_pool(
            PoolName=properties["UserPoolName"],
            Policies=policy,
            MfaConfiguration="OFF",
            AdminCreateUserConfig=typed(properties["AdminCreateUserConfig"]),
        )["UserPool"]
        self.physical = made["Id"]
        self.attributes |= {"Arn": made["Arn"], "ProviderName": made["Name"], "UserPoolId": made["Id"]}

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""


class UserPoolClient(Shim):
    type = "AWS::Cognito::UserPoolClient"

    def create(self, properties: Properties) -> None:
        made = client("cognito-idp").create_user_pool_client(
            UserPoolId=properties["UserPoolId"],
            ClientName=self.name[:128],
            GenerateSecret=True,
            CallbackURLs=properties["CallbackURLs"],
        )["UserPoolClient"]
        self.physical = made["ClientId"]

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""


class UserPoolDomain(Shim):
    type = "AWS::Cognito::UserPoolDomain"

    def create(self, properties: Properties) -> None:
        self.physical = properties["Domain"]
        client("cognito-idp").create_user_pool_domain(Domain=self.physical, UserPoolId=properties["UserPoolId"])

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""


class Database(Shim):
    """Moto has this type, but not its managed password."""

    type = "AWS::RDS::DBInstance"

    def create(self, properties: Properties) -> None:
        names = (
            "Engine", "EngineVersion", "DBInstanceClass", "DBName", "MasterUsername", "MultiAZ", "StorageEncrypted",
            "BackupRetentionPeriod", "DeletionProtection", "ManageMasterUserPassword", "PubliclyAccessible",
            "StorageType",
        )  # fmt: skip
        call = typed({name: properties[name] for name in names})
        call["EngineVersion"] = str(properties["EngineVersion"])
        self.physical = properties["DBInstanceIdentifier"]
        made = client("rds").create_db_instance(
            DBInstanceIdentifier=self.physical, AllocatedStorage=int(properties["AllocatedStorage"]), **call
        )["DBInstance"]
        self.attributes |= {
            "Endpoint.Address": made["Endpoint"]["Address"],
            "MasterUserSecret.SecretArn": made["MasterUserSecret"]["SecretArn"],
        }

    def update(self, properties: Properties) -> None:
        client("rds").modify_db_instance(
            DBInstanceIdentifier=self.physical,
            AllocatedStorage=int(properties["AllocatedStorage"]),
            DBInstanceClass=properties["DBInstanceClass"],
            DeletionProtection=typed(properties["DeletionProtection"]),
        )

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("rds").delete_db_instance(DBInstanceIdentifier=physical, SkipFinalSnapshot=True)


class LoadBalancer(Shim):
    """Moto has these four types, but neither network load balancers nor attributes in them."""

    type = "AWS::ElasticLoadBalancingV2::LoadBalancer"

    def create(self, properties: Properties) -> None:
        names = ("Name", "Subnets", "SecurityGroups", "Scheme", "Type")
        made = client("elbv2").create_load_balancer(**{name: properties[name] for name in names})["LoadBalancers"][0]
        self.physical = made["LoadBalancerArn"]
        self.attributes |= {
            "DNSName": made["DNSName"],
            "CanonicalHostedZoneID": "Z35SXDOTRQ7X7K",
            "LoadBalancerFullName": self.physical.split(":loadbalancer/")[-1],
            "LoadBalancerName": properties["Name"],
        }
        self.update(properties)

    def update(self, properties: Properties) -> None:
        client("elbv2").modify_load_balancer_attributes(
            LoadBalancerArn=self.physical, Attributes=properties["LoadBalancerAttributes"]
        )

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("elbv2").delete_load_balancer(LoadBalancerArn=physical)


class TargetGroup(Shim):
    type = "AWS::ElasticLoadBalancingV2::TargetGroup"

    def create(self, properties: Properties) -> None:
        other = ("Tags", "Targets", "TargetGroupAttributes", "Matcher")
        call = typed({key: value for key, value in properties.items() if key not in other})
        call["Name"] = call.get("Name") or self.name[-32:].strip("-")
        call["HealthCheckPort"] = str(call.get("HealthCheckPort", "traffic-port"))
        made = client("elbv2").create_target_group(**call, **self._matcher(properties))["TargetGroups"][0]
        self.physical = made["TargetGroupArn"]
        self.attributes |= {
            "TargetGroupFullName": self.physical.split(":")[-1],
            "TargetGroupName": made["TargetGroupName"],
            "TargetGroupArn": self.physical,
        }
        targets = [numbers(target, "Port") for target in properties.get("Targets", [])]
        if targets:
            client("elbv2").register_targets(TargetGroupArn=self.physical, Targets=targets)

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("elbv2").delete_target_group(TargetGroupArn=physical)

    @staticmethod
    def _matcher(properties: Properties) -> Properties:
        return {"Matcher": {"HttpCode": str(properties["Matcher"]["HttpCode"])}} if "Matcher" in properties else {}


class Listener(Shim):
    type = "AWS::ElasticLoadBalancingV2::Listener"

    def create(self, properties: Properties) -> None:
        other = ("Tags", "ListenerAttributes", "DefaultActions")
        call = typed({key: value for key, value in properties.items() if key not in other})
        made = client("elbv2").create_listener(**call, DefaultActions=_actions(properties["DefaultActions"]))
        self.physical = made["Listeners"][0]["ListenerArn"]

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        client("elbv2").delete_listener(ListenerArn=physical)


class ListenerRule(Shim):
    type = "AWS::ElasticLoadBalancingV2::ListenerRule"

    def create(self, properties: Properties) -> None:
        made = client("elbv2").create_rule(
            ListenerArn=properties["ListenerArn"],
            Conditions=properties["Conditions"],
            Priority=int(properties["Priority"]),
            Actions=_actions(properties["Actions"]),
        )
        self.physical = made["Rules"][0]["RuleArn"]

    def update(self, properties: Properties) -> None:
        """Not looked at twice."""


def _actions(actions: list[Properties]) -> list[Properties]:
    """Actions of a listener; a port is a text there, a time a number."""
    for action in actions:
        if "Order" in action:
            action["Order"] = int(action["Order"])
        for kind in ("AuthenticateCognitoConfig", "AuthenticateOidcConfig"):
            if "SessionTimeout" in action.get(kind, {}):
                action[kind]["SessionTimeout"] = int(action[kind]["SessionTimeout"])
    return actions


class Service(Shim):
    """Moto has this type, but not what else a service of Fargate is made of."""

    type = "AWS::ECS::Service"

    def create(self, properties: Properties) -> None:
        call = self._call(properties)
        made = client("ecs").create_service(**call)["service"]
        self.physical = made["serviceArn"]
        self.attributes |= {"Name": made["serviceName"], "ServiceArn": made["serviceArn"]}

    def update(self, properties: Properties) -> None:
        call = self._call(properties)
        client("ecs").update_service(
            cluster=call["cluster"],
            service=call["serviceName"],
            taskDefinition=call["taskDefinition"],
            desiredCount=call["desiredCount"],
        )

    @staticmethod
    def remove(physical: str, properties: Properties) -> None:
        cluster = physical.split("/")[1]
        client("ecs").delete_service(cluster=cluster, service=physical, force=True)

    @staticmethod
    def _call(properties: Properties) -> Properties:
        call = typed(lower_first(properties))
        for name in (
            "enableECSManagedTags",
            "tags",
            "deploymentController",
            "propagateTags",
            "availabilityZoneRebalancing",
        ):
            call.pop(name, None)
        for registry in call.get("serviceRegistries", []):
            registry.pop("containerPort", None)
        for name in ("taskDefinition", "cluster"):
            call[name] = getattr(call[name], "arn", None) or getattr(call[name], "name", None) or call[name]
        return call


def typed(value: Any) -> Any:
    """Texts that are numbers or truths, as such."""
    if isinstance(value, dict):
        return {key: typed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [typed(part) for part in value]
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if isinstance(value, str) and value.isdigit() and len(value) < 10:  # longer ones are accounts
        return int(value)
    return value


def install(url: str) -> None:
    """Make the types known to moto, which listens at `url`."""
    global endpoint
    endpoint = url
    original = parsing.resource_class_from_type
    parsing.resource_class_from_type = lambda kind: SHIMS.get(kind) or original(kind)  # type: ignore[assignment]
    parsing.get_model_map().update(SHIMS)
    _publish_exports()
    _without_tags(key_management.Key)
    # a stack of moto's leaves its route tables, and then cannot delete the network
    route_tables.RouteTable.delete = lambda self, account, region: ec2_backends[account][region].delete_route_table(  # type: ignore[attr-defined]
        self.id
    )
    # what a record of the private zone points to
    vpc_endpoints.VPCEndPoint.get_cfn_attribute = lambda self, attribute: [  # type: ignore[attr-defined]
        f"Z7HUB22UULQXV:{self.id}.vpce.amazonaws.com"
    ]


def _without_tags(model: Any) -> None:
    """Moto reads the tags of some resources as another API writes them."""
    original = model.create_from_cloudformation_json.__func__

    def create(cls: Any, name: str, resource: Properties, *rest: Any, **named: Any) -> Any:
        properties = {key: value for key, value in resource["Properties"].items() if key != "Tags"}
        return original(cls, name, {**resource, "Properties": properties}, *rest, **named)

    model.create_from_cloudformation_json = classmethod(create)


def _publish_exports() -> None:
    """Moto exports and imports values when a stack is created, but not by a change set or an update."""
    backend = cloudformation.CloudFormationBackend

    def publishing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: cloudformation.CloudFormationBackend, *positional: Any, **named: Any) -> Any:
            for stack in self.stacks.values():
                stack.cross_stack_resources = stack.resource_map.cross_stack_resources = self.exports
            result = original(self, *positional, **named)
            for stack in self.stacks.values():
                stack._parse_template()
                stack.output_map = stack._create_output_map()
                # an update speaks of parameters' previous values, which moto knows only if somebody gave them
                for parameter, slot in stack.template_dict.get("Parameters", {}).items():
                    if "Default" in slot:
                        stack.parameters.setdefault(parameter, slot["Default"])
                self.exports.update({export.name: export for export in stack.exports})
            return result

        return call

    for name in ("create_stack", "execute_change_set", "update_stack"):
        setattr(backend, name, publishing(getattr(backend, name)))

    delete = backend.delete_stack

    def forgetting(self: cloudformation.CloudFormationBackend, name: str) -> None:
        delete(self, name)
        # whoever looks at the outputs of a stack that is gone would make anew what they refer to
        for stack in self.deleted_stacks.values():
            stack.output_map._output_json_map = {}

    backend.delete_stack = forgetting  # type: ignore[method-assign]
