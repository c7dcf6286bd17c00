from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trivet.errors import Corrupt
from trivet.features.sources import SourceKind
from trivet.ledger import Artifact

NOW = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["../outside.csv", "/tmp/outside.csv", "a/../../outside.csv", "a\\b.csv", ""])
@pytest.mark.parametrize("form", ["csv", "folder"])
def test_files_outside_of_the_folder_are_refused(context, name, form):
    file = context.blobs.put(b"a\n1\n")
    artifact = Artifact.of("source", {"name": "s", "format": form}, {name: file}, created=NOW)
    with pytest.raises(Corrupt, match="outside of its own folder"):
        SourceKind().load(artifact, context.blobs)


@pytest.mark.parametrize(("form", "files"), [("xlsx", ["a.xlsx"]), ("csv", ["a.csv", "b.csv"]), ("csv", [])])
def test_what_is_no_source_is_refused(context, form, files):
    file = context.blobs.put(b"a\n1\n")
    artifact = Artifact.of("source", {"name": "s", "format": form}, dict.fromkeys(files, file), created=NOW)
    with pytest.raises(Corrupt, match="which is no source"):
        SourceKind().load(artifact, context.blobs)
