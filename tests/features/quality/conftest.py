from __future__ import annotations

from trivet import plugins

plugins.BUILTIN["kind"].setdefault("expectations", ("trivet.features.quality.expectations:open_kind", "features"))
plugins.BUILTIN["kind"].setdefault("quality_report", ("trivet.features.quality.report:open_kind", "features"))
