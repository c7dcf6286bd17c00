"""What is expected of data: all expectations with their last check, and one source or view with its checks over time.

What is on record is shown at once. The data themselves are read only where a profile or a proposal is asked for (``per``,
``learn``), and neither is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import polars as pl

from trivet.errors import NotFound
from trivet.server.drawing import Point, draw_line

if TYPE_CHECKING:
    from trivet.features.quality.checks import Checked, Defined
    from trivet.project import Project

__all__ = ["expectations", "quality"]

_REPORTS, _REFUSED, _COLUMNS = 30, 10, 24
_LEARN = ("", "yes")
_PERIODS = ("1h", "1d", "7d", "30d")


def quality(project: Project) -> dict[str, Any]:
    """Every source and view of which something is expected, with its last check; and those of which nothing is."""
    every = project.quality.all()
    known = {each.expectations.subject for each in every}
    others = [f"source.{each.name}" for each in project.sources()] + [f"view.{e.name}" for e in project.feature_views()]
    return {
        "title": "Quality",
        "expectations": [_row(project, each) for each in every],
        "without": [_subject(each) for each in others if each not in known],
    }


def expectations(project: Project, subject: str, per: str = "", since: str = "", learn: str = "") -> dict[str, Any]:
    """One source or view: what is expected, what the checks found, what was set aside, and what its data are like.

    Args:
        project: the project.
        subject: ``source.flights``, ``view.congestion``, or a name that is clear.
        per: show each column in periods of such a length: ``1d``. This reads the data.
        since: of rows that became known from then on.
        learn: ``yes``: show what could be expected. This reads the data.

    Raises:
        NotFound: there is no such source or view; the nearest names are offered.
        Invalid: a duration or a moment cannot be read.
    """
    if learn not in _LEARN:
        raise NotFound("answer to learn=", learn, _LEARN[1:])
    full = _full(project, subject)
    kind, _, name = full.partition(".")
    found = project.quality.find(full)
    checks = project.quality.reports(full, limit=_REPORTS)
    proposal = project.learn_expectations(full, since=since or None).to_python() if learn else ""
    return {
        "title": f"Quality of {full.replace('.', ' ')}",
        "subject": _subject(full),
        "expected": None if found is None else _row(project, found),
        "last": _findings(found, checks),
        "checks": [_check(each) for each in checks],
        "charts": [*_over_time(checks), *(_profile(project, full, per, since) if per and kind == "source" else [])],
        "refused": _refused(project, name) if kind == "source" else None,
        "proposal": proposal,
        "asked": {"per": per, "since": since, "learn": learn},
        "periods": _PERIODS if kind == "source" and not _static(project, name) else (),
    }


def _full(project: Project, subject: str) -> str:
    """``source.NAME`` or ``view.NAME`` of what a person wrote."""
    known = [f"source.{each.name}" for each in project.sources()]
    known += [f"view.{each.name}" for each in project.feature_views()]
    known += [each.expectations.subject for each in project.quality.all()]
    for each in (subject, f"source.{subject}", f"view.{subject}"):
        if each in known:
            return each
    raise NotFound("source or view", subject, [each.partition(".")[2] for each in known])


def _static(project: Project, name: str) -> bool:
    return any(each.name == name and each.source.static for each in project.sources())


def _subject(subject: str) -> dict[str, str]:
    kind, _, name = subject.partition(".")
    page = f"/sources/{quote(name, safe='')}" if kind == "source" else f"/features/{quote(name, safe='')}"
    return {"subject": subject, "kind": kind, "name": name, "href": page}


def _row(project: Project, found: Defined) -> dict[str, Any]:
    rules = found.expectations
    last = project.quality.reports(rules.subject, limit=1)
    return {
        **_subject(rules.subject),
        "version": found.version,
        "digest": found.digest,
        "at": found.applied.isoformat(),
        "by": found.by,
        "why": found.why,
        "count": len(rules.expected),
        "checked": last[0].run.started.isoformat() if last else None,
        "verdict": _verdict(last[0]) if last else "never checked",
        "refused": project.quality.refused(rules.name).height if rules.source is not None else 0,
    }


def _verdict(checked: Checked) -> str:
    return "fail" if not checked.report.passed else "warned" if checked.report.failed else "pass"


def _findings(found: Defined | None, checks: list[Checked]) -> list[dict[str, Any]]:
    """Each current expectation with what the last check found of it, where it looked at it."""
    if found is None:
        return []
    last = {each.expectation: each for each in checks[0].report.findings} if checks else {}
    rows = []
    for each in found.expectations.expected:
        one = last.get(str(each))
        told = {} if one is None else {**msgspec.to_builtins(one), "share": one.share}
        verdict = (
            "never checked"
            if one is None
            else "pass"
            if one.passed
            else "fail"
            if one.severity == "refuse"
            else "warned"
        )
        rows.append({"expectation": str(each), "severity": each.severity, "verdict": verdict, **told})
    return rows


def _check(checked: Checked) -> dict[str, Any]:
    report = checked.report
    return {
        "run": checked.run.id,
        "at": report.at.isoformat(),
        "started": checked.run.started.isoformat(),
        "seconds": checked.run.seconds,
        "verdict": _verdict(checked),
        "rows": report.rows,
        "refused": report.refused,
        "broken": [f"{each.expectation}: {each.found}" for each in report.failed],
    }


def _over_time(checks: list[Checked]) -> list[str]:
    """Rows that broke something in each check, where there were several checks."""
    if len(checks) < 2:
        return []
    points = [
        Point(
            f"{each.run.started:%Y-%m-%d %H:%M}", float(max((one.failing for one in each.report.findings), default=0))
        )
        for each in reversed(checks)
    ]
    rows = [Point(f"{each.run.started:%Y-%m-%d %H:%M}", float(each.report.rows)) for each in reversed(checks)]
    return [
        draw_line(rows, title="rows that were checked"),
        draw_line(points, title="rows or periods that broke the expectation broken most"),
    ]


def _profile(project: Project, full: str, per: str, since: str) -> list[str]:
    """Mean and nulls of each column in each period."""
    table = project.quality.profile(full, per=per, since=since or None)
    charts: list[str] = []
    for (column,), part in table.partition_by("column", as_dict=True, maintain_order=True).items():
        if len(charts) == _COLUMNS:
            break
        charts.append(_column(str(column), part, per))
    return charts


def _column(name: str, part: pl.DataFrame, per: str) -> str:
    days = [f"{moment:%Y-%m-%d %H:%M}".removesuffix(" 00:00") for moment in part["period"]]
    if part["mean"].null_count() < part.height:
        rows = zip(days, part["mean"], part["q01"], part["q99"], strict=True)
        points = [Point(day, mean, low, high) for day, mean, low, high in rows]
        return draw_line(points, title=f"{name}: mean each {per}, and the range of 98 % of the values")
    return draw_line(
        [Point(day, float(count)) for day, count in zip(days, part["distinct"].fill_null(0), strict=True)],
        title=f"{name}: different values each {per}",
    )


def _refused(project: Project, name: str) -> dict[str, Any]:
    """What was set aside: how often for each reason, and the newest rows."""
    rows = project.quality.refused(name)
    reasons = rows.group_by("reason").len().sort("len", descending=True)
    newest = rows.tail(_REFUSED)[::-1].select("reason", "row", "created")
    return {
        "count": rows.height,
        "reasons": [{"reason": reason, "count": count} for reason, count in reasons.iter_rows()],
        "rows": [
            {"reason": reason, "row": row, "at": None if at is None else at.isoformat()}
            for reason, row, at in newest.iter_rows()
        ],
        "table": f"/tables/{quote(name, safe='')}" if name in project.tables.names() else None,
    }
