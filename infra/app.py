"""The CDK app. `npx cdk deploy --all -c config=prod -c image_tag=TAG`; see docs/aws.md."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# this folder for the app and the cluster's files, the repository for the names of the pipeline's metrics
sys.path[:0] = [str(HERE), str(HERE.parent)]

from h3_infra.node import use_own_node  # noqa: E402

use_own_node()

from aws_cdk import App  # noqa: E402
from h3_infra.config import FOLDER, Config, ConfigError  # noqa: E402
from h3_infra.deployment import build, check  # noqa: E402


def main() -> int:
    """Synthesize the deployment that the context names."""
    app = App()
    try:
        folder = Path(app.node.try_get_context("config_folder") or FOLDER)
        config = Config.load(app.node.try_get_context("config") or "dev", folder)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    build(app, config, image_tag=app.node.try_get_context("image_tag") or "none")
    check(app)
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
