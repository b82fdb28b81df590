"""Fixtures of the tests of scripts/apply_patch.sh and of what it patches."""

import os
import shutil
import subprocess

import pytest
from projects import MARKED, PROJECTS, SCRIPT, given_checkout


@pytest.fixture
def env(tmp_path):
    """An environment of its own: no global git config, a home for pyximport's builds, no network."""
    home = tmp_path / "home"
    home.mkdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours.update(
        HOME=str(home),
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
        GIT_AUTHOR_NAME="test",
        GIT_AUTHOR_EMAIL="test@example.invalid",
        GIT_COMMITTER_NAME="test",
        GIT_COMMITTER_EMAIL="test@example.invalid",
        GIT_ALLOW_PROTOCOL="file",
        **{project.url_variable: "file:///nonexistent" for project in PROJECTS},
    )
    return ours


@pytest.fixture
def git(env):
    def run(folder, *arguments):
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture
def apply_patch(env, tmp_path):
    def run(*arguments, **variables):
        command = [shutil.which("bash"), str(SCRIPT), *map(str, arguments)]
        environment = {**env, **variables}
        return subprocess.run(command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True)

    return run


@pytest.fixture(params=MARKED)
def project(request):
    """Each upstream, for tests that need its checkout."""
    return request.param


@pytest.fixture
def checkout(project, tmp_path, git):
    """A clean copy of upstream at the pinned commit; files that the given checkout skips stay skipped."""
    folder = tmp_path / "upstream"
    shutil.copytree(given_checkout(project), folder, symlinks=True)
    git(folder, "checkout", "--quiet", "--force", "--detach", project.pin)
    git(folder, "clean", "--quiet", "-xd", "--force")
    assert git(folder, "status", "--porcelain") == ""
    return folder
