"""The commands' words: names, arguments and help. What they do is imported when one runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="h3-pipeline",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Trip CSVs, plain or compressed.")]
To = Annotated[str, typer.Option("--to", metavar="PREFIX", help="Put them below this prefix of uploads/.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")]


class Format(StrEnum):
    """What a query's result is written as."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"h3-pipeline {version('h3_pipeline')}")
        raise typer.Exit


@app.callback()
def h3_pipeline(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Trip CSVs in, hourly H3 tables out.

    \b
    First steps:
      h3-pipeline demo                      see it work on sample trips
      h3-pipeline ingest my-trips.csv       load a file, to the end
      h3-pipeline export                    results and maps as files
      h3-pipeline status                    what is loaded
      h3-pipeline query "SELECT count() FROM trips"

    \b
    Everything local is in the folder H3_PIPELINE_HOME (./.h3_pipeline). The other
    settings are environment variables too, see README.md. An error is one line on
    stderr; H3_PIPELINE_DEBUG=1 adds its traceback.

    \b
    Exit codes: 0 done; 1 error; 2 an upload was refused, or the arguments are wrong;
    130 interrupted.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def demo(
    rows: Annotated[int, typer.Option("--rows", min=100, max=20_000_000, help="Sample trips to make.")] = 50_000,
) -> int:
    """See the pipeline work on sample trips.

    Invents trips in four cities (rush hours, hot spots, some dirty rows), uploads the files below
    demo/, loads them, and shows what became of each file and the busiest H3 cells. Then it runs
    every export, and says which map to open. Run it as often as you like: the same files are
    replaced.

    \b
    Example:
      h3-pipeline demo --rows 200000
    Exit codes: 0 done; 1 error.
    """
    from h3_pipeline.cli.demo import demo

    return demo(rows)


@app.command()
def dev(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all of Dagster's logs.")] = False,
    production_like: Annotated[
        bool, typer.Option("--production-like", help="With PostgreSQL and the separate processes of production.")
    ] = False,
) -> int:
    """Run Dagster with its UI, and the local bucket.

    Watches uploads/: a file put there (`h3-pipeline upload`, or any S3 client) is loaded within a
    minute. The UI listens on 127.0.0.1, on PORT (3000). Ctrl-C stops everything.

    \b
    Example:
      PORT=3001 h3-pipeline dev
    Exit codes: 0 stopped by you; 1 error, such as a port in use.
    """
    from h3_pipeline.cli.dev import dev

    return dev(verbose=verbose, production_like=production_like)


@app.command()
def upload(files: Files, to: To = "") -> int:
    """Put files into the bucket, below uploads/.

    They are loaded by whoever watches the bucket, such as `h3-pipeline dev`; to load them at once
    use `h3-pipeline ingest`. All files are checked before the first is sent. A file of the same
    name is replaced.

    \b
    Example:
      h3-pipeline upload january.csv.gz february.csv.gz --to taxis/2026
    Exit codes: 0 all are there; 1 error.
    """
    from h3_pipeline.cli.upload import upload

    return upload(files, to)


@app.command()
def ingest(files: Files, to: To = "", as_json: Json = False) -> int:
    """Upload files and load them, to the end.

    Shows for each file the rows read, loaded and rejected, and why. A file loaded before under
    the same name is replaced, whole. A file that cannot be loaded is refused: it leaves nothing
    in the tables, and the others are loaded all the same.

    \b
    Examples:
      h3-pipeline ingest trips/*.csv
      h3-pipeline ingest january.csv.gz --to taxis --json
    Exit codes: 0 all loaded; 2 some were refused; 1 error.
    """
    from h3_pipeline.cli.ingest import ingest

    return ingest(files, to, as_json=as_json)


@app.command()
def retract(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="Uploads, as `h3-pipeline status` shows them.")],
) -> int:
    """Take uploads out of the tables.

    Their rows leave trips and every hourly table; the objects stay in the bucket. The sensor does
    not load that content again; `h3-pipeline ingest` does.

    \b
    Example:
      h3-pipeline retract taxis/january.csv.gz
    Exit codes: 0 done; 1 error, such as an unknown key (nothing is taken out then).
    """
    from h3_pipeline.cli.retract import retract

    return retract(keys)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One statement that returns rows.")],
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the ending of --output, else table.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the result to this file.")
    ] = None,
) -> int:
    """Ask the tables: trips, cell_hourly_view, flow_hourly_view.

    Read-only: the engine refuses whatever would change something. A query may take a minute,
    800 MB of memory, and give 10 million rows. A table shows the first 100; json is an array of
    objects; parquet needs a file or a pipe.

    \b
    Examples:
      h3-pipeline query "SELECT region, count() FROM trips GROUP BY region"
      h3-pipeline query "SELECT h3ToString(cell), sum(departures) AS n FROM cell_hourly_view
        WHERE resolution = 8 GROUP BY cell ORDER BY n DESC" --output cells.parquet
    Exit codes: 0 done; 1 error.
    """
    from h3_pipeline.cli.query import query

    return query(sql, output_format, output)


