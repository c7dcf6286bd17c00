"""Where rows come from, as text: files and folders, Delta tables, databases. Pure: nothing is opened here.

A place inside the project's folder is told relative to that folder (*anchored*), so that a definition has the same
digest in every clone. A place never holds a secret: ``$NAME`` stands for an environment variable, which is read
when the rows are, and a password written out is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from trivet.config import url_path
from trivet.errors import Invalid

__all__ = ["anchored", "check_secrets", "check_secrets_of_text", "expanded", "is_database", "is_delta", "local"]

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl"})
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_PASSWORD_IN_TEXT = re.compile(r"://[^\s/:@'\"]*:[^\s/@'\"{}$%]+@")
_SECRET = re.compile(r"pass|secret|token|credential|_key$|^key$|^sig$", re.IGNORECASE)


def is_delta(place: str) -> bool:
    """Whether ``place`` says by itself that it is a Delta table: ``delta:...`` or an object store.

    Example:
        >>> is_delta("delta:data/orders"), is_delta("s3://shop/orders"), is_delta("data/orders")
        (True, True, False)
    """
    return place.startswith("delta:") or ("://" in place and _scheme(place) in _OBJECT_STORES)


def is_database(place: str) -> bool:
    """Whether ``place`` is the URL of a database.

    Example:
        >>> is_database("postgresql+psycopg://host/shop"), is_database("shop.parquet")
        (True, False)
    """
    return "://" in place and not is_delta(place)


def local(place: str) -> str | None:
    """The path in ``place``, None where it is elsewhere than in the file system.

    Example:
        >>> local("delta:data/orders"), local("s3://shop/orders"), local("data/orders.csv")
        ('data/orders', None, 'data/orders.csv')
    """
    path = place.removeprefix("delta:")
    return None if "://" in path else path


def anchored(place: str, root: Path) -> str:
    """``place`` relative to ``root`` where it is an absolute path inside it, else as it is.

    Example:
        >>> anchored("/home/ada/project/data/a.csv", Path("/home/ada/project"))
        'data/a.csv'
        >>> anchored("sqlite:////home/ada/project/shop.db", Path("/home/ada/project"))
        'sqlite:///shop.db'
    """
    if place.startswith("sqlite:////"):
        head, path = "sqlite:///", str(url_path(place.partition("?")[0], root))
        inside = _inside(path, root)
        return place if inside is None else head + place.replace(place.partition("?")[0], inside, 1)
    path_or_none = local(place)
    inside = None if path_or_none is None else _inside(path_or_none, root)
    if inside is None:
        return place
    return f"delta:{inside}" if place.startswith("delta:") else inside


def _inside(path: str, root: Path) -> str | None:
    """``path`` from ``root``, both as written and with links followed; None for a relative path or one outside."""
    if not Path(path).is_absolute():
        return None
    for one, other in ((Path(os.path.normpath(path)), root.absolute()), (Path(path).resolve(), root.resolve())):
        if one.is_relative_to(other):
            return one.relative_to(other).as_posix()
    return None


def check_secrets(source: str, place: str) -> None:
    """Refuse a password or key written out in a URL. The sentence does not repeat it.

    Raises:
        Invalid: there is one.
    """
    if "://" not in place:
        return
    try:
        parts = urlsplit(place.removeprefix("delta:"))
        password = parts.password
    except ValueError as exc:
        raise Invalid(f"The URL of source {source!r} is not one: {exc}.") from exc
    secrets = {"password": password or "", **{name: v for name, v in parse_qsl(parts.query) if _SECRET.search(name)}}
    for name, value in secrets.items():
        if value and not _VARIABLE.fullmatch(value):
            raise Invalid(
                f"The URL of source {source!r} holds a {name} in clear, which everyone who sees the definition could "
                "read. Put it into an environment variable and write $ITS_NAME in its place."
            )


def check_secrets_of_text(source: str, text: str) -> None:
    """Refuse a password written out in a URL inside the text of a function, which is stored with the definition.

    Raises:
        Invalid: there is one. The sentence does not repeat it.

    Example:
        >>> check_secrets_of_text("orders", "f'postgresql://{USER}:{PASSWORD}@host/shop'")
    """
    if _PASSWORD_IN_TEXT.search(text):
        raise Invalid(
            f"The function of source {source!r} holds a password in clear inside a URL, and its text is stored for "
            "everyone who sees the definition. Read it from os.environ in the function."
        )


def expanded(source: str, text: str | None, found: dict[str, str], environment: Mapping[str, str]) -> str | None:
    """``text`` with the variables that it names; what each was is added to ``found``, to be kept out of errors.

    Raises:
        Invalid: a variable is not set.

    Example:
        >>> expanded("orders", "$SHOP_USER", {}, {"SHOP_USER": "ada"})
        'ada'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in environment:
            raise Invalid(f"Source {source!r} needs the environment variable {name}, which is not set. Set it first.")
        found[name] = environment[name]
        return environment[name]

    return None if text is None else _VARIABLE.sub(value, text)


def _scheme(place: str) -> str:
    return place.partition("://")[0].partition("+")[0].lower()
