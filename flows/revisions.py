"""What git keeps of an app: its folder as it stood at a revision."""

import io
import subprocess
import tarfile
from pathlib import Path

from labeling.functions import FUNCTIONS_FILE
from ledger.errors import ConfigurationError
from ledger.places import Places


def restore_app_folder(places: Places, revision: str, into: Path) -> Path:
    """Write an app's folder as it stood at a revision: ``functions.py`` and the tables beside it.

    Parameters
    ----------
    places : Places
        The app's files; the working directory is the project's root.
    revision : str
        Whatever git takes: ``HEAD``, ``main~3``, a tag.
    into : Path
        An empty folder.

    Returns
    -------
    Path
        The restored folder.

    Raises
    ------
    ConfigurationError
        If this is no git repository, or it has no such revision, or the file does not stand at it.
    """
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        if _git("rev-parse", "--git-dir") is None:
            raise ConfigurationError(f"{Path.cwd()}: no git repository; --against compares with what git keeps")
        raise ConfigurationError(
            f"no revision '{revision}' in git; expected a commit, branch or tag, such as HEAD or HEAD~1"
        )
    path = places.app_folder / FUNCTIONS_FILE
    name = commit.decode().strip()
    if _git("cat-file", "-e", f"{name}:./{path.as_posix()}") is None:
        raise ConfigurationError(f"{path} does not stand at '{revision}' ({name[:10]}); choose a later revision")
    archive = _git("archive", "--format=tar", name, "--", places.app_folder.as_posix())
    if archive is None:
        raise ConfigurationError(f"{places.app_folder} cannot be read at '{revision}' ({name[:10]})")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        # Debian 12's Python 3.11.2 knows no filters yet; the archive is of one's own repository (docs.python.org, tarfile).
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        tar.extractall(into)
    return into / places.app_folder


def _git(*arguments: str) -> bytes | None:
    """Return what git says, None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise ConfigurationError("git is not installed; --against compares with what git keeps") from None
    return done.stdout if done.returncode == 0 else None
