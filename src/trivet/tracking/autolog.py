"""Recording without being asked each time: after one call every fit of an estimator leaves a run.

scikit-learn's estimators are wrapped where their classes are made, so XGBoost's and LightGBM's, which derive from
scikit-learn's base, are among them; the native ``train`` of both, and the optimizers of PyTorch, are wrapped when those
libraries are imported. A library that is not imported is not touched, and one that is not installed costs nothing.

Only the outermost fit is recorded, not those of a pipeline's steps or a forest's trees, and only of what can predict.
Inside an open run the first fit goes into that run and each further one becomes its child; elsewhere a fit opens a run of
its own.

Invariant: a fit does, answers and raises what it would without us. What cannot be recorded is left out, with one warning
in the life of the process.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from trivet.errors import Invalid
from trivet.pipelines.context import Context
from trivet.tracking.entries import parameter
from trivet.tracking.runs import ActiveRun, current, start

__all__ = ["disable", "enable"]

CANDIDATES = 100  # of a search that become children
LONGEST = 250  # characters of a parameter that is no data, such as a nested estimator
LIBRARY = "trivet.autolog"

_log = logging.getLogger(__name__)
_context: Context | None = None
_inside: ContextVar[bool] = ContextVar("trivet_inside_fit", default=False)
_fits = 0  # under way in this process
_filled: set[str] = set()  # runs that took a fit
_warned = False


def enable(context: Context) -> None:
    """Record fits from now on, in the project of ``context``. Calling it again changes the project."""
    global _context  # noqa: PLW0603 - what is recorded where is a fact about the process
    _context = context
    for name, hook in _HOOKS.items():
        if name in sys.modules:
            hook(sys.modules[name])
    if not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


def disable() -> None:
    """Record no more. What was wrapped passes on."""
    global _context  # noqa: PLW0603
    _context = None


# What a fit leaves


def _fitted(function: Callable[..., Any], estimator: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    with _recorded(type(estimator).__name__, "sklearn", predicts=_predicts(estimator)) as run:
        if run is None:
            return function(estimator, *args, **named)
        with _forgiving():
            run.params(_plain(estimator.get_params(deep=True)))
        begun = time.perf_counter()
        answer = function(estimator, *args, **named)
        took = time.perf_counter() - begun
        with _forgiving():
            run.log(fit_seconds=took)
        _describe(run, estimator, args, named)
        return answer


def _describe(run: ActiveRun, estimator: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """What is known after a fit. Each part stands alone: one that fails takes no other with it."""
    with _forgiving():
        if (score := _score(estimator, args, named)) is not None:
            run.log({"training/score": score})
    with _forgiving():
        _curves(run, getattr(estimator, "evals_result_", None) if _has(estimator, "evals_result_") else None)
    with _forgiving():
        if _has(estimator, "cv_results_"):
            _candidates(run, estimator)
    with _forgiving():
        _keep(run, estimator.best_estimator_ if _has(estimator, "best_estimator_") else estimator)


def _keep(run: ActiveRun, model: Any) -> None:
    """A booster in the form of its own library, which reads it back whatever its version; all else as a model."""
    booster = model.get_booster() if hasattr(model, "get_booster") else getattr(model, "booster_", model)
    if hasattr(booster, "save_raw"):
        run.file(bytes(booster.save_raw("json")), "model.json")
    elif hasattr(booster, "model_to_string"):
        run.text(booster.model_to_string(), "model.txt")
    else:
        run.model(model)


def _score(estimator: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> float | None:
    given = dict(zip(("X", "y"), args, strict=False)) | {key: named[key] for key in ("X", "y") if key in named}
    if given.get("y") is None or not _has(estimator, "score"):
        return None
    return float(estimator.score(given["X"], given["y"]))


def _curves(run: ActiveRun, results: Mapping[str, Mapping[str, Sequence[float]]] | None) -> None:
    """What boosting measured after each round, on each of its data."""
    for data, metrics in (results or {}).items():
        for name, values in metrics.items():
            for step, value in enumerate(values):
                run.log({f"{data}/{name}": value}, step=step)


def _candidates(run: ActiveRun, search: Any) -> None:
    found = search.cv_results_
    if _has(search, "best_params_"):
        run.params({f"best/{name}": value for name, value in _plain(search.best_params_).items()})
        run.log(best_score=search.best_score_)
    for number, tried in enumerate(found["params"][:CANDIDATES]):
        with run.child(f"candidate {number}", tags={LIBRARY: "sklearn"}) as child:
            child.params(_plain(tried))
            numbers = {n: v[number] for n, v in found.items() if n.startswith(("mean_", "std_", "rank_"))}
            child.log(numbers)
    if len(found["params"]) > CANDIDATES:
        run.note(f"Of {len(found['params'])} candidates the first {CANDIDATES} are runs of their own.")


def _trained(library: str, function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """``xgboost.train`` and ``lightgbm.train``: parameters, rounds, and what was measured on each data."""
    with _recorded(f"{library}.train", library, predicts=True) as run:
        if run is None:
            return function(*args, **named)
        results: dict[str, Any] = {}
        with _forgiving():
            bound = inspect.signature(function).bind(*args, **named)
            run.params(_plain(bound.arguments.get("params") or {}))
            run.params(num_boost_round=bound.arguments.get("num_boost_round", 100 if library == "lightgbm" else 10))
            if library == "xgboost":
                results = named["evals_result"] = bound.arguments.get("evals_result") or results
            else:
                keep = sys.modules["lightgbm"].record_evaluation(results)
                named["callbacks"] = [*(bound.arguments.get("callbacks") or []), keep]
        answer = function(*args, **named)
        with _forgiving():
            _curves(run, results)
        with _forgiving():
            _keep(run, answer)
        return answer


def _stepped(optimizer: Any, *_: Any) -> None:
    """Before a step of a PyTorch optimizer: what it was made with, once in each open run."""
    run = None if _context is None else current(_context)
    if run is None or (mark := f"{run.id} {id(optimizer)}") in _filled:
        return
    _filled.add(mark)
    with _forgiving():
        run.params({f"optimizer/{name}": value for name, value in _plain(optimizer.defaults).items()})
        run.params({"optimizer": type(optimizer).__name__})


# Where it goes


@contextmanager
def _recorded(name: str, library: str, *, predicts: bool) -> Iterator[ActiveRun | None]:
    """The run for a fit that begins now; None where it is not to be recorded."""
    global _fits  # noqa: PLW0603 - threads of a pool do not know the fit that started them
    inner = _inside.get() or (_fits > 0 and threading.current_thread() is not threading.main_thread())
    if _context is None or inner or not predicts:
        yield None
        return
    token = _inside.set(True)
    _fits += 1
    try:
        run, ours = _opened(_context, name, library)
        if run is None or not ours:
            yield run
            return
        with run:
            yield run
    finally:
        _fits -= 1
        _inside.reset(token)


def _opened(context: Context, name: str, library: str) -> tuple[ActiveRun | None, bool]:
    """A run, and whether it is ours to end."""
    with _forgiving():
        around = current(context)
        if around is not None and around.id not in _filled:
            _filled.add(around.id)
            around.tag({LIBRARY: library, "estimator": name})
            return around, False
        return start(context, name, tags={LIBRARY: library, "estimator": name}), True
    return None, False  # type: ignore[unreachable]  # reached where something within raised


@contextmanager
def _forgiving() -> Iterator[None]:
    """Whatever goes wrong within is no reason for a fit to fail."""
    global _warned  # noqa: PLW0603
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - the invariant of this file
        if not _warned:
            _warned = True
            _log.warning("A fit could not be recorded completely (%s: %s). Training goes on.", type(exc).__name__, exc)


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as data; what is none, such as a nested estimator, as the text that shows it."""
    plain = {}
    for name, value in given.items():
        try:
            plain[str(name)] = parameter(str(name), value)
        except Invalid:
            plain[str(name)] = repr(value)[:LONGEST]
    return plain


