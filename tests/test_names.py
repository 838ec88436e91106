"""What is suggested for a name that does not exist."""

import pytest

from stir import names

KNOWN = ["stage1", "stage2", "stage3", "stem", "classifier"]


@pytest.mark.parametrize(
    ("name", "options", "remedy"),
    [
        ("stag3", {}, "did you mean 'stage3'?"),
        ("stag", {"most": 3}, "did you mean 'stage3', 'stage2' or 'stage1'?"),
        ("clasifier", {"before": "resnet:"}, "did you mean 'resnet:classifier'?"),
        ("xyzzy", {}, "use one of stage1, stage2, stage3, stem, classifier"),
        ("xyzzy", {"shown": iter(["stem"]), "before": "resnet:"}, "use one of resnet:stem"),
        (3, {}, "use one of stage1, stage2, stage3, stem, classifier"),
        ("stack", {"least": 0.9}, "use one of stage1, stage2, stage3, stem, classifier"),
    ],
)
def test_the_nearest_names_are_suggested_or_else_all(name, options, remedy):
    assert names.suggest(name, iter(KNOWN), **options) == remedy


def test_no_room_looks_for_near_names_by_itself(request):
    package = request.config.rootpath / "stir"
    assert [path.name for path in package.rglob("*.py") if "difflib" in path.read_text()] == ["names.py"]
