"""A ClickHouse connection: statements in, rows out, one clear error when the engine says no.

The same class speaks to the embedded engine and to a server over HTTP, so everything above it is
written once. Rows of trips do not pass through it: it carries SQL and small answers.
"""

import logging
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import h3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from h3_pipeline.clickhouse.credentials import AuthenticationCode
from h3_pipeline.clickhouse.retries import Failure, Patience, classify
from h3_pipeline.errors import WarehouseError
from h3_pipeline.telemetry.context import log_comment
from h3_pipeline.telemetry.tracing import span, traceparent_headers

if TYPE_CHECKING:
    import pandas as pd  # two seconds to import, and most commands need no data frame

logger = logging.getLogger(__name__)

Parameters = Mapping[str, Any]
EngineSettings = Mapping[str, Any]

T = TypeVar("T")

_PROOF_POINT = (40.7128, -74.0060)
_PROOF_RESOLUTION = 10

_CHUNK_BYTES = 1 << 20

_LOGIN_REFUSED = frozenset(AuthenticationCode)
_NO_COMMENT = re.compile(r"log_comment.*(readonly|read-only)", re.IGNORECASE)
_TOLD_CHARACTERS = 2000
"""What a span tells of a statement."""


class QueryError(WarehouseError):
    """The engine refused a statement.

    Attributes:
        code: ClickHouse's error code, or None where the fault was not the engine's (a connection).
        detail: The engine's whole message.
        failure: Whether trying again may help, and what is known of the statement's outcome.
    """

    def __init__(self, message: str, code: int | None, detail: str, failure: Failure = Failure.REFUSED) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
        self.failure = failure

    @property
    def passing(self) -> bool:
        """Whether the same may go well a moment later."""
        return self.failure is not Failure.REFUSED


