"""How long an upload is in each stage, from what the stages say as they begin."""

import time
from collections.abc import Callable

from h3_pipeline.telemetry.metric_names import STAGE_SECONDS, Stage
from h3_pipeline.telemetry.metrics import emit

_BY_FIRST_WORD = {
    "describe": Stage.DESCRIBE,
    "judge": Stage.JUDGE,
    "write": Stage.WRITE,
    "stage": Stage.STAGE,
    "roll": Stage.ROLL_UP,
    "publish": Stage.PUBLISH,
    "record": Stage.RECORD,
}


class StageClock:
    """Told the name of each stage as it begins; names that are no stage's belong to the one before.

    Args:
        on_stage: Told the names as well.

    Attributes:
        seconds: Time by stage, as far as it is over.
    """

    def __init__(self, on_stage: Callable[[str], object]) -> None:
        self.seconds: dict[Stage, float] = {}
        self._on_stage = on_stage
        self._stage: Stage | None = None
        self._since = time.monotonic()

    def __call__(self, name: str) -> None:
        """A stage, or a step of one, begins."""
        self._on_stage(name)
        stage = _BY_FIRST_WORD.get(name.partition(" ")[0])
        if stage is not None and stage is not self._stage:
            self._turn(stage)

    def stop(self) -> None:
        """The last stage is over: write what was measured."""
        self._turn(None)
        for stage, seconds in self.seconds.items():
            emit({STAGE_SECONDS: round(seconds, 3)}, stage.value)

    def _turn(self, stage: Stage | None) -> None:
        now = time.monotonic()
        if self._stage is not None:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now
