"""Removes an author or a work from a crawl, for good."""

import dataclasses
import pathlib

from mlgcn_jax.crawl import export, picture_task
from mlgcn_jax.crawl.records import lock
from mlgcn_jax.crawl.records import manifest as manifests
from mlgcn_jax.data.layouts import metadata_file


def purge(
    folder: pathlib.Path, *, user: int | None = None, work: int | None = None
) -> int:
    """Deletes files and records, and keeps them from coming back; returns how many.

    They join the opt-out lists of the crawl. Killed in the middle, it leaves what is
    not deleted yet on those lists, and can be run again. What was exported to the
    folder itself is written anew; other folders that were exported to are not known.

    Args:
        folder: Of the crawl.
        user: Id of the author of the works to purge; or
        work: the id of one.

    Raises:
        FileNotFoundError: There is no crawl.
        OSError: A crawler is at work, or something cannot be deleted.
    """
    users = frozenset() if user is None else frozenset({user})
    works = frozenset() if work is None else frozenset({work})
    with manifests.opened(folder) as manifest, lock.hold(folder, "mlgcn crawl purge"):
        wanted = manifest.read_filters()
        ids = [
            row[0]
            for row in manifest.connection.execute(
                "SELECT id FROM work WHERE user_id = ? OR id = ?", (user, work)
            )
        ]
        with manifest.transaction() as connection:
            manifest.write_filters(
                dataclasses.replace(
                    wanted,
                    opt_out_users=wanted.opt_out_users | users,
                    opt_out_works=wanted.opt_out_works | works,
                )
            )
            connection.executemany(
                "UPDATE work SET excluded = 'opt-out list' WHERE id = ?",
                ((id_,) for id_ in ids),
            )
        for id_ in ids:
            picture_task.remove_files(folder, id_)
        with manifest.transaction() as connection:
            for table, column in (
                ("picture", "work_id"),
                ("work_label", "work_id"),
                ("work", "id"),
            ):
                connection.executemany(
                    f"DELETE FROM {table} WHERE {column} = ?", ((id_,) for id_ in ids)
                )
        # Nor shall the log of earlier writes keep it.
        manifest.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for file, write in (
        (metadata_file.METADATA, export.export),
        (export.IDS, export.export_ids),
    ):
        if (folder / file).is_file():
            write(folder, folder)
    return len(ids)
