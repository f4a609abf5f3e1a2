"""Secrets: where they come from, who can read them, and that nothing shows them."""

import os
import stat

import crawl_runs
import pytest

from mlgcn_jax.crawl.client import credentials

SECRETS = tuple(crawl_runs.ENVIRONMENT.values())


def test_the_token_of_the_file_goes_before_that_of_the_environment(tmp_path):
    path = tmp_path / "token"
    secrets = credentials.read(crawl_runs.ENVIRONMENT, path)
    assert secrets.refresh_token == crawl_runs.ENVIRONMENT["PIXIV_REFRESH_TOKEN"]
    path.write_text("another\n")
    path.chmod(0o600)
    assert credentials.read(crawl_runs.ENVIRONMENT, path).refresh_token == "another"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "token"
    path.write_text("a-secret-token")
    path.chmod(mode)
    with pytest.raises(ValueError, match=f"mode {mode:04o}.*chmod 600") as caught:
        credentials.read(crawl_runs.ENVIRONMENT, path)
    assert "a-secret-token" not in str(caught.value)


def test_a_new_token_is_kept_for_the_user_alone(tmp_path):
    path = tmp_path / "token"
    old = os.umask(0)
    try:
        secrets = credentials.read(crawl_runs.ENVIRONMENT, path)
        secrets.keep("new-token")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.read(crawl_runs.ENVIRONMENT, path).refresh_token == "new-token"
    assert os.listdir(tmp_path) == ["token"]


@pytest.mark.parametrize("name", sorted(crawl_runs.ENVIRONMENT))
def test_what_is_missing_is_named(tmp_path, name):
    environment = crawl_runs.ENVIRONMENT | {name: ""}
    with pytest.raises(ValueError, match=name):
        credentials.read(environment, tmp_path / "token")


@pytest.mark.parametrize("bad", ["to ken", "tok\nen", "tök"])
def test_what_cannot_be_a_token_is_told_but_not_shown(tmp_path, bad):
    environment = crawl_runs.ENVIRONMENT | {"PIXIV_REFRESH_TOKEN": bad}
    with pytest.raises(ValueError, match="the refresh token holds blanks") as caught:
        credentials.read(environment, tmp_path / "token")
    assert bad not in str(caught.value)


def test_secrets_are_not_shown(tmp_path):
    secrets = credentials.read(crawl_runs.ENVIRONMENT, tmp_path / "token")
    assert not any(secret in f"{secrets} {secrets!r}" for secret in SECRETS)
