"""Findings of the security checks that are accepted, each with its reason, beside the code that causes it."""

from collections.abc import Sequence

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import Construct, IConstruct


def accept(construct: IConstruct, reason: str, *, nag: Sequence[str] = (), checkov: Sequence[str] = ()) -> None:
    """Accept findings on one construct and what is below it.

    Args:
        construct: Where the finding is.
        reason: Why it stays.
        nag: cdk-nag's rules, with the finding in brackets where a rule has several.
        checkov: Checkov's checks.
    """
    for rule in nag:
        Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))
    if not checkov:
        return
    for child in construct.node.find_all():
        if CfnResource.is_cfn_resource(child) and isinstance(child, CfnResource):
            skipped = (child.get_metadata("checkov") or {}).get("skip", [])
            child.add_metadata("checkov", {"skip": [*skipped, *({"id": c, "comment": reason} for c in checkov)]})


def resource(construct: Construct) -> CfnResource:
    """The CloudFormation resource behind a construct."""
    child = construct.node.default_child
    if not isinstance(child, CfnResource):
        raise TypeError(f"{construct.node.path} is not one resource")
    return child
