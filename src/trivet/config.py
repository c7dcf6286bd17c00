"""``trivet.toml`` and the environment, parsed once into one frozen ``Settings``.

Nothing else in Trivet reads an environment variable or a configuration file. Every setting has a default that
needs no server; a URL moves a part elsewhere and no user code changes. ``TRIVET_LEDGER_URL`` overrides
``[ledger] url``, and so on for every key. Relative paths are relative to the folder of the project.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from trivet.errors import ConfigError, NotFound, nearest
from trivet.types import as_duration

__all__ = ["Settings", "find_root", "load_settings", "url_path"]

FILE = "trivet.toml"
FOLDER = ".trivet"


class Ledger(msgspec.Struct, frozen=True):
    """Where artifacts' records, runs and names are kept: ``sqlite:///FILE``, ``postgresql://...``, ``memory:``."""

    url: str = f"sqlite:///{FOLDER}/ledger.db"


class Blobs(msgspec.Struct, frozen=True):
    """Where content is kept: ``file:FOLDER``, ``s3://BUCKET/PREFIX``, ``memory:``."""

    url: str = f"file:{FOLDER}/blobs"


class Features(msgspec.Struct, frozen=True):
    """The engine of training sets, and where the definitions are found."""

    engine: str = "local:"
    online: str = f"lmdb:{FOLDER}/online"


class Pipelines(msgspec.Struct, frozen=True):
    """How steps run. ``threads`` is set before any numeric library is imported, because it changes results."""

    runner: str = "local:"
    threads: int = 1
    workers: int = 2


class Serving(msgspec.Struct, frozen=True):
    """The prediction service."""

    host: str = "127.0.0.1"
    port: int = 8417
    records: str = f"{FOLDER}/tables"
    flush_every: str = "2s"


class Server(msgspec.Struct, frozen=True):
    """The pages and the API."""

    host: str = "127.0.0.1"
    port: int = 8416


class Monitoring(msgspec.Struct, frozen=True):
    """Watching what is deployed."""

    max_silence: str = "1d"


class Settings(msgspec.Struct, frozen=True):
    """Everything that can be set, with ``root``, the folder of the project."""

    root: Path = Path()
    ledger: Ledger = Ledger()
    blobs: Blobs = Blobs()
    features: Features = Features()
    pipelines: Pipelines = Pipelines()
    serving: Serving = Serving()
    server: Server = Server()
    monitoring: Monitoring = Monitoring()


SECTIONS: dict[str, type[msgspec.Struct]] = {
    name: type(getattr(Settings(), name)) for name in Settings.__struct_fields__ if name != "root"
}


def find_root(start: Path) -> Path:
    """The nearest folder from ``start`` upwards that holds ``trivet.toml`` or ``.trivet``, else ``start``."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() or (folder / FOLDER).is_dir():
            return folder
    return start


def load_settings(root: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of the project in ``root``.

    Raises:
        ConfigError: the file is no TOML, a section or key is unknown (the nearest is named), a value has
            another type than the setting.

    Example:
        >>> load_settings(Path("/nowhere"), {"TRIVET_SERVING_PORT": "9000"}).serving.port
        9000
    """
    environment = os.environ if environment is None else environment
    path = root / FILE
    values = _read(path)
    for section, shape in SECTIONS.items():
        for key in shape.__struct_fields__:
            if (text := environment.get(f"TRIVET_{section}_{key}".upper())) is not None:
                values.setdefault(section, {})[key] = text
    parts: dict[str, Any] = {section: _section(path, section, value) for section, value in values.items()}
    settings = Settings(root=root.resolve(), **parts)
    for duration in (settings.serving.flush_every, settings.monitoring.max_silence):
        as_duration(duration)
    return settings


def url_path(url: str, root: Path) -> Path:
    """The folder or file that a ``file:``, ``lmdb:`` or ``sqlite:`` URL names, relative to ``root``.

    Example:
        >>> url_path("sqlite:///.trivet/ledger.db", Path("/p")), url_path("file:/abs", Path("/p"))
        (PosixPath('/p/.trivet/ledger.db'), PosixPath('/abs'))
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc == "" and url.startswith(f"{parts.scheme}:///"):
        path = path.removeprefix("/")  # SQLAlchemy's habit: three slashes are relative, four are absolute
    return root / path


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read as TOML: {exc}.") from exc


def _section(path: Path, section: str, value: Any) -> msgspec.Struct:
    if section not in SECTIONS:
        raise ConfigError(f"{path}: {NotFound('section', section, SECTIONS)}")
    shape = SECTIONS[section]
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {section!r} is a section. Write [{section}] and its keys on lines of their own.")
    for key in value:
        if key not in shape.__struct_fields__:
            close = nearest(key, shape.__struct_fields__)
            known = ", ".join(shape.__struct_fields__)
            help_ = f"Did you mean {close[0]!r}?" if close else f"It has: {known}."
            raise ConfigError(f"{path}: [{section}] has no key {key!r}. {help_}")
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}: [{section}] {exc}.") from exc
