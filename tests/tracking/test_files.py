import numpy as np
import pytest
from sklearn.metrics import RocCurveDisplay

from trivet.errors import Invalid
from trivet.pipelines import values
from trivet.tracking.files import figure_bytes, save_file


class MatplotlibLike:
    """What ``matplotlib.figure.Figure`` does: writes itself into a stream."""

    def savefig(self, stream, **options):
        assert options.pop("metadata") == {"Software": None}
        assert options == {"format": "png", "bbox_inches": "tight"}
        stream.write(b"\x89PNG picture")


class PlotlyLike:
    def to_plotly_json(self):
        return {"data": []}

    def to_json(self):
        return '{"data":[]}'


def test_figures_are_known_by_what_they_do():
    assert figure_bytes(MatplotlibLike()) == (b"\x89PNG picture", ".png")
    assert figure_bytes(PlotlyLike()) == (b'{"data":[]}', ".json")


def test_axes_and_displays_lead_to_their_figure():
    axes = type("Axes", (), {"figure": MatplotlibLike()})()
    display = RocCurveDisplay(fpr=np.array([0, 1]), tpr=np.array([0, 1]))
    display.figure_ = MatplotlibLike()
    assert figure_bytes(axes) == figure_bytes(display) == (b"\x89PNG picture", ".png")


def test_another_thing_is_no_figure():
    with pytest.raises(Invalid, match=r"A builtins\.dict is no figure"):
        figure_bytes({})


def test_bytes_and_files_of_one_content_are_one_artifact_and_come_back(context, tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"hello")
    first, second = save_file(context, b"hello", "log.txt"), save_file(context, path, "logs/log.txt")
    assert first.digest == second.digest == values.save(path, context).digest
    assert values.load(context.ledger.artifact(first.digest), context.blobs).read_bytes() == b"hello"
