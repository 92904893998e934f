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
        typer.Argument(
            help="Slices, folders, patterns, or the zip archive of the dataset.", metavar="FILES..."
        ),
    ],
    url: Annotated[str, typer.Argument(help="Database to write.", metavar="URL")],
    replace: Annotated[
        bool,
        typer.Option(help="Drop existing tables of these names first."),
    ] = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Import slices of the Million Playlist Dataset into a database.

    Writes the tables pairings (pid, tid, pos), tracks, playlists and imported_slices, each slice in
    one transaction. The same command continues after an interrupt, and adds new slices.
    """
    from twofold.io import import_mpd

    done = import_mpd(
        files,
        opt.source_url(url),
        if_exists="replace" if replace else "resume",
        progress=not quiet,
    )
    values = {"playlists": done.n_playlists, "tracks": done.n_tracks, "pairs": done.n_pairs}
    if as_json:
        write_json(values | {"slices": done.n_slices, "new_slices": done.n_new_slices})
    else:
        counts = ", ".join(f"{count:,} {name}" for name, count in values.items())
        say(f"{counts} are in {url}, from {done.n_slices:,} slices ({done.n_new_slices:,} new)")
