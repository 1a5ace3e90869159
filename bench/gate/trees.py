"""Two source trees, each behind an interpreter of its own that costs a tenth of a second to make.

The base is checked out of a git revision with an index of its own, so that nothing is written into the repository and
no attribute such as `export-ignore` leaves a file out, or it is a folder as it stands. Each side gets an empty virtual
environment whose one `.pth` file names its tree first and then adds everything that is installed here: torch is not
installed twice, and `bench`, `models` and a user's own modules are those of the tree, which is checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.errors import SaveError, UserError
from bench.gate import arm

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
    commit: str = ""
    """Of a revision."""

    def has(self, file: str) -> bool:
        """Whether a file lies in the tree, links resolved."""
        return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(self.root))


def head_tree() -> Tree:
    """What is in the current folder now, with the `bench` that is running."""
    here = Path.cwd()
    root = _git_root(here) or here
    return Tree("head", f"{root} as it stands", root, here, Path(bench.__file__).parents[1])


def base_tree(base: str, head: Tree, into: Path) -> Tree:
    """The tree of a folder, or of a git revision unpacked below `into`. Raises UserError when it is neither.

    A folder is meant when there is one of that name: write `refs/heads/NAME` for a branch that is called like it.
    """
    if not base.strip():
        raise UserError("--base is empty; is a variable unset? Name a revision such as main, or a folder")
    path = Path(base)
    if path.is_dir():
        root = path.resolve()
        if root in (head.root.resolve(), head.folder.resolve()):
            raise UserError(
                f"--base {base}: is the very folder that is gated, so it would be compared with itself; name a "
                "revision such as HEAD, or another folder"
            )
        return Tree("base", str(root), root, root, _home_of_bench(base, root, head))
    repository = _repository(base, Path.cwd())
    done = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if done.returncode:
        raise UserError(f"--base {base}: neither a folder nor a revision that git knows here; fetch it first")
    commit = done.stdout.decode("ascii").strip()
    root = into / "tree"
    _unpack(repository, commit, root)
    folder = root / Path.cwd().resolve().relative_to(repository)
    if not folder.is_dir():
        raise UserError(f"--base {base}: that revision has no folder {folder.relative_to(root)}")
    what = f"revision {commit[:12]} ({base})"
    return Tree("base", what, root, folder, _home_of_bench(base, root, head), commit)


def _home_of_bench(base: str, root: Path, head: Tree) -> Path:
    """Raises UserError where only head brings a `bench` of its own, which would then run on both sides."""
    if _has_bench(root):
        return root
    if _has_bench(head.root):
        raise UserError(
            f"--base {base}: has no bench/__init__.py, and the folder that is gated has one, so head's would be "
            "compared with itself; name a folder or a revision that holds the whole project"
        )
    return head.bench


def _has_bench(root: Path) -> bool:
    return (root / "bench" / "__init__.py").is_file()


def same_files(base: Tree, head: Tree) -> str | None:
    """A sentence when the base's revision is what lies in head's folder, as far as git knows its files."""
    if not base.commit or _git(head.root, "diff", "--quiet", base.commit, "--").returncode:
        return None
    return (
        f"the files of {base.what} are those of the current folder: nothing that git knows has changed; is the "
        "base the one you mean?"
    )


def plugin_of(plugin: str, base: Tree, head: Tree) -> str:
    """A plug-in of head's as the base has it: a file in head's tree is that file in the base's.

    Raises UserError when the base has no such file.
    """
    path = Path(os.path.normpath(head.folder.resolve() / plugin))
    places = ((head.folder.resolve(), base.folder), (head.root.resolve(), base.root))
    own = next((there / path.relative_to(here) for here, there in places if path.is_relative_to(here)), None)
    if own is None or path.suffix != ".py":
        return plugin
    if not own.is_file():
        raise UserError(f"--plugin {plugin}: {base.what} has no such file; was it committed, or is it new?")
    return str(own)


def check_files(base: Tree, head: Tree, files: Iterable[str]) -> None:
    """That what ran on the base's side is the base's. files: of all modules that it has loaded.

    Raises UserError when some are head's, or none are of its own tree: then the code would be compared with itself.
    """
    shared = [os.path.realpath(each) for each in (*installed(), *_standard_library())]
    # Some modules only claim a file: torch._classes says `_classes.py`.
    real = [each for each in files if Path(each).is_absolute() and Path(each).is_file()]
    loaded = [each for each in real if not any(Path(os.path.realpath(each)).is_relative_to(one) for one in shared)]
    heads = [each for each in loaded if head.has(each) and not base.has(each) and each != str(Path(arm.__file__))]
    if heads:
        raise UserError(
            f"the base runs {heads[0]}, which is head's, so that it would be compared with itself; is the module "
            f"missing in {base.what}?"
        )
    if not any(map(base.has, loaded)):
        raise UserError(
            f"nothing that was run comes from {base.what}: both sides run the same code, and would be compared with "
            "themselves; give a --plugin that lies in the tree, or gate where the code is"
        )


def _standard_library() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return paths["stdlib"], paths["platstdlib"]


def _repository(base: str, here: Path) -> Path:
    """The root of the repository around a folder. Raises UserError with git's own words where it sees none."""
    done = _git(here, "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return _path(done.stdout)
    said = _said(done)
    if "not a git repository" in said:
        raise UserError(f"--base {base}: no such folder, and the current folder is not in a git repository")
    raise UserError(f"--base {base}: no such folder, and git refuses the repository around the current one: {said}")


def _git_root(path: Path) -> Path | None:
    try:
        done = _git(path, "rev-parse", "--show-toplevel")
    except UserError:
        return None
    return None if done.returncode else _path(done.stdout)


def _path(line: bytes) -> Path:
    return Path(os.fsdecode(line.rstrip(b"\n"))).resolve()


def _git(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run git, in English, and without writing anything that it could do without."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **variables},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"git cannot be run: {error}") from error


def _unpack(repository: Path, commit: str, root: Path) -> None:
    """The files of a revision, as a checkout has them, by an index that is not the repository's."""
    try:
        root.mkdir(parents=True)
    except OSError as error:
        raise SaveError(f"{root}: the base cannot be unpacked: {error}") from error
    index = str(root.with_name("index"))
    quiet = ("-c", "core.sparseCheckout=false", "-c", f"core.hooksPath={os.devnull}")
    read = _git(repository, *quiet, "read-tree", commit, GIT_INDEX_FILE=index)
    if read.returncode:
        raise UserError(f"git read-tree {commit[:12]}: {_said(read)}")
    written = _git(repository, *quiet, "checkout-index", "--all", f"--prefix={root}{os.sep}", GIT_INDEX_FILE=index)
    if written.returncode:
        raise SaveError(f"{root}: the base cannot be unpacked: {_said(written)}")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode("utf-8", "replace").split())


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
