"""Starts edgecam with what the app's options say, and with Home Assistant's own broker.

Secrets go through files and the environment: a process list shows none.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

DATA = Path("/data")
CONFIG = Path("/config")
SUPERVISOR = "http://supervisor"
TIMEOUT_S = 10.0


def broker(environment: dict[str, str]) -> dict[str, Any]:
    """Host, port, username and password of the broker that the Supervisor knows; else nothing."""
    request = urllib.request.Request(
        f"{environment.get('SUPERVISOR', SUPERVISOR)}/services/mqtt",
        headers={"Authorization": f"Bearer {environment.get('SUPERVISOR_TOKEN', '')}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found
    except (OSError, ValueError, KeyError) as error:
        print(f"no broker from Home Assistant ({error}); install the Mosquitto app", flush=True)
        return {}


def secret(name: str, text: str, data: Path) -> str:
    """A file of mode 600 with ``text``."""
    path = data / name
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(f"{text}\n")
    return str(path)


def settings(options: dict[str, Any], found: dict[str, Any], data: Path) -> dict[str, str]:
    """The environment variables that stand for options and broker."""
    chosen = {
        "EDGECAM_NAME": options.get("name"),
        "EDGECAM_TITLE": options.get("title"),
        "EDGECAM_SOURCE_URL": options.get("source"),
        "EDGECAM_SOURCE_WAIT": "true",
        "EDGECAM_ACCURACY": options.get("accuracy"),
        "XDG_STATE_HOME": str(data),
    }
    if found:
        scheme = "mqtts" if found.get("ssl") else "mqtt"
        chosen["EDGECAM_MQTT_URL"] = f"{scheme}://{found['host']}:{found['port']}"
        chosen["EDGECAM_MQTT_USERNAME"] = found.get("username")
        if found.get("password"):
            chosen["EDGECAM_MQTT_PASSWORD_FILE"] = secret("password", found["password"], data)
    if options.get("web_token"):
        chosen["EDGECAM_WEB_LISTEN"] = "0.0.0.0:8080"
        chosen["EDGECAM_WEB_TOKEN_FILE"] = secret("web-token", options["web_token"], data)
    return {key: str(value) for key, value in chosen.items() if value not in (None, "")}


def main() -> None:
    """Become edgecam."""
    data = Path(os.environ.get("APP_DATA", DATA))
    config = Path(os.environ.get("APP_CONFIG", CONFIG))
    options = json.loads((data / "options.json").read_text("utf-8"))
    environment = dict(os.environ)
    environment |= settings(options, broker(environment), data)
    environment.pop("SUPERVISOR_TOKEN", None)
    command = ["edgecam", *sys.argv[1:]]
    if options.get("settings_file"):
        command += ["--config", str(config / options["settings_file"])]
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
