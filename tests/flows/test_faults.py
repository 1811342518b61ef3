"""What goes wrong around DVC, brought about for real: full disks, corrupted objects, damaged files, a lost remote, a clock that goes back."""

import contextlib
import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.faults import advice, is_sound_state, not_kept, remove_damaged_state, translate
from flows.objects import (
    ASIDE,
    clear_halves,
    copying_errors,
    drop_corrupted,
    fetch_missing,
    forget_hashes,
    mend_objects,
    missing_objects,
    verify_objects,
)
from ledger.errors import ConfigurationError, DataError
from tests.flows.tiny import make_project, shell

FIRST = hashlib.md5(b"4\n").hexdigest()


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A project in which everything has run, with a remote that has it all."""
    root = make_project(tmp_path_factory.mktemp("faults") / "project")
    shell(
        root, "dvc remote add -q -d store ../store && dvc repro -q && dvc push -q && git add -A && git commit -qm ran"
    )
    return root


@pytest.fixture
def root(ran, tmp_path, monkeypatch) -> Path:
    shutil.copytree(ran.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def repo(root):
    from dvc.repo import Repo

    with Repo() as opened:
        yield opened


def outs(repo, *names):
    return [out for out in repo.index.outs if not names or Path(out.fs_path).name in names]


def cached(root: Path, digest: str) -> Path:
    return root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def corrupt(path: Path, content: bytes = b"5\n") -> None:
    """Change a file's bytes and nothing else that DVC looks at."""
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(stat.st_mode & 0o777)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "1m", options: str = ""):
    """A disk of a given size, mounted for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_dvc_itself_takes_a_corrupted_object_for_sound(root):
    """Should this ever fail, flows.objects has become needless."""
    corrupt(cached(root, FIRST))
    (root / "out/first.txt").unlink()
    shell(root, "dvc repro -q first")
    assert (root / "out/first.txt").read_text() == "5\n"


def test_objects_that_are_what_they_say_are_left_alone(repo, root):
    assert verify_objects(outs(repo)) == [] and drop_corrupted(outs(repo)) == [] and not (root / ASIDE).exists()


def test_a_corrupted_object_is_dropped_and_kept_for_a_look(repo, root):
    corrupt(cached(root, FIRST))
    assert verify_objects(outs(repo)) == [cached(root, FIRST)]
    (said,) = drop_corrupted(outs(repo))
    assert FIRST in said and not cached(root, FIRST).exists()
    assert (root / ASIDE / FIRST).read_bytes() == b"5\n"
    (root / "out/first.txt").unlink()
    assert "Running stage 'first'" in shell(root, "dvc repro first").stdout
    assert (root / "out/first.txt").read_text() == "4\n"


@pytest.mark.parametrize("what", ["the folder's list", "a file in it"])
def test_a_corrupted_folder(repo, root, what):
    (out,) = outs(repo, "second")
    digest = out.hash_info.value if what == "the folder's list" else FIRST
    corrupt(cached(root, digest), b"[]" if what == "the folder's list" else b"9\n")
    assert verify_objects([out]) == [cached(root, digest)]
    assert len(drop_corrupted([out])) == 1 and missing_objects([out]) == ["out/second"]


def test_a_truncated_object(repo, root):
    corrupt(cached(root, FIRST), b"")
    assert len(drop_corrupted(outs(repo, "first.txt"))) == 1


def test_what_is_missing_is_fetched_from_the_remote(repo, root):
    corrupt(cached(root, FIRST))
    told: list[str] = []
    drop_corrupted(outs(repo))
    fetch_missing(repo, outs(repo, "first.txt", "second"), told.append)
    assert told == [] and cached(root, FIRST).read_bytes() == b"4\n" and missing_objects(outs(repo)) == []


def test_what_comes_corrupted_from_the_remote_is_dropped(repo, root):
    cached(root, FIRST).unlink()
    corrupt(root.parent / "store/files/md5" / FIRST[:2] / FIRST[2:])
    told: list[str] = []
    fetch_missing(repo, outs(repo, "first.txt"), told.append)
    assert told[0].startswith("from the remote: DVC's cache: the object") and not cached(root, FIRST).exists()
    assert told[1:] == ["the remote 'store' does not have, or cannot give, out/first.txt: made here"]


def test_a_remote_that_is_lost_is_told_and_no_more(repo, root):
    cached(root, FIRST).unlink()
    shutil.rmtree(root.parent / "store")
    told: list[str] = []
    fetch_missing(repo, outs(repo, "first.txt"), told.append)
    assert told == ["the remote 'store' does not have, or cannot give, out/first.txt: made here"]


def test_of_a_remote_that_was_never_pushed_to_nothing_is_told(repo, root):
    cached(root, FIRST).unlink()
    shutil.rmtree(root.parent / "store")
    (root.parent / "store").mkdir()
    told: list[str] = []
    fetch_missing(repo, outs(repo, "first.txt"), told.append)
    assert told == [] and not cached(root, FIRST).exists()


def test_a_remote_that_cannot_be_reached_is_told_and_no_more(root):
    from dvc.repo import Repo

    shell(root, "dvc remote modify store url http://127.0.0.1:9/none")
    cached(root, FIRST).unlink()
    told: list[str] = []
    with Repo() as repo:
        fetch_missing(repo, outs(repo, "first.txt"), told.append)
    assert told == ["the remote 'store' does not have, or cannot give, out/first.txt: made here"]


def test_nothing_corrupted_is_pushed_and_the_workspace_mends_the_cache(repo, root):
    corrupt(cached(root, FIRST))
    shutil.rmtree(root.parent / "store")
    said, lost = mend_objects(repo, repo.index.outs)
    assert len(said) == 1 and lost == [] and cached(root, FIRST).read_bytes() == b"4\n"
    shell(root, "dvc push -q")
    assert (root.parent / "store/files/md5" / FIRST[:2] / FIRST[2:]).read_bytes() == b"4\n"


def test_nothing_corrupted_is_pushed_where_the_workspace_cannot_help(repo, root):
    corrupt(cached(root, FIRST))
    (root / "out/first.txt").write_text("mine\n")
    shutil.rmtree(root / "out/second")
    said, lost = mend_objects(repo, repo.index.outs)
    assert len(said) == 1 and set(lost) == {"out/first.txt", "out/second"}
    assert (root / "out/first.txt").read_text() == "mine\n"


def test_the_command_pushes_sound_objects_only(root):
    store = root.parent / "store"
    shutil.rmtree(store)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("scale: 2", "scale: 9"))
    shell(root, "dvc repro -q first")
    (root / "params.yaml").write_text(text)
    shell(root, "dvc repro -q first")
    other = hashlib.md5(b"18\n").hexdigest()
    corrupt(cached(root, other))
    corrupt(cached(root, FIRST))
    done = shell(root, "python -m flows.command push 2>&1")
    assert FIRST in done.stdout and other in done.stdout and done.stdout.count("was corrupted") == 2
    assert not (store / "files/md5" / other[:2] / other[2:]).exists()
    assert (store / "files/md5" / FIRST[:2] / FIRST[2:]).read_bytes() == b"4\n" and (store / "runs").is_dir()
    shutil.rmtree(store)
    corrupt(cached(root, FIRST))
    (root / "out/first.txt").unlink()
    refused = shell(root, "python -m flows.command push", check=False)
    assert refused.returncode == 2 and "out/first.txt" in refused.stderr and "nothing is pushed" in refused.stderr
    assert not store.exists()


def test_a_full_disk_under_the_cache_is_noticed(root, capfd):
    from dvc.repo import Repo

    (root / "dvc.yaml").write_text(
        "stages:\n  big:\n    cmd: head -c 3000000 /dev/zero > out/big.bin\n    deps: [source.csv]\n    outs: [out/big.bin]\n"
    )
    shell(root, "head -c 3000000 /dev/zero > out/big.bin")
    with small_disk(root / ".dvc/cache/files/md5"), Repo() as repo:
        (out,) = outs(repo, "big.bin")
        out.save()
        with copying_errors() as errors:
            out.commit(relink=False)  # DVC says nothing
        assert missing_objects([out]) == ["out/big.bin"] and "failed to transfer" not in capfd.readouterr().err
        said = str(not_kept(missing_objects([out]), repo.cache.local.path, errors))
        assert said.startswith("out/big.bin: could not be copied to DVC's cache")
        assert "(No space left on device), where 0 MB are free" in said
        (half,) = (root / ".dvc/cache/files/md5").rglob(".*.tmp")
        with half.open():
            assert clear_halves(repo) == 0, "it may still be written to"
        assert clear_halves(repo) > 500_000 and not half.exists()


def test_errors_of_a_disk_name_the_file_and_what_to_do(tmp_path):
    with small_disk(tmp_path / "full", "64k"), pytest.raises(OSError) as full:
        (tmp_path / "full/file").write_bytes(b"x" * 200_000)
    full.value.filename = "models/x"
    assert str(translate(full.value)).startswith("models/x: the disk is full; free some space")
    with small_disk(tmp_path / "read_only", options=",ro"), pytest.raises(OSError) as read_only:
        (tmp_path / "read_only/file").touch()
    said = translate(read_only.value)
    assert isinstance(said, DataError) and said.exit_code == 2
    assert str(said).startswith(f"{tmp_path}/read_only/file: the disk is mounted read-only")


def test_a_limit_on_the_size_of_files(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    program = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from flows.faults import translate\n"
        "try:\n    with open('file', 'wb', buffering=0) as f:\n        f.write(b'x' * 5000), f.write(b'x')\n"
        "except OSError as error:\n    print(translate(error))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, preexec_fn=limit, capture_output=True, text=True
    )
    assert "larger than this process may write" in done.stdout, done.stderr


def raised(work) -> BaseException:
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


def test_errors_of_dvc_are_one_sentence(root, repo):
    from dvc.rwlock import rwlock

    (root / ".dvc/tmp/rwlock").write_text('{"wri')
    with contextlib.ExitStack() as stack:
        busy = rwlock(repo.tmp_dir, repo.fs, "x", [], [], False)
        said = str(translate(raised(lambda: stack.enter_context(busy))))
    assert said.startswith(".dvc/tmp/rwlock: cannot be read") and "writes it anew" in said

    cached(root, FIRST).unlink()
    (root / "out/first.txt").unlink()
    said = str(translate(raised(lambda: repo.checkout(targets=["first"]))))
    assert "not in DVC's cache; `dvc fetch`" in said and "first.txt" in said

    (root / ".dvc/config.local").write_text("[core]\n    remote = nowhere\n")
    repo._reset()
    assert str(translate(raised(lambda: repo.push()))).startswith("DVC's remote: ")


def test_what_is_not_theirs_is_not_translated():
    assert translate(KeyError("x")) is None and translate(FileNotFoundError(2, "none")) is None
    own = ConfigurationError("params.yaml: x")
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = own
    assert translate(wrapped) is own


def test_databases_that_are_damaged_are_removed_and_sound_ones_stay(root, repo):
    repo.close()
    folder = Path(repo.site_cache_dir)
    assert is_sound_state(folder) and remove_damaged_state(folder) == []
    database = folder / "hashes/local/cache.db"
    database.write_bytes(b"no database at all, and long enough to be looked at " * 100)
    for companion in database.parent.glob("cache.db-*"):
        companion.unlink()
    from dvc.repo import Repo

    error = raised(lambda: Repo())
    assert isinstance(error, sqlite3.DatabaseError) and "it only saves time" in str(translate(error))
    assert not is_sound_state(folder)
    (said,) = remove_damaged_state(folder)
    assert "hashed anew" in said and (folder / "links/cache.db").exists()
    assert shell(root, "dvc status").stdout.strip() == "Data and pipelines are up to date."


def test_a_database_that_was_cut_off(root, repo):
    repo.close()
    database = Path(repo.site_cache_dir) / "hashes/local/cache.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with database.open("r+b") as stream:
        stream.truncate(database.stat().st_size // 2)
    assert len(remove_damaged_state(Path(repo.site_cache_dir))) == 1


@pytest.mark.parametrize("clock", [0, 2**33])
def test_a_clock_far_off_changes_nothing(root, repo, clock):
    for path in [*root.glob("out/*.*"), *root.glob("code/*"), *(root / ".dvc/cache").rglob("*")]:
        if path.is_file():
            os.utime(path, (clock, clock))
    assert repo.status() == {}
    (root / "source.csv").write_text("a\nc\n")
    os.utime(root / "source.csv", (clock, clock))
    assert set(repo.status()) == {"first", "aside"}


def test_a_file_that_looks_like_the_one_before_is_hashed_anew(root, repo):
    (out,) = outs(repo, "first.txt")
    assert out.get_hash().value == FIRST
    corrupt(root / "out/first.txt")
    assert out.get_hash().value == FIRST, "DVC does not see it"
    forget_hashes(repo, outs(repo))
    assert out.get_hash().value == hashlib.md5(b"5\n").hexdigest()


def test_half_written_objects_that_nobody_writes_are_cleared_away(root, repo):
    left, busy = cached(root, FIRST).with_name(".abc.tmp"), cached(root, FIRST).with_name(".def.tmp")
    for half in (left, busy):
        half.write_bytes(b"x" * 1000)
    with busy.open("ab"):
        assert clear_halves(repo) == 1000
    assert busy.exists() and not left.exists() and cached(root, FIRST).exists()


def test_in_a_cache_elsewhere_half_written_objects_are_cleared_away_when_they_are_old(root, tmp_path):
    from dvc.repo import Repo

    shared = tmp_path / "shared"
    shell(root, f"dvc config cache.dir {shared} -q")
    (shared / "files/md5/ab").mkdir(parents=True)
    old, new = shared / "files/md5/ab/.abc.tmp", shared / "files/md5/ab/.def.tmp"
    for half in (old, new):
        half.write_bytes(b"x" * 1000)
    os.utime(old, (time.time() - 3600,) * 2)
    with Repo() as repo:
        assert clear_halves(repo) == 1000
    assert new.exists() and not old.exists()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("OSError: [Errno 28] No space left on device: 'x'", "the disk is full"),
        ("cp: error writing 'x': No space left on device", "the disk is full"),
        ("sqlite3.OperationalError: database or disk is full", "the disk is full"),
        ("tar: x: Read-only file system", "mounted read-only"),
        ("write: Disk quota exceeded", "quota"),
    ],
)
def test_what_a_stage_says_of_its_disk(line, hint):
    assert hint in (advice(["teach: 3 epochs", line, "bye"]) or "")
    assert advice(["teach: 3 epochs", "ValueError: no"]) is None
