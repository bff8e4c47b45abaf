"""Alerts: troubles gathered into few messages, each with what to do, sent to SNS or written to the log.

A kind of trouble is told of once it has been quiet for `SETTLED`, or after `LONGEST` at the latest, and then not again
for `QUIET`. So a thousand bad files, in runs that fail one after the other, are one message.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Self

from h3_pipeline.errors import PipelineError
from h3_pipeline.settings import Settings

logger = logging.getLogger(__name__)

SETTLED = timedelta(minutes=2)
LONGEST = timedelta(minutes=10)
QUIET = timedelta(hours=1)
AGAIN = timedelta(days=1)
"""A state that lasts is told of again after so long."""

EXAMPLES = 5
"""How many troubles of a kind a message shows."""

_SUBJECT_CHARACTERS = 100
_TEXT_CHARACTERS = 400


class Kind(Enum):
    """Kinds of trouble.

    Attributes:
        code: Short stable name.
        one: One of them, in words.
        many: Several of them.
        advice: What to do.
    """

    RUN_FAILED = (
        "run_failed",
        "run failed",
        "runs failed",
        "Open the run in Dagster and read the first step that failed. Refused uploads: mend the file or write a feed, "
        "and upload it again; the others of the run are loaded. Else: `h3-pipeline doctor`, then run it again.",
    )
    CHECK_FAILED = (
        "check_failed",
        "asset check failed",
        "asset checks failed",
        "Open the asset's Checks in Dagster. After a blocking check nothing was loaded; after another one do not trust "
        "the table until `reconcile_warehouse` has passed.",
    )
    NO_UPLOADS = (
        "no_uploads",
        "feed is silent",
        "feeds are silent",
        "Ask whoever delivers the files. If they are in the bucket, look at the sensor `uploads_sensor` in Dagster, "
        "and at the feed's `match` and `expect_every`.",
    )
    BACKUP_STALE = (
        "backup_stale",
        "backup is stale",
        "backups are stale",
        "Look at the last run of `back_up_warehouse` and at its schedule `back_up_daily`, and launch that job by hand.",
    )
    DAEMON_SILENT = (
        "daemon_silent",
        "daemon is silent",
        "daemons are silent",
        "Nothing is scheduled or launched meanwhile, and nothing is lost. Look at the daemon's task and its log; "
        "restart it.",
    )

    def __init__(self, code: str, one: str, many: str, advice: str) -> None:
        self.code = code
        self.one = one
        self.many = many
        self.advice = advice

    def counted(self, count: int) -> str:
        """So many of them, in words."""
        return f"{count:,} {self.one if count == 1 else self.many}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble.

    Attributes:
        kind: Its kind.
        text: It, in one line.
        state: The name of a state that lasts, such as a feed's; empty for what happens once.
    """

    kind: Kind
    text: str
    state: str = ""


@dataclass(slots=True)
class _Group:
    """Troubles of one kind that were not told of yet."""

    count: int
    first_at: datetime
    last_at: datetime
    examples: list[str]


