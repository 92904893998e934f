"""``twofold import-mpd``."""

from twofold import io
from twofold.cli.output import Report
from twofold.cli.sources import database_url

__all__ = ["import_mpd"]


def import_mpd(files: list[str], url: str, report: Report, *, replace: bool = False) -> None:
    """Import slices of the Million Playlist Dataset into a database.

    Writes the tables pairings (pid, tid, pos), tracks, playlists and imported_slices, each slice in
    one transaction. Repeat the command to continue after an interrupt or to add new slices.

    Parameters
    ----------
    files : list of str
        Slices (mpd.slice.*.json or .json.gz), folders, patterns or the distributed zip.
    url : str
        Database to write: an SQLAlchemy URL or the path of an SQLite file.
    replace : bool, default False
        Drop existing tables with these names and all of their content.
    """
    target = database_url(url, create=True)
    result = io.import_mpd(
        files,
        target,
        if_exists="replace" if replace else "resume",
        progress=report.progress,
    )
    values = {"playlists": result.n_playlists, "tracks": result.n_tracks, "pairs": result.n_pairs}
    counts = ", ".join(f"{count:,} {name}" for name, count in values.items())
    shown = database_url(url, create=True).render_as_string() if "://" in url else url
    report.show(
        f"{counts} are in {shown}, from {result.n_slices:,} slices ({result.n_new_slices:,} new)"
    )
    report.show_json(values | {"slices": result.n_slices, "new_slices": result.n_new_slices})
