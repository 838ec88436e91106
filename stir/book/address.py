"""Public addresses: of the repository, from `_config.yml` or from git, and of the book that its CI publishes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GITHUB = "https://github.com/"
ADDRESS = re.compile(re.escape(GITHUB) + r"[\w.-]+/[\w.-]+", re.ASCII)
# Git's address of a repository there, without the login that may stand in it.
ORIGIN = re.compile(
    r"(?:https://(?:[^@/\s]+@)?github\.com/|ssh://git@github\.com/|git@github\.com:)([\w-]+)/([\w.-]+?)(?:\.git)?/?",
    re.ASCII,
)


def origin(project: Path) -> str:
    """Return the public address of the repository that a project was cloned from, https://github.com/OWNER/NAME.

    Returns:
        "" if the project is no clone of its own, or one of a place that is not on github.com.
    """
    if not (project / ".git").exists():  # git would look for one in the folders above
        return ""
    command = ["git", "-C", str(project), "config", "--local", "--get", "remote.origin.url"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return ""
    match = ORIGIN.fullmatch(answer.stdout.strip())
    return f"{GITHUB}{match[1]}/{match[2]}" if match else ""


def published(address: str) -> str:
    """Return the address at which GitHub Pages show a repository's book, as `.github/workflows` publish it."""
    owner, name = address.removeprefix(GITHUB).split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def with_address(config: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Return the content of `_config.yml` with its empty addresses filled in, as far as they are known."""
    repository, html = dict(config.get("repository") or {}), dict(config.get("html") or {})
    address = "" if repository.get("url") else origin(project)
    if not address:
        return dict(config)
    repository["url"] = address
    html["baseurl"] = html.get("baseurl") or published(address)
    return {**config, "repository": repository, "html": html}
