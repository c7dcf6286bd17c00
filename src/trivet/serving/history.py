"""Questions to the table of predictions that open no more of it than they need.

A question says which times or ids it is about. The table knows of each of its files which of them it can hold, so the
others stay closed; and what decides which rows are meant is read before the wide columns of these rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from trivet.errors import NotFound
from trivet.ledger.stores.finding import SHORTEST, beyond, the_only
from trivet.serving.records import TABLE, schema

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = ["History"]

_BACK = (timedelta(days=1), timedelta(days=8), timedelta(days=64))
"""How far back the latest predictions are looked for, before all of them are."""


class History:
    """What was predicted.

    Args:
        read: ``read(table, columns=..., where=...)``, for example ``Tables.read``.
    """

    def __init__(self, read: Callable[..., pa.Table]) -> None:
        self._read = read

    def served(self) -> dict[str, tuple[int, datetime]]:
        """For each deployment how many predictions it made and when the last was."""
        import polars as pl

        frame = self._rows(["deployment", "received"])
        counted = frame.group_by("deployment").agg(pl.len().alias("count"), pl.col("received").max())
        return {name: (count, last) for name, count, last in counted.iter_rows()}

    def latest(
        self, limit: int, *, now: datetime, deployment: str | None = None, since: datetime | None = None
    ) -> pl.DataFrame:
        """The predictions that were received last, newest first.

        Args:
            limit: how many at most.
            now: the present, from which one looks back.
            deployment: of this one only.
            since: received at this moment or later.
        """
        within = [("deployment", "=", deployment)] if deployment is not None else []
        for back in (*_BACK, None):
            start = since if back is None else max(now - back, since or now - back)
            asked = [*within, *([("received", ">=", start)] if start is not None else [])]
            moments = self._rows(["received"], asked)["received"]
            if moments.len() >= limit or start == since:
                break
        if moments.len() > limit:
            asked.append(("received", ">=", moments.top_k(max(limit, 1)).min()))
        return self._rows(None, asked).sort("received", "id", descending=True).head(limit)

    def sample(
        self, size: int, *, deployment: str, seed: int, since: datetime | None = None, until: datetime | None = None
    ) -> pl.DataFrame:
        """Predictions of a deployment drawn at random, each as likely as any other, in the order of their ids.

        Args:
            size: how many at most.
            deployment: whose.
            seed: the same seed draws the same of the same predictions.
            since: received at this moment or later.
            until: received before this moment.
        """
        import random

        asked: list[tuple[str, str, Any]] = [("deployment", "=", deployment)]
        asked += [("received", ">=", since)] if since is not None else []
        asked += [("received", "<", until)] if until is not None else []
        ids = self._rows(["id"], asked)["id"].unique().sort().to_list()
        drawn = random.Random(seed).sample(ids, size) if len(ids) > size else ids
        rows = self._rows(None, [*asked, ("id", "in", drawn)]) if drawn else self._rows(None, asked).clear()
        return rows.sort("received").unique("id", keep="last").sort("id")

    def one(self, id: str) -> dict[str, Any]:  # noqa: A002 - the field's name
        """The row of the prediction with this id, or the only one whose id starts so.

        Callers give ids of their own, and two deployments may have been given the same: the last one counts.

        Raises:
            NotFound: there is none, or fewer than six characters were given of a longer id.
            Ambiguous: several ids start so.
        """
        short = len(id) < SHORTEST  # too short to look for what starts so, and perhaps a whole id
        asked = [("id", "=", id)] if short else [("id", ">=", id), ("id", "<", beyond(id))]
        found = self._rows(["id"], asked)["id"].unique().to_list()
        if not found and not short:
            raise NotFound("prediction", id, hint="`project.predictions()` lists the latest.")
        whole = the_only("prediction", id, found)
        return self._rows(None, [("id", "=", whole)]).sort("received").row(-1, named=True)

    def _rows(self, columns: Sequence[str] | None, asked: Sequence[tuple[str, str, Any]] = ()) -> pl.DataFrame:
        """The rows for which all of ``asked`` holds; none where nobody has predicted yet."""
        import polars as pl

        try:
            return pl.DataFrame(pl.from_arrow(self._read(TABLE, columns=columns, where=asked)))
        except NotFound as exc:
            if exc.noun != "table":
                raise
            return pl.DataFrame(pl.from_arrow(schema().empty_table())).select(columns or schema().names)
