"""Links ``benchmarks/public`` to the public data that ``PRICECUT_DATA`` names, and says what is missing there.

Needs nothing but Python, so that it runs before the environment is there.
"""

import os
import sys
from pathlib import Path

LINK = Path("benchmarks/public")

SPLITS = ("youtube/train.json", "youtube/valid.json", "youtube/test.json")
VIDEOS = ("01-Psy", "02-KatyPerry", "03-LMFAO", "04-Eminem", "05-Shakira")
NEEDED = {
    "youtube_spam": (*(f"youtube/raw/Youtube{video}.csv" for video in VIDEOS), *SPLITS),
    "youtube_wrench": SPLITS,
}
"""The files that each app's sources are."""


def missing_files(folder: Path) -> dict[str, list[str]]:
    """Return, for each app that cannot run, the files it lacks."""
    lacking = {app: [file for file in files if not (folder / file).is_file()] for app, files in NEEDED.items()}
    return {app: files for app, files in lacking.items() if files}


def public_data(needed: str = ".") -> Path:
    """Return the folder that ``PRICECUT_DATA`` names; exit with 2, and one sentence, where it lacks what is needed."""
    named = os.environ.get("PRICECUT_DATA")
    if not named:
        sys.stderr.write(
            "PRICECUT_DATA is not set; expected the folder of the public data: PRICECUT_DATA=/path make data\n"
        )
        sys.exit(2)
    folder = Path(named)
    if not (folder / needed).exists():
        sys.stderr.write(f"{folder / needed}: not found; set PRICECUT_DATA to the folder of the public data\n")
        sys.exit(2)
    return folder


def link(folder: Path) -> None:
    """Make the link, or move it; a folder that someone put there is left alone."""
    target = folder.resolve()  # before the old link goes: PRICECUT_DATA may be the link itself
    if LINK.is_symlink():
        LINK.unlink()
    if LINK.exists():
        sys.stderr.write(
            f"{LINK}: is a folder, not a link; move it to a place of its own, and set PRICECUT_DATA to that\n"
        )
        sys.exit(2)
    LINK.symlink_to(target)


def main() -> None:
    """Link, and report; exit with 2 where something is missing."""
    folder = public_data()
    link(folder)
    sys.stdout.write(f"{LINK} -> {folder.resolve()}\n")
    lacking = missing_files(folder)
    for app, files in lacking.items():
        sys.stderr.write(f"{app} cannot run, missing under {folder}: {', '.join(files)}\n")
    if not lacking:
        sys.stdout.write("nothing is missing\n")
    sys.exit(2 if lacking else 0)


if __name__ == "__main__":
    main()
