"""Two source trees, each behind an interpreter of its own that costs a tenth of a second to make.

The base is unpacked from a git revision with `git archive`, so nothing is written into the repository, or is a folder
as it stands. Each side gets an empty virtual environment whose one `.pth` file names its tree first and then adds
everything that is installed here: torch is not installed twice, and `bench`, `models` and a user's own modules are
those of the tree.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import bench
from bench.errors import SaveError, UserError

_GIT_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Tree:
    """One side's code."""

    name: str
    """`base` or `head`."""
    what: str
    """As told to people: `revision 78ab84c0 (main)`, or a folder."""
    root: Path
    """Where the code lies."""
    folder: Path
    """Where the side works: the same place in its tree as the current folder is in head's."""
    bench: Path
    """The folder that holds its `bench`: its own, or the installed one where the tree has none."""


def head_tree() -> Tree:
    """What is in the current folder now, with the `bench` that is running."""
    here = Path.cwd()
    root = _git_root(here) or here
    return Tree("head", f"{root} as it stands", root, here, Path(bench.__file__).parents[1])


def base_tree(base: str, head: Tree, into: Path) -> Tree:
    """The tree of a folder, or of a git revision unpacked below `into`. Raises UserError when it is neither.

    A folder is meant when there is one of that name: write `refs/heads/NAME` for a branch that is called like it.
    """
    path = Path(base)
    if path.is_dir():
        root = path.resolve()
        return Tree("base", str(root), root, root, _home_of_bench(root, head))
    repository = _git_root(Path.cwd())
    if repository is None:
        raise UserError(f"--base {base}: no such folder, and the current folder is not in a git repository")
    done = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if done.returncode:
        raise UserError(f"--base {base}: neither a folder nor a revision that git knows here; fetch it first")
    commit = done.stdout.decode("ascii").strip()
    root = into / "tree"
    _unpack(repository, commit, root)
    folder = root / Path.cwd().resolve().relative_to(repository)
    if not folder.is_dir():
        raise UserError(f"--base {base}: that revision has no folder {folder.relative_to(root)}")
    return Tree("base", f"revision {commit[:12]} ({base})", root, folder, _home_of_bench(root, head))


def _home_of_bench(root: Path, head: Tree) -> Path:
    return root if (root / "bench" / "__init__.py").is_file() else head.bench


def _git_root(path: Path) -> Path | None:
    try:
        done = _git(path, "rev-parse", "--show-toplevel")
    except UserError:
        return None
    return None if done.returncode else Path(os.fsdecode(done.stdout.rstrip(b"\n"))).resolve()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"git cannot be run: {error}") from error


def _unpack(repository: Path, commit: str, root: Path) -> None:
    done = _git(repository, "archive", "--format=tar", commit)
    if done.returncode:
        raise UserError(f"git archive {commit[:12]}: {done.stderr.decode('utf-8', 'replace').strip()}")
    try:
        root.mkdir(parents=True)
        with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
            archive.extractall(root, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise SaveError(f"{root}: the base cannot be unpacked: {error}") from error


def interpreter(tree: Tree, into: Path) -> Path:
    """The python of a fresh virtual environment that finds a tree's packages before everything installed here."""
    place = into / tree.name
    try:
        venv.EnvBuilder(symlinks=True, with_pip=False, system_site_packages=True).create(place)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
        lines = list(dict.fromkeys(map(str, (tree.root, tree.bench))))
        lines += [f"import site; site.addsitedir({path!r})" for path in installed()]
        (site / "tree.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except (OSError, subprocess.SubprocessError) as error:
        raise SaveError(f"{place}: no virtual environment can be made there: {error}") from error
    return place / "bin" / "python"


def installed() -> tuple[str, ...]:
    """The folders in which packages are installed here."""
    return tuple(entry for entry in sys.path if entry.rstrip("/").endswith(("site-packages", "dist-packages")))


def environment(tree: Tree, head: Path, outer: Mapping[str, str]) -> dict[str, str]:
    """A side's environment: ours, with a search path that leads to its own tree wherever ours leads into head's.

    head: the root of head's tree.
    """
    found = {name: value for name, value in outer.items() if name not in ("PYTHONHOME", "PYTHONSTARTUP")}
    own = [tree.bench, tree.root, *(path for path in [tree.root / "src"] if path.is_dir())]
    for entry in filter(None, outer.get("PYTHONPATH", "").split(os.pathsep)):
        path = Path(entry)
        if entry not in installed() and path.is_relative_to(head):
            path = tree.root / path.relative_to(head)
        if not (path / "bench" / "__init__.py").is_file():
            own.append(path)
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(map(str, own)))
    return found


def other_requirements(base: Tree, head: Tree) -> str | None:
    """A sentence when the two trees ask for different packages; both are run with those that are installed here."""
    lists = [_requirements(tree.bench) for tree in (base, head)]
    if None in lists or lists[0] == lists[1]:
        return None
    changed = sorted((lists[0] or frozenset()) ^ (lists[1] or frozenset()))
    return f"base and head ask for different packages ({', '.join(changed)}); both run with what is installed here"


def _requirements(root: Path) -> frozenset[str] | None:
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
        return frozenset(map(str, project["dependencies"]))
    except (OSError, KeyError, TypeError, ValueError):
        return None
