"""``twofold import-mpd``."""

from typing import Annotated

import typer

from twofold.cli import options as opt
from twofold.cli.output import (
    say,
    write_json,
)


def import_mpd(
    files: Annotated[
        list[str],
        typer.Argument(help="Slices (mpd.slice.*.json), folders or patterns.", metavar="FILES..."),
    ],
    url: Annotated[str, typer.Argument(help="Database to write.", metavar="URL")],
    replace: Annotated[bool, typer.Option(help="Replace tables that exist.")] = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Import slices of the Million Playlist Dataset into a database.

    Writes the tables pairings (pid, tid), tracks and playlists in one transaction.
    """
    from twofold.io import read_mpd, write_sql

    pairings = read_mpd(files, progress=not quiet)
    write_sql(pairings, opt.source_url(url), if_exists="replace" if replace else "error")
    values = {
        "playlists": pairings.shape[0],
        "tracks": pairings.shape[1],
        "pairs": pairings.n_pairs,
    }
    if as_json:
        write_json(values)
    else:
        say(", ".join(f"{count:,} {name}" for name, count in values.items()) + f" are in {url}")
