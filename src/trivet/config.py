"""``trivet.toml`` and the environment, parsed once into one frozen ``Settings``.

Nothing else in Trivet reads an environment variable or a configuration file. Every setting has a default that
needs no server; a URL moves a part elsewhere and no user code changes. ``TRIVET_LEDGER_URL`` overrides
``[ledger] url``, and so on for every key. Relative paths are relative to the folder of the project.

A misspelt key never passes in silence: an unknown one in the file is an error, and so is a variable that is
almost the name of a setting. Other ``TRIVET_`` variables are left alone, because they are not ours to judge:
Kubernetes makes some for every service, ``TRIVET_SERVER_PORT=tcp://...`` among them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints
from urllib.parse import unquote, urlsplit

import msgspec

from trivet.errors import ConfigError, Invalid, NotFound, nearest
from trivet.types import as_duration

__all__ = ["Settings", "find_root", "load_settings", "url_path"]

_Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]

FILE = "trivet.toml"
FOLDER = ".trivet"


class Ledger(msgspec.Struct, frozen=True):
    """Where artifacts' records, runs and names are kept: ``sqlite:///FILE``, ``postgresql://...``, ``memory:``."""

    url: str = f"sqlite:///{FOLDER}/ledger.db"


class Blobs(msgspec.Struct, frozen=True):
    """Where content is kept: ``file:FOLDER``, ``s3://BUCKET/PREFIX``, ``memory:``."""

    url: str = f"file:{FOLDER}/blobs"


class Features(msgspec.Struct, frozen=True):
    """The engine of training sets and of materialization, and the online store that answers at prediction time.

    ``memory`` bounds what making a training set takes (``"2GB"``); without it everything is joined in one piece.
    ``delay`` declares how far the online store may be behind: an audit reports such values and calls them no skew.
    """

    engine: str = "local:"
    online: str = f"lmdb:{FOLDER}/online"
    memory: str | None = None
    delay: str = "0s"


class Pipelines(msgspec.Struct, frozen=True):
    """How steps run. ``threads`` is set before any numeric library is imported, because it changes results.

    ``variables`` are environment variables that go on record with runs by hand, with spaces between them and ``*`` for
    anything: ``"DATA_* MODE"``. What looks like a secret is never recorded.
    """

    runner: str = "local:"
    threads: _Count = 1
    workers: _Count = 2
    variables: str = ""


class Serving(msgspec.Struct, frozen=True):
    """The prediction service. ``unrecorded`` says what becomes of a prediction that cannot be recorded, on a full disk:
    ``refuse`` it with a 503, or ``answer`` it without a record.
    """

    host: str = "127.0.0.1"
    port: _Port = 8417
    records: str = f"{FOLDER}/tables"
    flush_every: str = "2s"
    unrecorded: Literal["refuse", "answer"] = "refuse"


class Server(msgspec.Struct, frozen=True):
    """The pages and the API."""

    host: str = "127.0.0.1"
    port: _Port = 8416


class Monitoring(msgspec.Struct, frozen=True):
    """Watching what is deployed. A column is an alarm once it drifts in ``drift_windows`` consecutive windows, a feature
    once the share of served values that training would not see is certainly above ``skew``. ``audit_every`` is how old
    the last audit may be before `trivet monitor --audit` makes another.
    """

    max_silence: str = "1d"
    drift_windows: _Count = 2
    skew: Annotated[float, msgspec.Meta(ge=0)] = 0.01
    audit_every: str = "1d"


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
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() or (folder / FOLDER).is_dir():
            return folder
    return start


