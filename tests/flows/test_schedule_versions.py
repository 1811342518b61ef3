"""What git keeps of scheduled runs. Each test has a repository of its own."""

import subprocess
from pathlib import Path

import pytest

from flows import versions
from flows.versions import Release
from ledger.errors import ConfigurationError, DataError

BRANCH = "releases/toy"


def git(*arguments: str, cwd: Path | None = None) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True).stdout.rstrip("\n")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    root = tmp_path / "clone"
    (root / "labeling/apps/toy").mkdir(parents=True)
    monkeypatch.chdir(root)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git("init", "-q", "-b", "main")
    git("config", "user.email", "tests@pricecut.invalid")
    git("config", "user.name", "tests")
    for name in ("params.yaml", "code.py", "labeling/apps/toy/functions.py", "gone.py"):
        (root / name).write_text("as committed\n")
    (root / ".gitignore").write_text("/ignored\n")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    return root


def run_once(message="a run", files=(Path("dvc.lock"),)) -> str:
    before = versions.tip(BRANCH)
    made = versions.commit(versions.snapshot("toy", files), BRANCH, message)
    versions.advance(BRANCH, made, before)
    return made


def test_a_commit_holds_what_ran_and_the_user_keeps_everything(repository):
    (repository / "dvc.lock").write_text("stages: {}\n")
    (repository / "code.py").write_text("edited\n")
    (repository / "params.yaml").write_text("staged\n")
    git("add", "params.yaml")
    (repository / "params.yaml").write_text("staged, then edited\n")
    (repository / "new.py").write_text("staged\n")
    git("add", "new.py")
    (repository / "gone.py").unlink()
    (repository / "labeling/apps/toy/gold.csv").write_text("not tracked yet\n")
    (repository / ".env").write_text("SECRET=1\n")
    (repository / "ignored").write_text("ignored\n")
    before = git("status", "--porcelain=v2", "--branch"), git("diff", "--cached"), git("diff"), git("stash", "list")

    made = run_once()

    assert before == (
        git("status", "--porcelain=v2", "--branch"),
        git("diff", "--cached"),
        git("diff"),
        git("stash", "list"),
    )
    kept = {name: versions.file_at(made, Path(name)) for name in git("ls-tree", "-r", "--name-only", made).splitlines()}
    assert kept == {
        ".gitignore": "/ignored",
        "params.yaml": "staged, then edited",
        "code.py": "edited",
        "labeling/apps/toy/functions.py": "as committed",
        "labeling/apps/toy/gold.csv": "not tracked yet",
        "new.py": "staged",
        "dvc.lock": "stages: {}",
    }
    assert git("rev-parse", "--abbrev-ref", "HEAD") == "main" and versions.tip(BRANCH) == made


def test_the_branch_follows_the_users_and_can_be_merged_back(repository):
    first = run_once()
    assert git("rev-parse", f"{first}^@") == git("rev-parse", "HEAD")
    second = run_once()
    assert git("rev-parse", f"{second}^@") == first
    (repository / "code.py").write_text("more\n")
    git("commit", "-q", "-am", "more")
    third = run_once()
    assert git("rev-parse", f"{third}^@").splitlines() == [second, git("rev-parse", "HEAD")]
    git("merge", "-q", "--ff-only", BRANCH)
    assert git("rev-parse", "HEAD") == third


def test_a_branch_that_moved_meanwhile_is_not_overwritten(repository):
    made = versions.commit(versions.snapshot("toy", []), BRANCH, "mine")
    other = run_once("another's")
    with pytest.raises(DataError, match="git update-ref: "):
        versions.advance(BRANCH, made, None)
    assert versions.tip(BRANCH) == other


def test_a_branch_that_is_checked_out_is_refused(repository, tmp_path):
    run_once()
    versions.check_branch(BRANCH)
    git("worktree", "add", "-q", str(tmp_path / "elsewhere"), BRANCH)
    with pytest.raises(ConfigurationError, match="'releases/toy' is checked out"):
        versions.check_branch(BRANCH)


