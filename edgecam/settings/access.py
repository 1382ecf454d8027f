"""The settings of what others may change or look at from elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgecam.settings.section import Pixels, Section

# What may change while edgecam runs: neither a path nor a URL.
RemoteSetting = Literal[
    "pause",
    "snapshot",
    "decode.score_threshold",
    "decode.max_poses",
    "decode.nms_radius_px",
    "decode.min_pose_score",
    "decode.nms_iou",
    "decode.max_detections",
    "decode.top_k",
]


class RemoteSettings(Section, frozen=True):
    """Which settings the network may change, by ``set/<setting>``; none unless listed."""

    allow: Annotated[
        tuple[RemoteSetting, ...],
        Meta(description="what MQTT commands may change; snapshot: ask for a picture"),
    ] = ()


class WebSettings(Section, frozen=True):
    """The live page; nothing is served without ``listen``."""

    listen: Annotated[
        str | None, Meta(description="HOST:PORT of the live page, such as 127.0.0.1:8080")
    ] = None
    token_file: Annotated[
        str | None,
        Meta(description="file with the page's token; needed where other machines reach it"),
    ] = None
    read_token_file: Annotated[
        str | None,
        Meta(
            description="file with a second token, which opens pictures and /api alone, for others"
        ),
    ] = None
    hosts: Annotated[
        tuple[str, ...],
        Meta(description="further names, or HOST:PORT, under which browsers reach the page"),
    ] = ()
    pictures: Annotated[
        bool, Meta(description="false: skeletons and boxes only, no picture is sent")
    ] = True
    width_px: Annotated[Pixels, Meta(description="larger pictures are made this wide")] = 640
    quality: Annotated[int, Meta(ge=1, le=100, description="of the JPEG")] = 75
    controls: Annotated[
        tuple[Literal["pause", "decode.score_threshold", "snapshot", "zones", "detect"], ...],
        Meta(
            description="what the page may do; nothing unless listed: zones saves what is drawn "
            "there, detect looks at pictures that others send"
        ),
    ] = ()
    detect_rate_hz: Annotated[
        float,
        Meta(
            gt=0.0,
            le=100.0,
            description="pictures a second that POST /api/detect looks at, of all who ask",
        ),
    ] = 1.0