def load_settings(root: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of the project in ``root``.

    Raises:
        ConfigError: the file is no TOML, a section or key is unknown (the nearest is named), a variable is
            misspelt, a value has another type than the setting or is out of its range.

    Example:
        >>> load_settings(Path("/nowhere"), {"TRIVET_SERVING_PORT": "9000"}).serving.port
        9000
    """
    environment = os.environ if environment is None else environment
    path = root / FILE
    parts = {section: _section(str(path), section, value) for section, value in _read(path).items()}
    for section, values in _overrides(environment).items():
        given = msgspec.structs.asdict(parts.get(section, SECTIONS[section]()))
        parts[section] = _section("The environment", section, {**given, **values})
    settings = Settings(root=root.resolve(), **parts)  # type: ignore[arg-type]
    _check_durations(settings)
    return settings


def url_path(url: str, root: Path) -> Path:
    """The folder or file that a ``file:``, ``lmdb:`` or ``sqlite:`` URL names, relative to ``root``.

    ``sqlite:///FILE`` is relative and ``sqlite:////FILE`` absolute, as in SQLAlchemy; of the others, ``file:FOLDER``
    is relative and ``file:/FOLDER`` or ``file:///FOLDER`` absolute, as everywhere else.

    Raises:
        ConfigError: the URL names a host, or no file.

    Example:
        >>> url_path("sqlite:///.trivet/ledger.db", Path("/p")), url_path("file:/abs", Path("/p"))
        (PosixPath('/p/.trivet/ledger.db'), PosixPath('/abs'))
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc:
        raise ConfigError(
            f"{url!r} names the host {parts.netloc!r}, and a file has none. "
            f"Write {parts.scheme}:FOLDER for a relative path and {parts.scheme}:/FOLDER for an absolute one."
        )
    if parts.scheme == "sqlite" and url.startswith("sqlite:///"):
        path = path.removeprefix("/")  # SQLAlchemy's habit: three slashes are relative, four are absolute
    if not path.strip("/"):
        raise ConfigError(f"{url!r} names no file. Write its path after the colon, for example {parts.scheme}:data.")
    return root / (path if not path.startswith("//") else path[1:])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import tomllib  # a process that is handed its settings never reads the file

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read as TOML: {exc}.") from exc
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc


def _overrides(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The settings that the environment changes, by section and key."""
    names = {
        f"TRIVET_{section}_{key}".upper(): (section, key)
        for section, shape in SECTIONS.items()
        for key in shape.__struct_fields__
    }
    found: dict[str, dict[str, str]] = {}
    for name, text in environment.items():
        if not name.startswith("TRIVET_"):
            continue
        if name in names:
            section, key = names[name]
            if not (key == "port" and text.startswith("tcp://")):  # Kubernetes, telling of a service of that name
                found.setdefault(section, {})[key] = text
        elif close := _almost(name, names):
            raise ConfigError(f"The environment variable {name} is no setting. Did you mean {close[0]}?")
    return found


def _almost(name: str, names: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # only where something may be wrong

    return get_close_matches(name, list(names), n=1, cutoff=0.9)


def _check_durations(settings: Settings) -> None:
    durations = {
        "[serving] flush_every": settings.serving.flush_every,
        "[features] delay": settings.features.delay,
        "[monitoring] max_silence": settings.monitoring.max_silence,
        "[monitoring] audit_every": settings.monitoring.audit_every,
    }
    for key, text in durations.items():
        try:
            as_duration(text)
        except Invalid as exc:
            raise ConfigError(f"{key}: {exc}") from exc


def _section(where: str, section: str, value: Any) -> msgspec.Struct:
    if section not in SECTIONS:
        raise ConfigError(f"{where}: {NotFound('section', section, SECTIONS)}")
    shape = SECTIONS[section]
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {section!r} is a section. Write [{section}] and its keys on lines of their own.")
    for key in value:
        if key not in shape.__struct_fields__:
            close = nearest(key, shape.__struct_fields__)
            known = ", ".join(shape.__struct_fields__)
            help_ = f"Did you mean {close[0]!r}?" if close else f"It has: {known}."
            raise ConfigError(f"{where}: [{section}] has no key {key!r}. {help_}")
        if (choices := _choices(shape, key)) and value[key] not in choices:
            raise ConfigError(f"{where}: [{section}] {key} is {value[key]!r}. Choose one of: {', '.join(choices)}.")
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{where}: [{section}] {_in_words(exc, value)}") from exc


def _in_words(exc: msgspec.ValidationError, given: Mapping[str, Any]) -> str:
    """A sentence about the value that does not fit."""
    found = re.fullmatch(r"Expected `(\w+)`(?: ([<>]=) (\S+))?.* - at `\$\.(\w+)`", str(exc))
    if found is None:
        return f"{exc}."
    kind, sign, bound, key = found.groups()
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text in quotes"}
    rule = f" of at {'least' if sign == '>=' else 'most'} {bound}" if sign else ""
    return f"{key} = {given[key]!r} does not fit. Give {wanted.get(kind, kind)}{rule}."


def _choices(shape: type[msgspec.Struct], key: str) -> tuple[str, ...]:
    """What a key may be, where there are only a few words for it."""
    kind = get_type_hints(shape)[key]
    return get_args(kind) if get_origin(kind) is Literal else ()
