"""A rule and a sink that load, and fail at work."""

from edgecam.sinks import SinkKind


class Rule:
    name = "stumbling"
    event_types = ("stumbled",)

    def __init__(self, number, own):
        pass

    @property
    def memories(self):
        return {}

    def __call__(self, scene):
        raise ZeroDivisionError("a rule divides by zero")


class Sink:
    def publish(self, result):
        raise OSError("a sink has nowhere to go")

    def restart(self, boot_id):
        pass

    def counters(self):
        return {}

    def close(self):
        pass


def open_sink(settings, boot_id, own):
    return Sink()


sink = SinkKind("plugins", "edgecam_toy.stumbling:open_sink")
