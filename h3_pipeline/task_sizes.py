"""How large a task a run needs, from the bytes of its uploads: tags that Dagster's ECS launcher reads.

A run judges one upload after another, so its memory follows the largest record and the width of a
file more than its length; more processors help in step with the bytes.
"""

import json
import re
from dataclasses import dataclass

SIDECAR_CPU = 128
SIDECAR_MEMORY_MIB = 256
"""Left to the collector beside the run's container: ECS refuses containers that ask for more than their task."""

FEED_TAG = "h3_pipeline/feed"
"""Tag of a run whose number at once is limited, each value on its own."""

_NOT_IN_ECS_TAGS = re.compile(r"[^\w .:/=+@-]")
_LONGEST_ECS_TAG = 256

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class TaskSize:
    """A size that Fargate has.

    Attributes:
        name: For people, metrics and the task's own tags.
        cpu: CPU units; 1024 are one vCPU.
        memory_mib: Memory of the whole task.
        max_bytes: The most bytes of uploads that such a task takes; None for any.
    """

    name: str
    cpu: int
    memory_mib: int
    max_bytes: int | None

    def tags(self) -> dict[str, str]:
        """Tags of a run that is to have this size."""
        container = {"cpu": self.cpu - SIDECAR_CPU, "memory": self.memory_mib - SIDECAR_MEMORY_MIB}
        return {
            "h3_pipeline/size": self.name,
            "ecs/cpu": str(self.cpu),
            "ecs/memory": str(self.memory_mib),
            "ecs/container_overrides": json.dumps(container),
        }


TASK_SIZES = (
    TaskSize("small", 1024, 2048, 64 * MIB),
    TaskSize("medium", 2048, 4096, 512 * MIB),
    TaskSize("large", 4096, 8192, None),
)
"""From small to large; the last one takes whatever comes."""


def task_size(size: int) -> dict[str, str]:
    """Tags of a run over uploads of so many bytes together."""
    fitting = (each for each in TASK_SIZES if each.max_bytes is None or size <= each.max_bytes)
    return next(fitting).tags()


def feed_tag(feed: str) -> dict[str, str]:
    """Tag of a run over uploads of one feed; ECS refuses a task whose tag holds anything out of the ordinary."""
    return {FEED_TAG: _NOT_IN_ECS_TAGS.sub("_", feed)[:_LONGEST_ECS_TAG]}
