"""What of a process' surroundings goes on record: variables by an allow-list, arguments, and never a secret.

Everything else of the environment is left out, because nobody can tell what is in it. What looks like a secret is
left out even where it is asked for: a record is read by more people than a shell is.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["HIDDEN", "SETTINGS", "VARIABLES", "allowed", "shown_arguments", "variables"]

VARIABLES = (
    "OPENBLAS_CORETYPE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DYNAMIC",
    "OMP_DYNAMIC",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "CUBLAS_WORKSPACE_CONFIG",
    "KMP_DETERMINISTIC_REDUCTION",
    "TZ",
)
"""Environment variables that change what numeric code answers."""

SETTINGS = (
    *("PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONWARNINGS", "LANG", "LC_ALL", "LC_NUMERIC"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"),
    *("LOKY_MAX_CPU_COUNT", "CUDA_VISIBLE_DEVICES", "TF_DETERMINISTIC_OPS", "TRIVET_PIPELINES_THREADS"),
)
"""Further variables of a program that somebody started by hand: nobody set them for it."""

HIDDEN = "***"
_SECRET = re.compile(
    r"secret|token|passw|passphrase|credential|api_?key|access_?key|private|auth|cookie|session|dsn", re.I
)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


def variables(names: Iterable[str] = VARIABLES, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Those of ``names`` (a ``*`` stands for anything) that are set and may be recorded.

    Example:
        >>> variables(["APP_*"], {"APP_MODE": "fast", "APP_TOKEN": "x", "APP_DB": "pg://me:pw@host/db", "HOME": "/"})
        {'APP_MODE': 'fast'}
    """
    given = os.environ if environment is None else environment
    wanted = list(names)
    return {
        name: value
        for name, value in given.items()
        if any(fnmatch.fnmatchcase(name, each) for each in wanted) and allowed(name, value)
    }


def allowed(name: str, value: str) -> bool:
    """Whether neither the name of a variable nor its value looks like a secret."""
    return not _SECRET.search(name) and not _LOGIN.search(value)


def shown_arguments(arguments: Sequence[str]) -> str:
    """Arguments as a shell would take them, with what looks like a secret hidden.

    Example:
        >>> shown_arguments(["--depth", "3 or 4", "--api-key", "abc", "--token=abc", "pg://me:pw@host/db"])
        "--depth '3 or 4' --api-key '***' '--token=***' 'pg://***@host/db'"
    """
    shown, hide = list[str](), False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_option = argument.startswith("-")
        if hide and not is_option:
            shown.append(HIDDEN)
        elif is_option and equals and _SECRET.search(name.replace("-", "_")):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(_LOGIN.sub(f"{HIDDEN}@", argument))
        hide = is_option and not equals and bool(_SECRET.search(argument.replace("-", "_")))
    return shlex.join(shown)
