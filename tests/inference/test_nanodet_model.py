"""The bundled NanoDet, as it installs."""

from __future__ import annotations

from edgecam.core.protocols import DecodeOptions
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.sources.video import VideoFile


def test_it_finds_the_people_and_cars_of_the_clip() -> None:
    frame = next(iter(VideoFile(str(bundled.clip())).frames()))
    model = Model(ModelSettings(path="nanodet"), InferenceSettings(threads=1))
    assert (model.decoder.family, model.fit) == ("nanodet", "letterbox")
    assert len(model.decoder.labels or ()) == 80
    staged = model.preprocess(frame, model.buffer())
    options = DecodeOptions(score_threshold=0.5)
    found = model.decode(model.invoke(staged), staged, frame, options).detections
    assert {detection.label for detection in found} == {"person", "car"}
    people = [detection.box for detection in found if detection.label == "person"]
    assert len(people) >= 5
    for box in people:
        # Whole pedestrians, which stand.
        assert 0 <= box.x_min < box.x_max <= frame.width_px
        assert box.y_max - box.y_min > 1.5 * (box.x_max - box.x_min)
