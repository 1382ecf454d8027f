"""What helps against a source that cannot be opened, by the kind of its fault."""

from __future__ import annotations

OF_CAMERA = {
    "forbidden": "sudo usermod -aG video $USER, then log in again",
    "missing": "plug it in, or set source.url to one of /dev/v4l/by-id",
    "unauthorised": "fix user and password in source.url",
    "untrusted": "name its certificate, or its CA's, in source.tls_ca_file",
    "unresolved": "fix the host name in source.url, or use the address",
    "unreachable": "switch the camera on, and see whether this network reaches it: ping",
    "refused": "switch the camera's server on, or fix the port in source.url",
    "silent": "restart the camera; if another program shows no picture either, it is broken",
    "closed": "restart the camera, and close other programs that look at it",
    "rejected": "fix the path in source.url: the camera's manual names its streams",
    "garbage": "restart the camera, or take another of its streams",
    "occupied": "close the program that uses it, or plug it in again",
}
# Where the camera is a broker.
OVER_MQTT = OF_CAMERA | {
    "unauthorised": "fix mqtt.username and mqtt.password_file, or the broker's list of users",
    "rejected": "fix mqtt.ca_file and the port in source.url: 1883 with mqtt, 8883 with mqtts",
    "refused": "start the broker (systemctl start mosquitto), or fix source.url",
    "silent": "start what publishes the pictures (edgecam frames), or fix the topic in source.url",
}
ON_RIBBON = dict.fromkeys(
    OF_CAMERA, "check the ribbon cable: rpicam-hello --list-cameras must show the camera"
)
