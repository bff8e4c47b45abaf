"""`python -m tests.emulator`: serves on a free port of the loopback, and prints its address first."""

import os

os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    MOTO_ALLOW_NONEXISTENT_REGION="0",
)

import moto.cloudformation.responses as responses
import moto.ecs.models as ecs
from moto.acm.models import acm_backends
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.moto_api import state_manager
from moto.route53.models import route53_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.emulator import names, shims


def main() -> None:
    """Serve until the process is ended."""
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    shims.install(url)
    # tasks of Fargate need no instance that has room for them
    ecs.EC2ContainerServiceBackend._calculate_task_resource_requirements = staticmethod(  # type: ignore[method-assign]
        lambda definition: {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}
    )
    # nor do they go on by themselves, a step each time that somebody looks
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 1_000_000})
    # templates come by URL from the emulator's own S3, whose bucket is in the path only under this name
    fetch = responses.get_stack_from_s3_url
    responses.get_stack_from_s3_url = lambda address, **rest: fetch(address.replace("127.0.0.1", "localhost"), **rest)
    # accepted, and kept nowhere: what is protected is asserted on the assembly
    responses.CloudFormationResponse.update_termination_protection = lambda self: ActionResult(  # type: ignore[attr-defined]
        {"StackId": self.cloudformation_backend.get_stack(self._get_param("StackName")).stack_id}
    )
    # functions are called by nobody here: the rotation's is tested apart
    default_user_config["lambda"]["use_docker"] = False
    _found_there()
    print(url, flush=True)
    server.serve_forever()


def _found_there() -> None:
    """What the configurations name, and a team has already: a certificate and a zone."""
    backend = acm_backends[names.ACCOUNT][names.REGION]
    arn = backend.request_certificate("trips.example.com", "first", [], [])
    backend._certificates[names.CERTIFICATE] = backend._certificates.pop(arn)
    zones = route53_backends[names.ACCOUNT]["aws"]
    zone = zones.create_hosted_zone("example.com", private_zone=False)
    key = next(key for key, each in zones.zones.items() if each is zone)
    zones.zones[names.ZONE] = zones.zones.pop(key)


main()
