"""What a model finds is stated by its decoder, and never read from the family's name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import pytest
from programs import ROOT

from edgecam.core.errors import ModelError
from edgecam.core.protocols import Finds
from edgecam.homeassistant.announce import features
from edgecam.inference import catalog
from edgecam.inference.decoders import FAMILIES, Family, families, recognise
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings
from edgecam.tools.evaluate.accuracy import metric_of

BUNDLED = [card.file for card in catalog.cards()]


@pytest.fixture(scope="module")
def loaded() -> dict[str, Model]:
    inference = InferenceSettings(threads=1, probe=False)
    return {name: Model(ModelSettings(path=str(name)), inference) for name in BUNDLED}


def test_every_bundled_model_states_what_it_finds(loaded: dict[str, Model]) -> None:
    found = {model.decoder.family: model.decoder.finds for model in loaded.values()}
    expected = {
        "posenet": "poses",
        "movenet": "poses",
        "ssd": "boxes",
        "nanodet": "boxes",
        "documents": "documents",
    }
    assert found == expected
    assert all(model.decoder.finds in get_args(Finds) for model in loaded.values())


def test_no_code_outside_decides_by_a_family_name() -> None:
    decides = re.compile(r"family(\.startswith|\.partition| [=!]= | in \()")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "edgecam").rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if decides.search(line)
    ]
    assert found == []


def test_a_pose_family_of_another_name_loses_nothing(loaded: dict[str, Model]) -> None:
    model = next(model for model in loaded.values() if model.decoder.family == "posenet")
    before = (model.finds_poses, model.counted, metric_of(model))
    settings = Settings(model=(ModelSettings(path="posenet"),))
    announced = features(settings, [model])
    model.decoder = replace(model.decoder, family="yolo-pose")  # type: ignore[type-var]
    assert (model.finds_poses, model.counted, metric_of(model)) == before
    assert before == (True, ("person",), "keypoints")
    assert features(settings, [model]) == announced
    assert announced.postures


@pytest.mark.parametrize("family", list(families()), ids=FAMILIES)
def test_every_family_tells_its_layout_in_the_refusal_of_an_unknown_model(family: Family) -> None:
    with pytest.raises(ModelError) as refused:
        recognise((), (), FamilyContext())
    assert family.LAYOUT
    assert all(f"  {line}\n" in f"{refused.value}\n" for line in family.LAYOUT.splitlines())
