"""Which pictures are fetched where there are to be at most N a label."""

import collections
import sqlite3


def choose(connection: sqlite3.Connection, quota: int | None) -> None:
    """Marks the pictures to fetch, within a transaction; depends on nothing but them.

    Labels choose in turn, that of the fewest works first, each in the random but fixed
    order of fetching: a fair sample of all days. A work counts for each of its labels
    and is passed over where one of them is full. What is done already counts first.

    Args:
        connection: To the manifest.
        quota: Most pictures a label; None to choose all.
    """
    if quota is None:
        connection.execute("UPDATE picture SET chosen = 1 WHERE NOT chosen")
        return
    connection.execute("CREATE TEMP TABLE chosen (work_id INTEGER PRIMARY KEY)")
    room = collections.Counter(
        {
            label: quota - done
            for label, done in connection.execute(
                "SELECT label.id, count(work_id) FROM label LEFT JOIN ("
                "work_label JOIN picture USING (work_id)"
                ") ON label_id = label.id AND state = 'done' GROUP BY label.id"
            )
        }
    )
    for (label,) in connection.execute(
        "SELECT label_id FROM work_label GROUP BY label_id ORDER BY count(*), label_id"
    ).fetchall():
        _choose_for(connection, label, room)
    connection.execute(
        "UPDATE picture SET chosen = work_id IN chosen WHERE state != 'done'"
    )
    connection.execute("DROP TABLE chosen")


def _choose_for(
    connection: sqlite3.Connection, label: int, room: collections.Counter[int]
) -> None:
    candidates = connection.execute(
        "SELECT work_id, count(*) FROM work_label JOIN picture USING (work_id) "
        "WHERE label_id = ? AND state IN ('owed', 'failed') "
        "AND work_id NOT IN (SELECT work_id FROM temp.chosen) "
        "GROUP BY work_id ORDER BY min(rank), work_id",
        (label,),
    )
    for work_id, num_pictures in candidates:
        if room[label] <= 0:
            return
        labels = [
            row[0]
            for row in connection.execute(
                "SELECT label_id FROM work_label WHERE work_id = ?", (work_id,)
            )
        ]
        if all(room[other] >= num_pictures for other in labels):
            connection.execute("INSERT INTO temp.chosen VALUES (?)", (work_id,))
            room.subtract(dict.fromkeys(labels, num_pictures))
