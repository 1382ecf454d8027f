"""GStreamer's RTSP server on loopback: /h264, /jpeg, and /locked behind a user and password.

Run with the system's Python (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi,
gstreamer1.0-plugins-base, -good and -ugly). A second of GOP, 20 pictures a second.
"""

from __future__ import annotations

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURES = (
    "videotestsrc is-live=true pattern=ball"
    " ! video/x-raw,format=I420,width=320,height=240,framerate=20/1"
)
H264 = f"{PICTURES} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=20 ! rtph264pay"
JPEG = f"{PICTURES} ! jpegenc ! rtpjpegpay"


def factory(pipeline: str) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {pipeline} name=pay0 pt=96 )")
    made.set_shared(True)
    return made


def locked(server: GstRtspServer.RTSPServer) -> GstRtspServer.RTSPMediaFactory:
    """A factory that only the user ``eva`` with ``s3cret`` may see and use."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("eva", "s3cret"), token)
    anyone = GstRtspServer.RTSPToken()
    anyone.set_string("media.factory.role", "anyone")
    auth.set_default_token(anyone)
    server.set_auth(auth)
    made = factory(H264)
    made.add_role_from_structure(role("viewer", True))
    made.add_role_from_structure(role("anyone", False))
    return made


def role(name: str, yes: bool) -> Gst.Structure:
    """May see the stream (else the server says 404) and, with ``yes``, play it (else 401)."""
    flag = "true" if yes else "false"
    text = f"{name}, media.factory.access=(boolean)true, media.factory.construct=(boolean){flag};"
    made, _ = Gst.Structure.from_string(text)
    return made


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    mounts = server.get_mount_points()
    mounts.add_factory("/locked", locked(server))
    for path, pipeline in (("/h264", H264), ("/jpeg", JPEG)):
        made = factory(pipeline)
        made.add_role_from_structure(role("viewer", True))
        made.add_role_from_structure(role("anyone", True))
        mounts.add_factory(path, made)
    server.attach(None)
    loop = GLib.MainLoop()
    threading.Thread(target=loop.run, daemon=True).start()
    print(server.get_bound_port(), flush=True)
    for line in sys.stdin:
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
