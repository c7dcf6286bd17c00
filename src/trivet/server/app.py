"""One ASGI application: the web pages, and the same answers as JSON under ``/api``.

Every page is a *view*, a function from the project and the request's words to plain data (``trivet.server.views``).
The page shows the data through a template of the same name; ``/api`` plus the page's path answers it as JSON. So
nothing can be seen on a page that a program cannot read. ``/metrics`` is for Prometheus. Nothing here writes, no page
needs the network, each works without the one script (keys), and only requests that name this machine are answered
(``trivet.server.hosts``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from trivet import __version__
from trivet.errors import Ambiguous, Invalid, NotFound, Refused, TrivetError
from trivet.server import views
from trivet.server.formats import FILTERS
from trivet.server.health import Health
from trivet.server.hosts import LoopbackOnly

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["create_app"]

_HERE = Path(__file__).parent
SECTIONS = [
    ("Overview", "/"),
    ("Features", "/features"),
    ("Series", "/series"),
    ("Tables", "/tables"),
    ("Quality", "/quality"),
    ("Runs", "/runs"),
    ("Models", "/models"),
    ("Deployments", "/deployments"),
]
# path, template and section, view
PAGES: list[tuple[str, str, str, Callable[..., dict[str, Any]]]] = [
    ("/", "overview", "Overview", views.overview),
    ("/features", "features", "Features", views.features),
    ("/features/{name}", "definition", "Features", views.definition),
    ("/features/{name}/{feature}", "feature", "Features", views.feature),
    ("/sources", "sources", "Features", views.sources),
    ("/sources/{name}", "source", "Features", views.source),
    ("/entities/{name}", "entity", "Features", views.entity),
    ("/series", "series", "Series", views.series),
    ("/series/{name}", "one_series", "Series", views.one_series),
    ("/tables", "tables", "Tables", views.tables),
    ("/tables/{name}", "table", "Tables", views.table),
    ("/quality", "quality", "Quality", views.quality),
    ("/quality/{subject}", "expectations", "Quality", views.expectations),
    ("/runs", "runs", "Runs", views.runs),
    ("/runs/{id}", "run", "Runs", views.run),
    ("/diff", "diff", "Runs", views.difference),
    ("/diff/{a}/{b}", "diff", "Runs", views.difference),
    ("/compare", "compare", "Runs", views.compare),
    ("/models", "models", "Models", views.models),
    ("/models/{name}/{version:int}", "model", "Models", views.model),
    ("/deployments", "deployments", "Deployments", views.deployments),
    ("/deployments/{id}", "deployment", "Deployments", views.deployment),
    ("/predictions/{id}", "prediction", "Deployments", views.prediction),
    ("/artifacts/{digest}", "artifact", "", views.artifact),
]
_MOST_WORDS = 600
"""Of a sentence that repeats what was asked, which may be of any length."""
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(project: Project, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The pages and the API of ``project``, after the routes of other protocols in ``more``."""
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates.filters.update(FILTERS)
    shown = _show(project)
    routes = [
        Route("/health", _health),
        Route("/metrics", _metrics(Health(project))),
        Route("/show", shown),
        Route("/show/{reference:path}", shown),
    ]
    for path, template, section, view in PAGES:
        routes.append(Route("/api" + path.rstrip("/"), _as_json(project, view)))
        routes.append(Route(path, _as_page(project, templates, template, section, view)))
    static = Mount("/static", StaticFiles(directory=_HERE / "static"))
    app = Starlette(routes=[*more, *routes, static], middleware=[Middleware(LoopbackOnly)])
    for kind in (TrivetError, HTTPException):
        app.add_exception_handler(kind, _failure(project, templates))
    return app


def _as_json(project: Project, view: Callable[..., dict[str, Any]]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        data = await run_in_threadpool(view, project, **_words(view, request))
        return _json(views.without_drawings(data))

    return answer


def _as_page(
    project: Project, templates: Environment, template: str, section: str, view: Callable[..., dict[str, Any]]
) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        data = await run_in_threadpool(view, project, **_words(view, request))
        return _html(
            templates, f"{template}.html", project, section, path=request.url.path, query=request.url.query, data=data
        )

    return answer


def _words(view: Callable[..., dict[str, Any]], request: Request) -> dict[str, Any]:
    known = [name for name in signature(view).parameters if name != "project"]
    for name in request.query_params:
        if name not in known:
            raise Invalid(str(NotFound("query parameter", name, known)))
    return {**request.query_params, **request.path_params}


def _show(project: Project) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        reference = request.path_params.get("reference", request.query_params.get("id", ""))
        return RedirectResponse(await run_in_threadpool(views.place, project, reference), 303, headers=_SECURITY)

    return answer


async def _health(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
    return _json({"status": "ok", "version": __version__})


def _metrics(health: Health) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
        text = await run_in_threadpool(health.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers=_SECURITY)

    return answer


def _failure(project: Project, templates: Environment) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, exc: Exception) -> Response:
        status, message = _status(exc)
        message = message if len(message) <= _MOST_WORDS else f"{message[:_MOST_WORDS]} ..."
        if request.url.path.startswith("/api"):
            return _json({"error": message}, status)
        data = {"title": "Not found" if status == 404 else "Error", "status": status, "message": message}
        return _html(templates, "error.html", project, "", path="/", data=data, status=status)

    return answer


def _status(exc: Exception) -> tuple[int, str]:
    match exc:
        case HTTPException():
            return exc.status_code, "There is no such page." if exc.status_code == 404 else exc.detail
        case NotFound() | Ambiguous():
            return 404, str(exc)
        case Refused():
            return 403, str(exc)
        case Invalid():
            return 400, str(exc)
        case _:
            return 409, str(exc)


def _html(
    templates: Environment,
    template: str,
    project: Project,
    section: str,
    *,
    path: str,
    query: str = "",
    data: Mapping[str, Any],
    status: int = 200,
) -> Response:
    page = templates.get_template(template).render(
        sections=SECTIONS,
        section=section,
        root=str(project.root),
        json_href=quote(("/api" + path.rstrip("/")), safe="/") + (f"?{query}" if query else ""),
        title=data.get("title", section or "Trivet"),
        **{key: value for key, value in data.items() if key != "title"},
    )
    return HTMLResponse(page, status_code=status, headers=_SECURITY)


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json", headers=_SECURITY)