def test_what_is_no_branch_and_no_repository(repository, tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"schedule\.branch: 're leases/toy' is no name"):
        versions.check_branch("re leases/toy")
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    with pytest.raises(ConfigurationError, match="no git repository with a commit"):
        versions.check_branch(BRANCH)


def test_versions_are_gtos_tags(repository):
    assert versions.versions("toy") == []
    commits = []
    for number in range(11):
        (repository / "code.py").write_text(f"{number}\n")
        commits.append(run_once())
        assert versions.register("toy", commits[-1], f"number {number}").version == f"v0.0.{number + 1}"
    found = versions.versions("toy")
    assert found[0] == Release("toy", "v0.0.11", commits[-1]) and found[-1] == Release("toy", "v0.0.1", commits[0])
    assert git("for-each-ref", "--format=%(contents)", "refs/tags/toy@v0.0.3") == "number 2"
    versions.forget(found[-1], None)
    assert [release.version for release in versions.versions("toy")][-1] == "v0.0.2"


def test_git_that_knows_no_name_still_commits(repository):
    git("config", "--unset", "user.email")
    git("config", "--unset", "user.name")
    made = run_once()
    assert git("log", "-1", "--format=%an <%ae>", made) == "pricecut <pricecut@localhost>"
    assert versions.register("toy", made, "why").tag == "toy@v0.0.1"


def test_two_machines_share_branch_and_tags_by_a_git_remote(repository, tmp_path, monkeypatch):
    remote, second = tmp_path / "remote.git", tmp_path / "second"
    git("init", "-q", "--bare", "-b", "main", str(remote))
    git("remote", "add", "origin", str(remote))
    git("push", "-q", "origin", "main")
    git("clone", "-q", str(remote), str(second))

    versions.fetch("origin", BRANCH, "toy")
    assert not versions.push("origin", BRANCH, "toy")
    first = run_once()
    versions.register("toy", first, "why")
    assert versions.push("origin", BRANCH, "toy")
    versions.fetch("origin", BRANCH, "toy")
    assert not versions.push("origin", BRANCH, "toy")

    monkeypatch.chdir(second)
    git("config", "user.email", "tests@pricecut.invalid")
    git("config", "user.name", "tests")
    versions.fetch("origin", BRANCH, "toy")
    assert versions.tip(BRANCH) == first and versions.versions("toy") == [Release("toy", "v0.0.1", first)]
    (second / "code.py").write_text("of the second\n")
    theirs = run_once()
    versions.register("toy", theirs, "why")
    versions.push("origin", BRANCH, "toy")
    assert {ref.split()[1] for ref in git("ls-remote", str(remote)).splitlines()} >= {
        f"refs/heads/{BRANCH}", "refs/tags/toy@v0.0.1", "refs/tags/toy@v0.0.2",
    }  # fmt: skip

    monkeypatch.chdir(repository)
    (repository / "code.py").write_text("of the first\n")
    run_once()  # it did not fetch before
    with pytest.raises(DataError, match="'releases/toy' here and at 'origin' have parted; run `git branch -f"):
        versions.fetch("origin", BRANCH, "toy")
    git("branch", "-f", BRANCH, f"origin/{BRANCH}")
    versions.fetch("origin", BRANCH, "toy")
    versions.forget(Release("toy", "v0.0.1", first), "origin")
    assert "toy@v0.0.1" not in git("ls-remote", str(remote))


def test_a_remote_that_is_gone_is_an_error_without_its_password(repository):
    git("remote", "add", "origin", "https://user:hunter2@127.0.0.1:9/none.git")
    with pytest.raises(DataError, match="git fetch: ") as caught:
        versions.fetch("origin", BRANCH, "toy")
    assert "hunter2" not in str(caught.value)


def test_what_a_lock_says_of_an_app():
    lock = "stages:\n  vote@toy: {cmd: a}\n  vote@other: {cmd: b}\n"
    assert versions.locked(lock, ["vote@toy", "label@toy"]) == {"vote@toy": {"cmd": "a"}}
    assert versions.locked("", ["vote@toy"]) == {}