def _has(thing: Any, name: str) -> bool:
    """Whether it has an attribute; one that raises anything is none."""
    try:
        return getattr(thing, name) is not None
    except Exception:  # noqa: BLE001 - properties of estimators raise what they like before they are fitted
        return False


def _predicts(estimator: Any) -> bool:
    kind = type(estimator)
    return any(hasattr(kind, name) for name in ("predict", "fit_predict"))


# How libraries are told


def _wrap_class(cls: type) -> None:
    fit = cls.__dict__.get("fit")
    if not inspect.isfunction(fit) or hasattr(fit, "_trivet"):
        return

    @functools.wraps(fit)
    def wrapped(self: Any, *args: Any, **named: Any) -> Any:
        return fit(self, *args, **named) if _context is None else _fitted(fit, self, args, named)

    wrapped._trivet = True  # type: ignore[attr-defined]
    cls.fit = wrapped  # type: ignore[attr-defined]


def _hook_sklearn(module: ModuleType) -> None:
    base = module.BaseEstimator
    if getattr(base, "_trivet", False):
        return

    def __init_subclass__(cls: type, /, **named: Any) -> None:  # noqa: N807
        super(base, cls).__init_subclass__(**named)
        _wrap_class(cls)

    base.__init_subclass__ = classmethod(__init_subclass__)
    base._trivet = True
    known = list(base.__subclasses__())
    while known:
        cls = known.pop()
        _wrap_class(cls)
        known += cls.__subclasses__()


def _hook_train(module: ModuleType) -> None:
    train, library = module.train, module.__name__
    if hasattr(train, "_trivet"):
        return

    @functools.wraps(train)
    def wrapped(*args: Any, **named: Any) -> Any:
        return train(*args, **named) if _context is None else _trained(library, train, args, named)

    wrapped._trivet = True  # type: ignore[attr-defined]
    module.train = wrapped  # type: ignore[attr-defined]


def _hook_torch(module: ModuleType) -> None:
    if not hasattr(module, "_trivet"):
        module.register_optimizer_step_pre_hook(_stepped)
        module._trivet = True  # type: ignore[attr-defined]


_HOOKS: dict[str, Callable[[ModuleType], None]] = {
    "sklearn.base": _hook_sklearn,
    "xgboost": _hook_train,
    "lightgbm": _hook_train,
    "torch.optim.optimizer": _hook_torch,
}


class _Watcher(MetaPathFinder):
    """Tells the hook of a library when it was imported."""

    def __init__(self) -> None:
        self._looking: set[str] = set()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """The spec of a library that has a hook, with a loader that calls it; of all others none."""
        if fullname not in _HOOKS or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader, _HOOKS[fullname])
        return spec


class _Telling(Loader):
    def __init__(self, loader: Loader, hook: Callable[[ModuleType], None]) -> None:
        self._loader, self._hook = loader, hook

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        with _forgiving():
            self._hook(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
