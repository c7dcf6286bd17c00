"""A fitted estimator with its signature: what it takes, by name and type, and what it answers.

Encoding is ``trivet.pipelines.values.encoding``, identity ``trivet.pipelines.values.fitted``. Models are stored with
skops and loaded only when every type inside is from scikit-learn, NumPy or SciPy: a model file cannot run code.
skops and scikit-learn take seconds to import, so they are imported when a model is fitted, saved or loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trivet.digest import digest
from trivet.errors import Corrupt, Invalid, NotFound, Refused
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Kind, Saved
from trivet.pipelines.values.encoding import Column, Matrix, Signature, column_of, encode_table, row_encoder
from trivet.pipelines.values.fitted import fitted_digest
from trivet.pipelines.values.table import as_arrow, form_of
from trivet.types import Digest, Json

__all__ = ["Column", "Model", "ModelKind", "Signature", "open_kind"]

ESTIMATOR = "model.skops"
SIGNATURE = "signature.json"

Answers: TypeAlias = NDArray[Any]


class Model:
    """A fitted estimator that knows the names, types and categories of its inputs.

    Attributes:
        estimator: the fitted scikit-learn estimator.
        signature: its inputs in order, its target and its classes.
        training_set: digest of the artifact that it was fitted on, where that is known.

    Example:
        >>> import polars as pl
        >>> from sklearn.linear_model import LinearRegression
        >>> rows = pl.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]})
        >>> model = Model.fit(LinearRegression(), rows, label="y")
        >>> [column.name for column in model.signature.inputs], model.signature.target
        (['x'], 'y')
    """

    __trivet_kind__ = "model"

    def __init__(self, estimator: Any, signature: Signature, training_set: Digest | None = None) -> None:
        self.estimator, self.signature, self.training_set = estimator, signature, training_set
        self._encode = row_encoder(signature)
        self._wants_frames = hasattr(estimator, "feature_names_in_")

    def __repr__(self) -> str:
        classes = f", {len(self.signature.classes)} classes" if self.signature.classes else ""
        inputs = len(self.signature.inputs)
        return f"<Model {type(self.estimator).__name__} of {self.signature.target!r}: {inputs} inputs{classes}>"

    @classmethod
    def fit(
        cls, estimator: Any, train: Any, *, features: Sequence[str] | None = None, label: str | None = None
    ) -> Model:
        """Fit a clone of ``estimator`` and remember how its inputs were encoded.

        Text and categorical columns become categories, encoded by their place among the sorted values seen;
        null and unseen become NaN. A histogram gradient boosting estimator whose ``categorical_features`` was left
        at its default is told which columns are categories, as it would be by a frame with categorical
        columns, except those with more categories than it has bins (255): these it sees as ordered numbers.

        Args:
            estimator: an unfitted scikit-learn estimator or pipeline; it is left as it is.
            train: a training set, or a pandas, Polars or Arrow frame.
            features: the inputs; all features of a training set, or all columns but the label.
            label: the target's column; a training set knows it.

        Raises:
            NotFound: a feature or the label is no column.
            Invalid: a column cannot be encoded, the label has nulls, or there are no rows.
        """
        table = train.to_arrow() if hasattr(train, "columns_of_features") else as_arrow(train)
        label = label or getattr(train, "label", None)
        if label is None:
            raise Invalid(f"Which column to predict? Give label=, one of: {', '.join(table.column_names)}.")
        signature = Signature(_inputs(train, table, features, label), label)
        target = _target(table, label)
        fitted = _prepared(estimator, signature).fit(encode_table(signature, table), target)
        signature = msgspec.structs.replace(signature, classes=_classes(fitted))
        artifact = getattr(train, "artifact", None) or getattr(train, "origin", None)
        return cls(fitted, signature, artifact.digest if artifact is not None else None)

    @classmethod
    def wrap(cls, estimator: Any, *, target: str = "") -> Model:
        """A fitted scikit-learn estimator as it is.

        Its inputs are those that it remembers (``feature_names_in_``), else ``x0``, ``x1``...; what it was
        fitted on is not known to it, so text columns that its own encoders take are found in these.

        Raises:
            Invalid: the estimator is not fitted.
        """
        count = getattr(estimator, "n_features_in_", None)
        if count is None:
            raise Invalid(f"{type(estimator).__name__} is not fitted, so it cannot predict. Call .fit(X, y) first.")
        names = getattr(estimator, "feature_names_in_", None)
        known = _own_categories(estimator)
        names = [f"x{place}" for place in range(count)] if names is None else [str(name) for name in names]
        inputs = tuple(
            Column(name, "category", known[name]) if name in known else Column(name, "number") for name in names
        )
        return cls(estimator, Signature(inputs, target, _classes(estimator)))

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(column.name for column in self.signature.inputs)

    def encode(self, frame: Any) -> Matrix:
        """The matrix of a frame (or a training set), shape (rows, inputs), float64.

        Raises:
            NotFound: an input is no column of the frame.
            Invalid: a column has another type than the signature says.
        """
        return encode_table(self.signature, _table(frame))

    def encode_row(self, values: Mapping[str, Any]) -> Matrix:
        """The matrix of one row of values by name, shape (1, inputs), float64.

        Raises:
            Invalid: a value is missing or has another type; the sentence names the column, the value and what is
                expected. None and NaN are allowed.
        """
        return np.array((self._encode(values),), np.float64)

    def predict(self, frame: Any) -> Answers:
        """One answer for each row of a frame."""
        found: Answers = self.estimator.predict(self._input(frame))
        return found

    def predict_proba(self, frame: Any) -> Matrix:
        """The probability of each of ``signature.classes`` for each row of a frame.

        Raises:
            Invalid: the estimator has no probabilities.
        """
        if not hasattr(self.estimator, "predict_proba"):
            raise Invalid(f"{type(self.estimator).__name__} has no probabilities. Use predict.")
        found: Matrix = self.estimator.predict_proba(self._input(frame))
        return found

    def score(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Json]]:
        """Answers for rows of values by name, as JSON.

        ``{"prediction": class, "probability": {class: p}}`` for a classifier with probabilities, where the
        prediction is the most probable class; else ``{"prediction": value}``. Keys are the classes' text.

        Raises:
            Invalid: as ``encode_row``.
        """
        if not rows:
            return []
        data = self._rows(rows)
        try:
            return self._answers(data)
        except ValueError as exc:  # a null that the estimator cannot take, known only to it
            raise Invalid(f"{type(self.estimator).__name__} cannot answer: {str(exc).partition(chr(10))[0]}") from exc

    def _answers(self, data: Any) -> list[dict[str, Json]]:
        if self.signature.classes is None or not hasattr(self.estimator, "predict_proba"):
            return [{"prediction": _json(answer)} for answer in self.estimator.predict(data)]
        classes = self.signature.classes
        names = [name if isinstance(name, str) else msgspec.json.encode(name).decode() for name in classes]
        found = self.estimator.predict_proba(data)
        return [
            {"prediction": classes[best], "probability": dict(zip(names, chances, strict=True))}
            for best, chances in zip(found.argmax(axis=1).tolist(), found.tolist(), strict=True)
        ]

    def _rows(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        encoded = [self._encode(row) for row in rows]
        if not self._wants_frames:
            return np.array(encoded, np.float64)
        columns = {name: [row[name] for row in rows] for name in self.features}
        return _named_frame(pa.table(columns))

    def _input(self, frame: Any) -> Any:
        """What the estimator takes: our matrix, or a frame where it was fitted on one."""
        if not self._wants_frames:
            return self.encode(frame)
        table = _table(frame)
        for name in self.features:
            if name not in table.column_names:
                raise NotFound("column", name, table.column_names)
        return _named_frame(table.select(list(self.features)))


class ModelKind:
    """Models, and fitted scikit-learn estimators, which are wrapped."""

    name = "model"

    def accepts(self, value: object) -> bool:
        """Whether the value is a model or a scikit-learn estimator."""
        return isinstance(value, Model) or any(
            parent.__module__.partition(".")[0] == "sklearn" for parent in type(value).__mro__
        )

    def save(self, value: Any, blobs: Blobs) -> Saved:
        """Store a model with skops."""
        import skops.io

        model = value if isinstance(value, Model) else Model.wrap(value)
        content = digest("model", [fitted_digest(model.estimator), model.signature])
        files = {
            ESTIMATOR: blobs.put(skops.io.dumps(model.estimator)),
            SIGNATURE: blobs.put(msgspec.json.format(msgspec.json.encode(model.signature), indent=2)),
        }
        kind = type(model.estimator)
        spec = {
            "estimator": f"{kind.__module__}.{kind.__qualname__}",
            "signature": msgspec.json.decode(msgspec.json.encode(model.signature)),
            "training_set": model.training_set,
        }
        return Saved(spec, files, content)

    def load(self, artifact: Artifact, blobs: Blobs) -> Model:
        """The model again.

        Raises:
            Refused: the file holds a type that is not scikit-learn's, NumPy's or SciPy's.
            Corrupt: the file is no model.
        """
        try:
            signature = msgspec.json.decode(blobs.read(artifact.files[SIGNATURE].digest), type=Signature)
        except msgspec.DecodeError as exc:
            raise Corrupt(f"The signature of {artifact.id} cannot be read: {exc}.") from exc
        estimator = _load_trusted(blobs.read(artifact.files[ESTIMATOR].digest), artifact)
        return Model(estimator, signature, artifact.spec.get("training_set"))


def open_kind() -> Kind:
    """The kind, for ``trivet.plugins``."""
    return ModelKind()


# --- trust -------------------------------------------------------------------------------------------------

_TRUSTED = frozenset({"sklearn", "numpy", "scipy"})
_PLAIN = frozenset(
    f"builtins.{name}"
    for name in [
        "bool",
        "int",
        "float",
        "complex",
        "str",
        "bytes",
        "bytearray",
        "list",
        "tuple",
        "dict",
        "set",
        "frozenset",
        "slice",
        "range",
    ]
) | {"collections.OrderedDict", "collections.defaultdict", "functools.partial"}
_UNTRUSTED_PARTS = frozenset(
    ["datasets", "testing", "_testing", "tests", "f2py", "ctypeslib", "distutils", "external", "externals"]
)
_UNTRUSTED_NAMES = frozenset({"NpzFile", "DataSource", "FunctionTransformer"})
_FUNCTIONS = frozenset({"sklearn.utils.validation.check_array"})  # what fitted estimators hold
_WIDTHS = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64), "complex": (64, 128)}
_NUMBERS = frozenset(f"{kind}{width}" for kind, widths in _WIDTHS.items() for width in widths) | frozenset(
    {"bool_", "str_", "dtype", "ndarray", "generic", "datetime64", "timedelta64"}
)


def _load_trusted(content: bytes, artifact: Artifact) -> Any:
    import zipfile

    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        types = skops.io.get_untrusted_types(data=content)
        if strange := sorted(name for name in types if not _is_trusted(name)):
            raise Refused(
                f"{artifact.id} holds {', '.join(strange)}, and only scikit-learn's, NumPy's and SciPy's are loaded, "
                "because others could run code."
            )
        return skops.io.loads(content, trusted=types)
    except UntrustedTypesFoundException as exc:
        raise Refused(f"{artifact.id} holds types that are not trusted: {exc}") from exc
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError) as exc:
        if isinstance(exc, Refused):
            raise
        raise Corrupt(f"{artifact.id} cannot be read as a model: {exc}.") from exc


def _is_trusted(name: str) -> bool:
    """Plain types, and classes of the trusted libraries; of their functions, which may write files, only those named."""
    parts = name.split(".")
    a_class = parts[-1].lstrip("_")[:1].isupper() and parts[-1] not in _UNTRUSTED_NAMES
    a_number = parts[0] == "numpy" and len(parts) == 2 and parts[1] in _NUMBERS
    return name in _PLAIN | _FUNCTIONS or (
        parts[0] in _TRUSTED and not _UNTRUSTED_PARTS.intersection(parts) and (a_class or a_number)
    )


# --- fitting -----------------------------------------------------------------------------------------------


def _inputs(train: Any, table: pa.Table, features: Sequence[str] | None, label: str) -> tuple[Column, ...]:
    """The columns to fit on, those of a training set with the feature that they come from."""
    known = {column.name: column for column in getattr(train, "columns_of_features", ())}
    names = list(features) if features is not None else list(known) or [n for n in table.column_names if n != label]
    for name in (*names, label):
        if name not in table.column_names:
            raise NotFound("column", name, table.column_names)
    if label in names:
        raise Invalid(f"The label {label!r} is among the features, and a model must not see what it predicts.")
    found = []
    for name in names:
        column = column_of(name, table.column(name))
        source = known.get(name)
        found.append(msgspec.structs.replace(column, feature=source.feature, view=source.view) if source else column)
    return tuple(found)


def _target(table: pa.Table, label: str) -> Answers:
    values = table.column(label)
    if table.num_rows == 0:
        raise Invalid("There is nothing to fit on: the training data has no rows.")
    if values.null_count:
        raise Invalid(f"The label {label!r} is null in {values.null_count} of {len(values)} rows. Leave these out.")
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if column_of(label, values).type == "category":
        return np.array(values.to_pylist())
    return values.to_numpy()  # type: ignore[no-any-return]


def _prepared(estimator: Any, signature: Signature) -> Any:
    """A clone, told which columns are categories where it can use that and was not told."""
    from sklearn.base import clone

    clean = clone(estimator)
    if type(clean).__name__ not in {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
        return clean
    if clean.categorical_features != type(clean)().categorical_features:
        return clean
    few = [
        place
        for place, column in enumerate(signature.inputs)
        if column.type == "category" and 0 < len(column.categories or ()) <= clean.max_bins
    ]
    return clean.set_params(categorical_features=few or None)


def _classes(estimator: Any) -> tuple[Any, ...] | None:
    classes = getattr(estimator, "classes_", None)
    return None if classes is None else tuple(_json(value) for value in classes)


def _own_categories(estimator: Any) -> dict[str, tuple[str, ...]]:
    """Text columns that the estimator's own encoders know, by the categories that these have seen."""
    found: dict[str, tuple[str, ...]] = {}
    for _, step in getattr(estimator, "steps", ()):
        found |= _own_categories(step)
    for _, step, columns in getattr(estimator, "transformers_", ()):
        for inner in [inner for _, inner in getattr(step, "steps", [("", step)])]:
            seen = getattr(inner, "categories_", ())
            if len(seen) == len(columns):
                text = {str(c): tuple(map(str, s)) for c, s in zip(columns, seen, strict=True) if _is_text(s)}
                found |= {name: tuple(value) for name, value in text.items()}
    return found


def _is_text(values: Any) -> bool:
    return bool(len(values)) and all(isinstance(value, str) or value is None or value != value for value in values)


def _table(frame: Any) -> pa.Table:
    if form_of(frame):
        return as_arrow(frame)
    return frame.to_arrow() if hasattr(frame, "to_arrow") else as_arrow(frame)


def _named_frame(table: pa.Table) -> Any:
    """A frame with names, for an estimator that was fitted on one."""
    if find_spec("pandas") is not None:
        return table.to_pandas()
    import polars as pl

    return pl.from_arrow(table)


def _json(value: Any) -> Json:
    plain: Json = value.item() if hasattr(value, "item") else value
    return plain
