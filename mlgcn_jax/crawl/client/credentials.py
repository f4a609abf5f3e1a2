"""The user's secrets: read from environment and file, shown nowhere.

mlgcn-jax ships none. `docs/crawling.md` says where a user's own are found.
"""

import dataclasses
import os
import pathlib
import stat
from collections.abc import Mapping

from mlgcn_jax.data import files

_CLIENT = {
    "client_id": "PIXIV_CLIENT_ID",
    "client_secret": "PIXIV_CLIENT_SECRET",
    "hash_secret": "PIXIV_HASH_SECRET",
}
_REFRESH_TOKEN = "PIXIV_REFRESH_TOKEN"


@dataclasses.dataclass
class Credentials:
    """What the token server asks for.

    Attributes:
        client_id: Of the OAuth client.
        client_secret: Of the OAuth client.
        hash_secret: What its requests are signed with.
        refresh_token: Of the user's account.
        token_file: Where a new refresh token is kept; read first, where it exists.
    """

    client_id: str = dataclasses.field(repr=False)
    client_secret: str = dataclasses.field(repr=False)
    hash_secret: str = dataclasses.field(repr=False)
    refresh_token: str = dataclasses.field(repr=False)
    token_file: pathlib.Path

    def keep(self, refresh_token: str) -> None:
        """Takes a new refresh token, and writes it to a file of the user's alone."""
        self.refresh_token = refresh_token
        with files.written_whole(self.token_file) as temporary:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(os.open(temporary, flags, 0o600), "w") as file:
                os.fchmod(file.fileno(), 0o600)  # whatever was there before
                file.write(refresh_token + "\n")


def read(environment: Mapping[str, str], token_file: pathlib.Path) -> Credentials:
    """Returns the secrets; a token file, where there is one, goes before its variable.

    Raises:
        ValueError: One is missing, or others than the user may read the file.
    """
    missing = [name for name in _CLIENT.values() if not environment.get(name)]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} not set; mlgcn-jax comes without an OAuth client, "
            "docs/crawling.md says where its values are found"
        )
    refresh_token = _read_token_file(token_file) or environment.get(_REFRESH_TOKEN, "")
    if not refresh_token:
        raise ValueError(
            f"no refresh token: set {_REFRESH_TOKEN}, or write it to {token_file} "
            "(mode 0600)"
        )
    client = {field: environment[name] for field, name in _CLIENT.items()}
    for name, value in (*client.items(), ("refresh token", refresh_token)):
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise ValueError(
                f"the {name.replace('_', ' ')} holds blanks or characters that no "
                "such value has; copy it again"
            )
    return Credentials(**client, refresh_token=refresh_token, token_file=token_file)


def _read_token_file(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ValueError(
                    f"{path} has mode {mode:04o}, so that others may read the token; "
                    f"do chmod 600 {path}"
                )
            return file.read().decode("utf-8", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