@dataclass(slots=True)
class Gathered:
    """Troubles of the past, as a sensor's cursor keeps them between its ticks."""

    _groups: dict[Kind, _Group] = field(default_factory=dict)
    _told_at: dict[Kind, datetime] = field(default_factory=dict)
    _states: dict[str, datetime] = field(default_factory=dict)

    def add(self, troubles: Iterable[Trouble], now: datetime) -> None:
        """Take in what was found now; states that are not among it are over."""
        states: dict[str, datetime] = {}
        for trouble in troubles:
            if trouble.state:
                name = f"{trouble.kind.code}:{trouble.state}"
                known = self._states.get(name)
                states[name] = known if known and now - known < AGAIN else now
                if states[name] is known:
                    continue
            self._note(trouble, now)
        self._states = states

    def _note(self, trouble: Trouble, now: datetime) -> None:
        group = self._groups.setdefault(trouble.kind, _Group(0, now, now, []))
        group.count += 1
        group.last_at = now
        if len(group.examples) < EXAMPLES:
            group.examples.append(" ".join(trouble.text.split())[:_TEXT_CHARACTERS])

    def message(self, now: datetime, where: str) -> "Message | None":
        """What is to be told now, if anything is due: all that is waiting, in one message."""
        awake = {k: g for k, g in self._groups.items() if k not in self._told_at or now - self._told_at[k] >= QUIET}
        if not any(now - g.last_at >= SETTLED or now - g.first_at >= LONGEST for g in awake.values()):
            return None
        kinds = [kind for kind in Kind if kind in awake]
        counts = ", ".join(kind.counted(awake[kind].count) for kind in kinds)
        parts = [f"h3_pipeline at {where} is in trouble."]
        parts += [_section(kind, awake[kind]) for kind in kinds]
        return Message(f"h3_pipeline: {counts}"[:_SUBJECT_CHARACTERS], "\n\n".join(parts) + "\n", tuple(kinds))

    def told(self, message: "Message", now: datetime) -> None:
        """A message was delivered: its troubles wait no longer."""
        for kind in message.kinds:
            del self._groups[kind]
            self._told_at[kind] = now

    def to_json(self) -> dict[str, Any]:
        """For the cursor."""
        return {
            "groups": {
                kind.code: {
                    "count": group.count,
                    "first_at": group.first_at.isoformat(),
                    "last_at": group.last_at.isoformat(),
                    "examples": group.examples,
                }
                for kind, group in self._groups.items()
            },
            "told_at": {kind.code: at.isoformat() for kind, at in self._told_at.items()},
            "states": {name: at.isoformat() for name, at in self._states.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """From the cursor; kinds of another version are left out."""
        kinds = {kind.code: kind for kind in Kind}
        moment = datetime.fromisoformat
        return cls(
            {
                kinds[code]: _Group(g["count"], moment(g["first_at"]), moment(g["last_at"]), list(g["examples"]))
                for code, g in document.get("groups", {}).items()
                if code in kinds
            },
            {kinds[code]: moment(at) for code, at in document.get("told_at", {}).items() if code in kinds},
            {name: moment(at) for name, at in document.get("states", {}).items()},
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What is told.

    Attributes:
        subject: One line of ASCII, as SNS wants it.
        body: Text for people.
        kinds: What it is about.
    """

    subject: str
    body: str
    kinds: tuple[Kind, ...]


def _section(kind: Kind, group: _Group) -> str:
    lines = [f"{kind.counted(group.count)}, {_span(group.first_at, group.last_at)}"]
    lines += [f"  - {example}" for example in group.examples]
    if group.count > len(group.examples):
        lines.append(f"  - and {group.count - len(group.examples):,} more")
    return "\n".join([*lines, f"What to do: {kind.advice}"])


def _span(first: datetime, last: datetime) -> str:
    def shown(moment: datetime) -> str:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"

    return f"seen {shown(first)} UTC" if shown(first) == shown(last) else f"seen {shown(first)} to {shown(last)} UTC"


class AlertError(PipelineError):
    """A message could not be delivered; it is tried again."""


def deliver(message: Message, settings: Settings, log: Callable[[str], object] = logger.error) -> None:
    """Send a message to the topic that the settings name, or write it to the log.

    Raises:
        AlertError: The topic did not take it.
    """
    if settings.h3_alerts_topic_arn is None:
        log(f"{message.subject}\n{message.body}")  # one record, whose first line says it all
        return
    import boto3.session  # half a second to import
    from botocore.client import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5, read_timeout=10)
    kinds = json.dumps([kind.code for kind in message.kinds])
    try:
        client = boto3.session.Session().client("sns", region_name=settings.aws_region, config=config)
        client.publish(
            TopicArn=settings.h3_alerts_topic_arn,
            Subject=message.subject,
            Message=message.body,
            MessageAttributes={"kinds": {"DataType": "String.Array", "StringValue": kinds}},
        )
    except (ClientError, BotoCoreError) as error:
        raise AlertError(
            f"H3_ALERTS_TOPIC_ARN: {settings.h3_alerts_topic_arn} did not take an alert ({message.subject}): "
            f"{' '.join(str(error).split())} Check the ARN, and that the task's role may do sns:Publish."
        ) from None
