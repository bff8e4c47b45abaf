#!/usr/bin/env bash
# Builds the pipeline's image and pushes it, with the trace collector's, to an environment's registry, which it makes first.
#   infra/publish-image.sh dev [TAG]      the tag is the commit's unless named
set -euo pipefail
cd "$(dirname "$0")/.."

environment=${1:?usage: infra/publish-image.sh ENVIRONMENT [TAG]}
tag=${2:-$(git rev-parse HEAD)}
collector=public.ecr.aws/aws-observability/aws-otel-collector
config=infra/config/$environment.yaml
[[ -f $config ]] || { echo "error: there is no $config" >&2; exit 1; }

setting() { .venv-infra/bin/python -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))[sys.argv[2]])' "$config" "$1"; }
registry=$(setting account).dkr.ecr.$(setting region).amazonaws.com
collector_tag=$(.venv-infra/bin/python - <<'PYTHON'
import re, pathlib
text = pathlib.Path("infra/h3_infra/stacks/dagster.py").read_text()
print(re.search(r'COLLECTOR_TAG = "([^"]+)"', text)[1])
PYTHON
)

infra/cdk deploy "h3-$environment-registry" --exclusively --require-approval never -c config="$environment"
aws ecr get-login-password --region "$(setting region)" | docker login --username AWS --password-stdin "$registry"

push() { # LOCAL REPOSITORY TAG; a tag never changes, so one that is there is left
  if aws ecr describe-images --region "$(setting region)" --repository-name "$2" --image-ids imageTag="$3" >/dev/null 2>&1; then
    echo "$2:$3 is there already"
  else
    docker tag "$1" "$registry/$2:$3"
    docker push "$registry/$2:$3"
  fi
}

docker build --platform linux/amd64 -f infra/Dockerfile -t "h3-pipeline:$tag" .
push "h3-pipeline:$tag" "h3-$environment/pipeline" "$tag"
docker pull --platform linux/amd64 "$collector:$collector_tag"
push "$collector:$collector_tag" "h3-$environment/collector" "$collector_tag"
echo "Image tag: $tag"
