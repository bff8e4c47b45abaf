"""What the leading comment of an export's query says: the words of its YAML."""

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from h3_pipeline.exports.values import ParameterType, PartitionKind

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\n\r\t]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

Table = Literal["trips", "cell_hourly", "flow_hourly"]


class Format(StrEnum):
    """What a result is written as; the value is the ending of the file's name."""

    CSV = "csv"
    CSV_GZ = "csv.gz"
    CSV_ZST = "csv.zst"
    PARQUET = "parquet"
    ARROW = "arrow"
    GEOJSON = "geojson"
    GEOPARQUET = "geo.parquet"
    MAP = "html"

    @classmethod
    def named(cls, name: str) -> Self:
        """The format that a header calls so, e.g. ``geoparquet`` or ``map``."""
        return cls[name.upper().replace(".", "_")]

    @property
    def header_name(self) -> str:
        """As headers call it."""
        return self.name.lower().replace("_", ".")

    @property
    def needs_cells(self) -> bool:
        """Whether it shows shapes."""
        return self in (Format.GEOJSON, Format.GEOPARQUET, Format.MAP)


FORMAT_NAMES = tuple(each.header_name for each in Format)
"""Formats as headers call them."""


def _format(name: Any) -> Any:
    if name not in FORMAT_NAMES:
        raise ValueError(f"{name!r} is not a format; the formats are {', '.join(FORMAT_NAMES)}")
    return Format.named(name)


def _day(given: Any) -> Any:
    return given if isinstance(given, date) else ParameterType("Date").value(given)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Parameter(_Part):
    """A value that can be given when the export runs, bound as a parameter of the query.

    Attributes:
        type: Its ClickHouse type, as in the query's ``{name:Type}``.
        default: Its value where none is given.
        description: What it means.
        rollup: Whether it is a resolution of the hourly tables. A default that the deployment does not
            have gives way to the nearest that it has.
    """

    type: str
    default: Any
    description: Text
    rollup: bool = False

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        kind = ParameterType.parse(self.type)
        kind.value(self.default)
        if self.rollup and kind.name != "UInt8":
            raise ValueError("a parameter with rollup: true has the type UInt8")
        return self


class Measure(_Part):
    """A number of the result that a map can show.

    Attributes:
        label: What people call it.
        unit: What it counts in, or ``''``.
        combine: How several rows of a cell become one number: ``sum``, ``mean``, or ``auto``: the sum of whole
            numbers, the mean of others.
        weight: Column to weigh a mean with.
    """

    label: Line
    unit: str = ""
    combine: Literal["auto", "sum", "mean"] = "auto"
    weight: ColumnName | None = None


class Header(_Part):
    """The header of an export's query.

    Attributes:
        title: What the export is called.
        description: What its rows say.
        formats: What it is written as.
        reads: Tables that the query reads; they are the asset's upstream assets.
        first_partition: The first day or month, ``YYYY-MM-DD``.
        schedule: Cron expression, in the deployment's time zone; absent: it is run by hand.
        partition: ``daily`` or ``monthly``: one result for each; the query has the parameters
            ``{partition_start:Date}`` and ``{partition_end:Date}``, the first day and the day after the last.
        parameters: Values that can be given, by name.
        cell: The column that holds an H3 cell.
        flow: The columns that hold the cells of origin and of destination; instead of ``cell``.
        measures: Columns that a map can show, by name.
        hour_of_week: The column that a map's control for the hour of the week chooses by: 0 is Monday, 00:00 to 01:00.
    """

    title: Line
    description: Text
    formats: list[Annotated[Format, BeforeValidator(_format)]] = Field(min_length=1)
    reads: list[Table] = Field(min_length=1)
    schedule: Line | None = None
    partition: PartitionKind = PartitionKind.NONE
    first_partition: Annotated[date, BeforeValidator(_day)] = date(2009, 1, 1)
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    cell: ColumnName | None = None
    flow: tuple[ColumnName, ColumnName] | None = None
    measures: dict[ColumnName, Measure] = Field(default_factory=dict)
    hour_of_week: ColumnName | None = None

    @field_validator("partition", mode="before")
    @classmethod
    def _partition(cls, value: Any) -> Any:
        try:
            return PartitionKind(value)
        except ValueError:
            raise ValueError(f"must be {', '.join(PartitionKind)}, not {value!r}") from None

    @field_validator("flow", mode="before")
    @classmethod
    def _flow(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2:
            return tuple(value)
        raise ValueError("must be a list of two columns, [origin, destination]")

    @field_validator("parameters")
    @classmethod
    def _no_reserved_name(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        if reserved := [name for name in value if name.startswith("partition_")]:
            raise ValueError(f"{reserved[0]} is given by the partition; names of parameters do not begin so")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cell and self.flow:
            raise ValueError("an export has either cell or flow")
        if (shapes := [each for each in self.formats if each.needs_cells]) and not self.cells:
            raise ValueError(f"the format {shapes[0].header_name} needs to know the cells: say cell or flow")
        if Format.MAP in self.formats and not self.measures:
            raise ValueError("a map needs at least one of measures")
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("a format is there twice")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        """Columns that hold cells."""
        return self.flow or ((self.cell,) if self.cell else ())

    def columns(self) -> dict[tuple[str | int, ...], str]:
        """Columns of the result that the header speaks of, by where it does."""
        named: dict[tuple[str | int, ...], str | None] = {("cell",): self.cell, ("hour_of_week",): self.hour_of_week}
        if self.flow:
            named |= {("flow", 0): self.flow[0], ("flow", 1): self.flow[1]}
        named |= {("measures", name): name for name in self.measures}
        named |= {("measures", name, "weight"): measure.weight for name, measure in self.measures.items()}
        return {path: column for path, column in named.items() if column}


PLACEHOLDER = re.compile(r"\{\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*:\s*(?P<type>[^{}]+?)\s*\}")
"""A parameter in a query, as ClickHouse writes it: ``{name:Type}``."""
