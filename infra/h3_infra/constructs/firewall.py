"""The web firewall before the load balancer."""

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from h3_infra.accepted import accept
from h3_infra.config import Config
from h3_infra.retention import retention

MANAGED = (
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesCommonRuleSet",
)

COUNTED_ONLY = {"AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY", "CrossSiteScripting_BODY")}
"""Rules that would block Dagster's own requests: GraphQL longer than 8 KiB, run configuration in YAML."""


class Firewall(Construct):
    """AWS's managed rules, and a limit of requests by address."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, resource_arn: str) -> None:
        super().__init__(scope, construct_id)
        name = config.name
        self.acl = waf.CfnWebACL(
            self,
            "Acl",
            name=name,
            scope="REGIONAL",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visible(name),
            rules=[
                waf.CfnWebACL.RuleProperty(
                    name="RequestsByAddress",
                    priority=0,
                    action=waf.CfnWebACL.RuleActionProperty(block={}),
                    statement=waf.CfnWebACL.StatementProperty(
                        rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                            limit=config.web.requests_per_five_minutes,
                            aggregate_key_type="IP",
                            evaluation_window_sec=300,
                        )
                    ),
                    visibility_config=_visible("RequestsByAddress"),
                ),
                *(self._managed(rule, number) for number, rule in enumerate(MANAGED, start=1)),
            ],
        )
        waf.CfnWebACLAssociation(self, "Association", resource_arn=resource_arn, web_acl_arn=self.acl.attr_arn)
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"aws-waf-logs-{name}",
            retention=retention(config.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept(log_group, "requests that were blocked: CloudWatch's own encryption is enough", checkov=["CKV_AWS_158"])
        stack = Stack.of(self)
        waf.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=self.acl.attr_arn,
            log_destination_configs=[
                stack.format_arn(
                    service="logs",
                    resource="log-group",
                    resource_name=f"aws-waf-logs-{name}",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
            ],
            logging_filter={
                "DefaultBehavior": "DROP",
                "Filters": [
                    {
                        "Behavior": "KEEP",
                        "Requirement": "MEETS_ANY",
                        "Conditions": [{"ActionCondition": {"Action": action}} for action in ("BLOCK", "COUNT")],
                    }
                ],
            },
            redacted_fields=[{"singleHeader": {"Name": header}} for header in ("cookie", "authorization")],
        ).node.add_dependency(log_group)

    def _managed(self, rule: str, priority: int) -> waf.CfnWebACL.RuleProperty:
        return waf.CfnWebACL.RuleProperty(
            name=rule,
            priority=priority,
            override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
            statement=waf.CfnWebACL.StatementProperty(
                managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                    vendor_name="AWS",
                    name=rule,
                    rule_action_overrides=[
                        waf.CfnWebACL.RuleActionOverrideProperty(
                            name=counted, action_to_use=waf.CfnWebACL.RuleActionProperty(count={})
                        )
                        for counted in COUNTED_ONLY.get(rule, ())
                    ],
                )
            ),
            visibility_config=_visible(rule),
        )


def _visible(metric: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=metric, sampled_requests_enabled=True
    )
