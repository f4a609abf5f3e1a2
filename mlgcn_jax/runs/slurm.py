"""How SLURM writes its nodes and tasks down."""

import re


def first_node(nodes: str) -> str:
    """Returns the first name of a list: `n[2-4,7]` -> `n2`, `a01,b02` -> `a01`.

    Raises:
        ValueError: it is no such list.
    """
    name = re.match(r"(?:[^,\[\]]|\[[^\]]*\])+", nodes)
    if name is None:
        raise ValueError(f"found {nodes!r}, expected a list of nodes, say n[1-2],m01")
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", name[0])


def expand_counts(counts: str) -> list[int]:
    """Returns one number a node: `2(x3),1` -> [2, 2, 2, 1].

    Raises:
        ValueError: it is no such list.
    """
    expanded = []
    for part in counts.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if found is None:
            raise ValueError(f"found {counts!r}, expected tasks a node, say 2(x3),1")
        expanded += [int(found[1])] * int(found[2] or 1)
    return expanded


def step_number(job_id: int, step_id: int) -> int:
    """Returns a number that differs between the steps of jobs that may share a node.

    No two are the same modulo 4096 of 132 jobs in a row with up to 31 steps each.
    """
    return 31 * job_id + step_id
