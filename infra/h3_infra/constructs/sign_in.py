"""Who may look at the UI: the open-source web server has no sign-in of its own, so the load balancer asks first."""

from aws_cdk import Duration, RemovalPolicy, SecretValue
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_elasticloadbalancingv2_actions as actions
from constructs import Construct

from h3_infra.accepted import accept
from h3_infra.config import Config

SESSION = Duration.hours(8)


class SignIn(Construct):
    """People of one kind: `operators`, who may change things, or `viewers`, who may not.

    Args:
        config: The deployment; its provider, or a Cognito user pool of this construct's own.
        people: `operators` or `viewers`.
        domain_name: The UI that they sign in to.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, people: str, domain_name: str) -> None:
        super().__init__(scope, construct_id)
        self._config, self._people = config, people
        self.pool = None if config.web.sign_in else self._pool(domain_name)

    def before(self, target: elb.IApplicationTargetGroup) -> elb.ListenerAction:
        """Sign in, then go on to `target`."""
        then = elb.ListenerAction.forward([target])
        provider = self._config.web.sign_in
        if provider is not None:
            return elb.ListenerAction.authenticate_oidc(
                issuer=provider.issuer,
                authorization_endpoint=provider.authorization_endpoint,
                token_endpoint=provider.token_endpoint,
                user_info_endpoint=provider.user_info_endpoint,
                client_id=provider.operators_client_id if self._people == "operators" else provider.viewers_client_id,
                client_secret=SecretValue.secrets_manager(provider.secret_name, json_field=self._people),
                scope="openid email",
                session_timeout=SESSION,
                session_cookie_name=f"h3-{self._people}",
                allow_https_outbound=False,
                next=then,
            )
        assert self.pool is not None
        return actions.AuthenticateCognitoAction(
            user_pool=self.pool,
            user_pool_client=self.client,
            user_pool_domain=self.domain,
            scope="openid email",
            session_timeout=SESSION,
            session_cookie_name=f"h3-{self._people}",
            allow_https_outbound=False,
            next=then,
        )

    def _pool(self, domain_name: str) -> cognito.UserPool:
        name = f"{self._config.name}-{self._people}"
        pool = cognito.UserPool(
            self,
            "Pool",
            user_pool_name=name,
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            password_policy=cognito.PasswordPolicy(
                min_length=12, require_lowercase=True, require_uppercase=True, require_digits=True, require_symbols=True
            ),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            deletion_protection=self._config.keep_data,
            removal_policy=RemovalPolicy.RETAIN if self._config.keep_data else RemovalPolicy.DESTROY,
        )
        accept(
            pool,
            "people are invited by name and use a second factor; Cognito's paid tier is left to the team",
            nag=["COG3", "COG8"],
        )
        self.client = pool.add_client(
            "Balancer",
            generate_secret=True,
            supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
            prevent_user_existence_errors=True,
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
                callback_urls=[f"https://{domain_name}/oauth2/idpresponse"],
            ),
        )
        self.domain = pool.add_domain(
            "Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=f"{name}-{self._config.account}")
        )
        return pool
