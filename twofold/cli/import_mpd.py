"""``twofold import-mpd``."""

from twofold import io
from twofold.cli.output import Report
from twofold.cli.sources import database_url

__all__ = ["import_mpd"]


def import_mpd(files: list[str], url: str, report: Report, *, replace: bool = False) -> None:
    """Import slices of the Million Playlist Dataset into a database.

    Writes the tables pairings (pid, tid, pos), tracks, playlists and imported_slices, each slice in
    one transaction. The same command once more goes on after an interrupt, or adds what is new.

    Parameters
    ----------
    files : list of str
        Slices (mpd.slice.*.json or .json.gz), folders, patterns or the distributed zip.
    url : str
        Database to write: an SQLAlchemy URL, or the path of an SQLite file.
    replace : bool, default False
        Drop tables of these names with all of their content, and start anew.
    """
    target = database_url(url, create=True)
    done = io.import_mpd(
        files,
        target,
        if_exists="replace" if replace else "resume",
        progress=report.progress,
    )
    values = {"playlists": done.n_playlists, "tracks": done.n_tracks, "pairs": done.n_pairs}
    counts = ", ".join(f"{count:,} {name}" for name, count in values.items())
    shown = database_url(url, create=True).render_as_string() if "://" in url else url
    report.say(
        f"{counts} are in {shown}, from {done.n_slices:,} slices ({done.n_new_slices:,} new)"
    )
    report.finish(values | {"slices": done.n_slices, "new_slices": done.n_new_slices})