@app.command()
def backup(
    full: Annotated[bool, typer.Option("--full", help="Take a full one, whatever there is to rest on.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="Take none; show those that there are.")] = False,
    as_json: Json = False,
) -> int:
    """Back up all tables to the bucket.

    Incremental, where a full backup younger than a week is there to rest on. Backups that are
    superfluous afterwards are removed (H3_BACKUP_KEEP). Loading waits only for a moment.

    \b
    Examples:
      h3-pipeline backup
      h3-pipeline backup --list
    Exit codes: 0 done; 1 error.
    """
    from h3_pipeline.cli.backup import backup, list_backups

    return list_backups(as_json=as_json) if list_them else backup(full=full, as_json=as_json)


@app.command()
def restore(
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="The newest backup not after this time, ISO 8601, UTC.")
    ] = "",
    to: Annotated[str, typer.Option("--to", metavar="DATABASE", help="Restore to this database, and leave it.")] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace the rows that are in the tables.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Make the tables what they were when a backup was taken.

    The newest backup, or the newest one not after --at. It is restored beside the tables and
    compared with what was backed up; only then are they exchanged. Tables that hold rows
    are not touched without --overwrite.

    \b
    Examples:
      h3-pipeline restore
      h3-pipeline restore --at 2026-11-20T12:00 --to looking_back
    Exit codes: 0 restored, and as it was backed up; 1 error, and the tables are untouched.
    """
    from h3_pipeline.cli.restore import restore

    return restore(at=at, to=to, overwrite=overwrite, as_json=as_json)


@app.command()
def export(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Exports; none means all.", show_default=False)
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the exports and their parameters; run none.")] = False,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="K=V", help="A parameter's value; repeat it for more.", show_default=False),
    ] = None,
    day: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="DAY", help="For exports by day or month: which. Default: the last one with trips."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Put the files there as well.")] = None,
    as_json: Json = False,
) -> int:
    """Answer questions into files and maps.

    Runs the queries of exports/queries and of the folder H3_EXPORTS, read-only, and writes each
    result in the formats that its header names: below exports/ in the bucket, and on a laptop in
    the folder exports/ of H3_PIPELINE_HOME too, where `latest` is always the newest.

    \b
    Examples:
      h3-pipeline export --list
      h3-pipeline export busiest_cells
      h3-pipeline export hourly_cells --date 2024-03-01
      h3-pipeline export weekly_average_trips --param region=Prague --param south=50.0
        --param north=50.2 --param west=14.2 --param east=14.7 --out .
    Exit codes: 0 done; 1 error, such as an unknown parameter (nothing is exported then).
    """
    from h3_pipeline.cli.export import export, list_exports

    if list_them:
        return list_exports(as_json=as_json)
    return export(names or [], parameters or [], day, out, as_json=as_json)


@app.command()
def status(as_json: Json = False) -> int:
    """Show what is loaded.

    Each upload with what was done with it last, the size of the tables, and whether the local
    bucket and `h3-pipeline dev` run.

    \b
    Example:
      h3-pipeline status --json
    Exit codes: 0 done; 1 error.
    """
    from h3_pipeline.cli.status import status

    return status(as_json=as_json)


@app.command()
def doctor() -> int:
    """Find what is wrong with the set-up, and say how to mend it.

    Tries everything for real: settings, the home folder, the feeds file, the bucket, the
    warehouse, Dagster's definitions, the port.

    \b
    Example:
      h3-pipeline doctor
    Exit codes: 0 all is well; 1 something is wrong.
    """
    from h3_pipeline.cli.doctor import doctor

    return doctor()


@app.command()
def stop() -> int:
    """Stop the local bucket, whoever uses it.

    Commands stop it themselves when they end; this is for one that was killed. What is in the
    bucket stays.

    \b
    Example:
      h3-pipeline stop
    Exit codes: 0 it does not run any more; 1 error.
    """
    from h3_pipeline.cli.stop import stop

    return stop()
