"""MLflow's protocol over the ledger: the unmodified ``mlflow`` client works against ``trivet server``.

``routes`` is the door. Each noun of the protocol has a module: ``experiments``, ``runs``, ``metrics``, ``datasets``,
``artifacts``, ``logged_models``, ``registry``. ``wire`` holds the rules of the JSON, ``identity`` how ids are written there
and here, ``filters`` and ``predicates`` the two dialects of search. What is logged this way are runs, artifacts and
names like any others: there is no second store.
"""

from trivet.interop.mlflow.routes import routes

__all__ = ["routes"]
