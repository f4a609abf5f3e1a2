"""Fetches what is owed: threads ask and write files, one thread writes the manifest.

A picture is recorded once its file is whole under its name, many in one transaction. So
after a kill a few files may be there that nobody knows of: these are fetched again.
"""

from absl import logging

from mlgcn_jax.crawl import crew, picture_task, progress, sessions
from mlgcn_jax.crawl.records import picture_records, quota, work_records, works

_MAX_FAILURES_IN_A_ROW = 100  # pictures; then it is the site, or the way there


def fetch(session: sessions.Session, *, size: str, per_label: int | None) -> int:
    """Fetches all pictures that are owed and chosen; returns how many failed.

    Args:
        session: Of this run.
        size: Of pictures, one of works.SIZES.
        per_label: At most so many pictures a label; None is no limit.

    Raises:
        OSError: One picture after the other failed, or the disk is full.
        RefusedError: The site takes the account's token no longer.
        DailyCapError: No more today.
    """
    connection = session.manifest.connection
    picture_task.prepare_folder(session.folder)
    with session.manifest.transaction():
        picture_records.owe_failed(connection)
        quota.choose(connection, per_label)
    num_owed = picture_records.count_owed(connection)
    logging.info("%d pictures to fetch", num_owed)
    task = picture_task.PictureTask(
        session.folder, session.client, session.wanted, size
    )
    hands = crew.Crew(session.manners.connections, task.fetch, session.stop)
    shown = progress.Progress("pictures")
    owed = picture_records.iterate_owed(connection)
    failed = in_a_row = 0
    try:
        while hands.give(owed):
            outcomes = hands.take()
            _record(session, outcomes)
            for outcome in outcomes:
                bad = outcome.state == "failed"
                failed, in_a_row = failed + bad, in_a_row + 1 if bad else 0
            if in_a_row >= _MAX_FAILURES_IN_A_ROW:
                raise OSError(
                    f"{in_a_row} pictures in a row failed, the last: "
                    f"{outcomes[-1].reason}; start the same command again later"
                )
            num_owed -= len(outcomes)
            shown.add(len(outcomes), f"{num_owed} to go, {failed} failed")
    finally:
        # What came meanwhile is there: it need not be fetched again.
        _record(session, hands.dismiss())
    return failed


def _record(session: sessions.Session, outcomes: list[picture_task.Outcome]) -> None:
    with session.manifest.transaction() as connection:
        for outcome in outcomes:
            if outcome.revised is not None:
                work = works.parse(outcome.revised)
                work_records.store(connection, work, outcome.revised, session.wanted)
            if outcome.stored is not None:
                picture_records.set_done(connection, outcome.owed, outcome.stored)
            else:
                picture_records.set_state(
                    connection, outcome.owed, outcome.state, outcome.reason
                )
        session.run.save(pictures=sum(o.state == "done" for o in outcomes))
