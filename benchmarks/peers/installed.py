"""The peers' packages: installed on first use into a folder that Git ignores, in the versions that are pinned here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".peers"


class NotInstalled(Exception):
    """A peer's packages cannot be had on this machine; the message says why."""


def node_modules() -> Path:
    """Return the folder in which node finds the providers and our stores for them."""
    folder = FOLDER / "node"
    if not (folder / "node_modules" / "oidc-provider").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        _run(["npm", "ci", "--no-audit", "--no-fund"], folder)
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def python(requirements: str) -> Path:
    """Return the interpreter of an environment with the packages of a requirements file beside this one."""
    folder = FOLDER / Path(requirements).stem
    found = folder / "bin" / "python"
    if not (folder / "done").is_file():
        _run([sys.executable, "-m", "venv", str(folder)], HERE)
        _run([str(found), "-m", "pip", "install", "--quiet", "-r", str(HERE / requirements)], HERE)
        (folder / "done").touch()
    return found


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except FileNotFoundError:
        raise NotInstalled(f"{command[0]} is not on this machine") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as cause:
        raise NotInstalled(f"{' '.join(command[:3])}: {str(cause.stderr or cause)[-300:]}") from None
