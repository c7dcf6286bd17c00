"""One ASGI application: the web pages, and the same answers as JSON under ``/api``.

Every page is a *view*, a function from the project and the request's words to plain data (``trivet.server.views``).
The page shows the data through a template of the same name; ``/api`` plus the page's path answers it as JSON. So
nothing can be seen on a page that a program cannot read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from trivet import __version__
from trivet.errors import Ambiguous, Invalid, NotFound, Refused, TrivetError
from trivet.server import views

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["create_app"]

_HERE = Path(__file__).parent
SECTIONS = [
    ("Overview", "/"),
    ("Features", "/features"),
    ("Runs", "/runs"),
    ("Models", "/models"),
    ("Deployments", "/deployments"),
]
# path, template and section, view
PAGES: list[tuple[str, str, str, Callable[..., dict[str, Any]]]] = [
    ("/", "overview", "Overview", views.overview),
    ("/features", "features", "Features", views.features),
    ("/features/{name}", "feature", "Features", views.feature),
    ("/runs", "runs", "Runs", views.runs),
    ("/runs/{id}", "run", "Runs", views.run),
    ("/models", "models", "Models", views.models),
    ("/models/{name}/{version:int}", "model", "Models", views.model),
    ("/deployments", "deployments", "Deployments", views.deployments),
    ("/deployments/{id}", "deployment", "Deployments", views.deployment),
    ("/predictions/{id}", "prediction", "Deployments", views.prediction),
    ("/artifacts/{digest}", "artifact", "Overview", views.artifact),
]
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(project: Project) -> Starlette:
    """The pages and the API of ``project``."""
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    routes = [Route("/health", _health), Route("/show/{reference:path}", _show(project))]
    for path, template, section, view in PAGES:
        routes.append(Route("/api" + path.rstrip("/"), _as_json(project, view)))
        routes.append(Route(path, _as_page(project, templates, template, section, view)))
    static = Mount("/static", StaticFiles(directory=_HERE / "static"))
    app = Starlette(routes=[*routes, static])
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
        return _html(templates, f"{template}.html", project, section, path=request.url.path, data=data)

    return answer


def _words(view: Callable[..., dict[str, Any]], request: Request) -> dict[str, Any]:
    known = [name for name in signature(view).parameters if name != "project"]
    for name in request.query_params:
        if name not in known:
            raise Invalid(str(NotFound("query parameter", name, known)))
    return {**request.query_params, **request.path_params}


def _show(project: Project) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return RedirectResponse(await run_in_threadpool(views.place, project, request.path_params["reference"]))

    return answer


async def _health(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
    return _json({"status": "ok", "version": __version__})


def _failure(project: Project, templates: Environment) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, exc: Exception) -> Response:
        status, message = _status(exc)
        if request.url.path.startswith("/api"):
            return _json({"error": message}, status)
        data = {"status": status, "message": message}
        return _html(templates, "error.html", project, "", path=request.url.path, data=data, status=status)

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
    data: Mapping[str, Any],
    status: int = 200,
) -> Response:
    page = templates.get_template(template).render(
        sections=SECTIONS,
        section=section,
        root=str(project.root),
        json_href="/api" + path.rstrip("/"),
        title=data.get("title", section or "Trivet"),
        **{key: value for key, value in data.items() if key != "title"},
    )
    return HTMLResponse(page, status_code=status, headers=_SECURITY)


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json", headers=_SECURITY)