class ClickHouse:
    """A connection to one ClickHouse engine.

    Args:
        client: A connected clickhouse-connect client; this object closes it.
        where: What to call the engine in messages, e.g. ``the embedded warehouse``.
        patience: For single statements, and for work that begins anew each time; None tries once.
        log_in_again: Called when the server refuses the login. Connects with a newer one, or gives None
            where there is none.
        comments: Whether the engine keeps a query log, in which it says who sent a statement.
    """

    def __init__(
        self,
        client: Client,
        where: str,
        *,
        patience: Patience | None = None,
        work_patience: Patience | None = None,
        log_in_again: Callable[[], Client | None] | None = None,
        comments: bool = True,
    ) -> None:
        self._client = client
        self._log_in_again = log_in_again
        self._may_comment = comments
        self.where = where
        self._patience = patience
        self._work_patience = work_patience

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the engine back. Safe to call twice."""
        self._client.close()

    def use(self, database: str) -> None:
        """Make ``database`` the default for names that state none."""
        self._client.database = database

    def repeat(self, work: Callable[[], T]) -> T:
        """Do work that can begin anew, again while the engine's failure may pass.

        Raises:
            QueryError: The last failure.
        """
        if self._work_patience is None:
            return work()
        return self._work_patience.repeat(work, lambda error: isinstance(error, QueryError) and error.passing)

    def command(
        self,
        sql: str,
        parameters: Parameters | None = None,
        settings: EngineSettings | None = None,
        *,
        repeatable: bool = False,
    ) -> None:
        """Run a statement that returns nothing of interest.

        Args:
            sql: The statement.
            parameters: Values of its ``{name:Type}`` placeholders.
            settings: Settings of this statement alone.
            repeatable: Whether running it twice does the same as once, so that it may be repeated
                when nobody knows whether it took effect.

        Raises:
            QueryError: The engine refused it, or cannot be reached.
        """
        self._run(
            sql,
            lambda: self._client.command(sql, parameters=_mutable(parameters), **self._sent(settings)),
            repeatable=repeatable,
        )

    def rows(
        self, sql: str, parameters: Parameters | None = None, settings: EngineSettings | None = None
    ) -> Sequence[Sequence[Any]]:
        """Run a query and return its rows, which must be few.

        Raises:
            QueryError: The engine refused it.
        """
        return self._run(
            sql, lambda: self._client.query(sql, parameters=_mutable(parameters), **self._sent(settings)).result_rows
        )

    def records(
        self, sql: str, parameters: Parameters | None = None, settings: EngineSettings | None = None
    ) -> list[dict[str, Any]]:
        """Like `rows`, each row a mapping from column name to value."""
        return self._run(
            sql,
            lambda: list(
                self._client.query(sql, parameters=_mutable(parameters), **self._sent(settings)).named_results()
            ),
        )

    def pairs(
        self, sql: str, parameters: Parameters | None = None, settings: EngineSettings | None = None
    ) -> dict[Any, Any]:
        """A query of two columns, as a mapping from the first to the second."""
        return {row[0]: row[1] for row in self.rows(sql, parameters, settings)}

    def value(self, sql: str, parameters: Parameters | None = None, settings: EngineSettings | None = None) -> Any:
        """The only value of a query's only row."""
        return self.rows(sql, parameters, settings)[0][0]

    def dataframe(
        self, sql: str, parameters: Parameters | None = None, settings: EngineSettings | None = None
    ) -> "pd.DataFrame":
        """Run a query and return a data frame, for previews and small results."""
        return self._run(
            sql, lambda: self._client.query_df(sql, parameters=_mutable(parameters), **self._sent(settings))
        )

    def raw(
        self, sql: str, output_format: str, parameters: Parameters | None = None, settings: EngineSettings | None = None
    ) -> bytes:
        """Run a query and return its result as the engine writes it in ``output_format``."""
        return self._run(
            sql,
            lambda: self._client.raw_query(
                sql, fmt=output_format, parameters=_mutable(parameters), **self._sent(settings)
            ),
        )

    def raw_to_file(
        self,
        sql: str,
        output_format: str,
        target: Path,
        parameters: Parameters | None = None,
        settings: EngineSettings | None = None,
    ) -> None:
        """Like `raw`, into a file, with bounded memory; for a server."""

        def write() -> None:
            stream = self._client.raw_stream(
                sql, fmt=output_format, parameters=_mutable(parameters), **self._sent(settings)
            )
            with closing(stream), target.open("wb") as file:  # type: ignore[type-var] - not asynchronous
                shutil.copyfileobj(stream, file, _CHUNK_BYTES)  # type: ignore[arg-type]

        self._run(sql, write)

    def prove_h3_argument_order(self) -> None:
        """Check that ``geoToH3(lat, lng, …)`` gives the cell that h3-py gives.

        ClickHouse took (lng, lat) before 25.5. The wrong order gives valid but wrong cells, so a
        server that has it is refused.

        Raises:
            WarehouseError: The engine's answer differs.
        """
        latitude, longitude = _PROOF_POINT
        expected = h3.str_to_int(h3.latlng_to_cell(latitude, longitude, _PROOF_RESOLUTION))
        found = self.value(f"SELECT geoToH3({latitude}, {longitude}, {_PROOF_RESOLUTION})")
        if found != expected:
            version = self.value("SELECT version()")
            raise WarehouseError(
                f"{self.where} (ClickHouse {version}) gives wrong H3 cells: geoToH3 takes longitude first there. "
                "Use ClickHouse 25.5 or later, with geotoh3_argument_order at its default."
            )

    def _run(self, sql: str, statement: Callable[[], T], *, repeatable: bool = True) -> T:
        def told() -> T:
            attributes = {"db.system.name": "clickhouse", "db.query.text": sql[:_TOLD_CHARACTERS]}
            with span(f"clickhouse {_verb(sql)}", {**attributes, "server.address": self.where}, client=True):
                try:
                    return statement()
                except (ClickHouseError, HTTPError) as error:
                    raise self._query_error(error) from error

        def once() -> T:
            try:
                return told()
            except QueryError as error:
                if not self._mended(error):
                    raise
            return told()

        def may_repeat(error: BaseException) -> bool:
            return isinstance(error, QueryError) and (
                error.failure is Failure.UNSENT or (repeatable and error.failure is Failure.PASSING)
            )

        return once() if self._patience is None else self._patience.repeat(once, may_repeat)

    def _sent(self, settings: EngineSettings | None) -> dict[str, Any]:
        """What goes with a statement: its settings, and for the engine's own logs who sends it and why."""
        comment = log_comment() if self._may_comment else None
        sent = {**(settings or {}), **({"log_comment": comment} if comment else {})}
        return {"settings": sent or None, "transport_settings": traceparent_headers() or None}

    def _mended(self, error: QueryError) -> bool:
        """Whether a statement that was refused before it was looked at may be accepted now."""
        if error.code in _LOGIN_REFUSED:
            return self._logged_in_again()
        # a user who may only read may set nothing, not even a comment
        refused_comment = bool(_NO_COMMENT.search(error.detail)) and self._may_comment
        self._may_comment = self._may_comment and not refused_comment
        return refused_comment

    def _logged_in_again(self) -> bool:
        client = self._log_in_again() if self._log_in_again else None
        if client is None:
            return False
        client.database = self._client.database
        self._client.close()
        self._client = client
        return True

    def _query_error(self, error: ClickHouseError | HTTPError) -> QueryError:
        detail = str(error)
        return QueryError(
            f"{self.where}: {first_sentence(detail)}", getattr(error, "code", None), detail, classify(error)
        )


def first_sentence(detail: str) -> str:
    """The engine's message without its version, stack and code prefix, on one line."""
    text = detail.split("DB::Exception:", 1)[-1].split("(version ", 1)[0]
    return " ".join(text.split())[:500]


def _mutable(mapping: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(mapping) if mapping else None


def _verb(sql: str) -> str:
    """The statement's first word: few of them name a span."""
    found = re.search(r"^(?:\s+|--[^\n]*\n)*(\w+)", sql)
    return found[1].upper() if found else "statement"
