"""Which installed distribution provides a module, what it requires, and which are editable checkouts.

Reads the metadata of what is installed and imports none of it. Answers are kept for the life of the process:
what is installed under a running process does not change what it has imported.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trivet.digest import digest, digest_file

__all__ = ["NOT_INSTALLED", "Installed", "installed", "versions_for"]

NOT_INSTALLED = "not installed"
_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SOURCE_SUFFIXES = (".py", ".so", ".pyd", ".sql", ".html", ".js", ".json", ".toml")


@dataclass(frozen=True)
class Installed:
    """One installed distribution.

    Attributes:
        name: normalised (PEP 503).
        version: as its metadata says.
        url: where it came from if that was no index: a local folder or file, a repository, an archive.
        packages: of an editable distribution, its packages and modules as ``sys.path`` finds them.
    """

    name: str
    version: str
    url: str
    packages: tuple[Path, ...]


@cache
def installed() -> dict[str, Installed]:
    """All distributions of this environment by normalised name; the first on the import path wins.

    Names and versions are read from the names of ``.dist-info`` folders (the packaging specification fixes
    them), because parsing the metadata of a hundred distributions takes a quarter of a second.
    """
    found: dict[str, Installed] = {}
    for entry in sys.path:
        folder = Path(entry or ".")
        infos = sorted(folder.glob("*.dist-info")) if folder.is_dir() else []
        for info in infos:
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            if version and normalised(name) not in found:
                found[normalised(name)] = _describe(normalised(name), version, info)
        if not infos:  # eggs and zip files know no such folders
            for distribution in metadata.distributions(path=[entry]):
                name = distribution.metadata["Name"] or ""
                if name and normalised(name) not in found:
                    found[normalised(name)] = Installed(normalised(name), distribution.version, "", ())
    return dict(sorted(found.items()))


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it.

    Example:
        >>> normalised("Typing_Extensions")
        'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def versions_for(modules: Collection[str]) -> dict[str, str]:
    """Distributions behind top-level modules, with all that they require: name to version."""
    found: dict[str, str] = {}
    stack: list[tuple[str, frozenset[str]]] = []
    for module in sorted(modules):
        providers = _providers(module)
        stack += [(name, frozenset()) for name in providers]
        if not providers:
            found[module] = _loose_version(module)
    seen: set[tuple[str, frozenset[str]]] = set()
    while stack:
        name, extras = stack.pop()
        if (name, extras) in seen or name not in installed():
            continue
        seen.add((name, extras))
        found[name] = _version(name)
        stack += _requirements(name, extras)
    return dict(sorted(found.items()))


def _describe(name: str, version: str, info: Path) -> Installed:
    path = info / "direct_url.json"
    origin = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    url = str(origin.get("url", ""))
    if not origin.get("dir_info", {}).get("editable"):
        return Installed(name, version, url, ())
    return Installed(name, version, url, tuple(_editable_packages(name, metadata.Distribution.at(info), url)))


def _editable_packages(name: str, distribution: metadata.Distribution, url: str) -> Iterator[Path]:
    """What an editable distribution provides: the package of its name, else all packages of its folders."""
    for folder in _editable_folders(distribution, url):
        if (folder / name.replace("-", "_")).is_dir():
            found = [name.replace("-", "_")]
        else:
            found = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
        for package in found:
            yield on_path(package) or folder / package


def _editable_folders(distribution: metadata.Distribution, url: str) -> list[Path]:
    """The folders that its ``.pth`` file lists, else the usual layouts."""
    checkout = Path(unquote(urlsplit(url).path))
    listed = [
        Path(line)
        for file in distribution.files or ()
        if file.suffix == ".pth"
        for line in Path(str(distribution.locate_file(file))).read_text("utf-8").splitlines()
        if line and not line.startswith(("import ", "#"))
    ]
    usual = [checkout / "src"] if (checkout / "src").is_dir() else [checkout]
    return [folder for folder in listed or usual if folder.is_dir()]


def on_path(module: str) -> Path | None:
    """The package folder or file that ``import module`` would take, or None; nothing is imported."""
    for entry in sys.path:
        folder = Path(entry or ".")
        if (folder / module / "__init__.py").is_file():
            return folder / module
        if (folder / f"{module}.py").is_file():  # a file without the ending is a command of that name, no module
            return folder / f"{module}.py"
    return None


@cache
def _providers(module: str) -> tuple[str, ...]:
    """Distributions that provide a top-level module; one of the same name is taken without a search."""
    if normalised(module) in installed():
        return (normalised(module),)
    return tuple(sorted({normalised(name) for name in _providers_by_module().get(module, ())}))


@cache
def _providers_by_module() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@cache
def _version(name: str) -> str:
    one = installed()[name]
    return f"{one.version}+{_source_digest(one.packages)}" if one.packages else one.version


@cache
def _loose_version(module: str) -> str:
    """For a module on the path that no distribution provides, the digest of its source."""
    path = on_path(module)
    return f"source+{_source_digest((path,))}" if path is not None else NOT_INSTALLED


def _source_digest(packages: tuple[Path, ...]) -> str:
    files = {
        path.relative_to(package.parent).as_posix(): digest_file(path)
        for package in packages
        for path in ([package] if package.is_file() else package.rglob("*"))
        if path.suffix in _SOURCE_SUFFIXES and path.is_file() and "__pycache__" not in path.parts
    }
    return digest("source", files)[:12]


@cache
def _requirements(name: str, extras: frozenset[str]) -> tuple[tuple[str, frozenset[str]], ...]:
    lines = metadata.requires(name) or []
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ModuleNotFoundError:
        matches = filter(None, map(_REQUIREMENT_NAME.match, lines))
        return tuple((normalised(match.group()), frozenset()) for match in matches)
    found = []
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # old metadata; the installer did not understand it either
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if wanted:
            found.append((normalised(requirement.name), frozenset(requirement.extras)))
    return tuple(found)
