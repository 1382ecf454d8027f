"""Which frames of a live camera a model sees; how old they are ``scripts/bench --check`` says."""

from live_ages import Camera, run

from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings

# One that is captured, one prepared, one inferred, one that is published, and one on its way
# between each two of them.
MOST_INSIDE = 8
MOST_GROWN_BYTES = 8e6


def test_a_slow_model_sees_no_queue_of_old_frames_and_memory_stays_flat() -> None:
    settings = ModelSettings(path="posenet-int8", input_size="1153x1153")
    slow = Model(settings, InferenceSettings(threads=1, probe=False))
    pipeline, ages = run(slow, Camera(25.0), frames=30)
    assert pipeline.dropped > 0, "the model keeps up"
    assert ages.sequences == sorted(set(ages.sequences))
    assert max(pipeline.inside) <= MOST_INSIDE
    assert ages.rss_bytes[-1] - ages.rss_bytes[10] < MOST_GROWN_BYTES
