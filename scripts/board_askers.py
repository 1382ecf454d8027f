"""Who asks about the service: anybody on the machine, what is confined like it, a subscriber."""

from __future__ import annotations

import json

from board_machine import Machine
from board_service import CONFIG, UNIT, comes, heard, journal

# A user of its own, in no group that a camera or the broker's password belongs to.
ANYBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"
DROP_IN = f"/run/systemd/system/{UNIT}.service.d"
# A zone over the whole picture: everybody in it is an event.
ZONE = (
    '[[zone]]\\nname = "picture"\\ndwell_s = 0.7\\n'
    "polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]\\n"
)


def events_reach_a_subscriber(machine: Machine) -> None:
    machine.run(f"cp {CONFIG} /root/good.toml; printf '{ZONE}' >> {CONFIG}").ok()
    machine.run(f"systemctl restart {UNIT}").ok()
    found = [json.loads(line) for line in heard(machine, "edgecam/front/event", 2)]
    assert len(found) == 2, f"{len(found)} events"
    assert all(event["name"] == "front" and event["boot_id"] for event in found), found
    machine.run(f"cp /root/good.toml {CONFIG}; systemctl restart {UNIT}").ok()
    comes(machine, "online")


def status_and_doctor_answer_anybody(machine: Machine) -> None:
    """No secret and no traceback for a user who may read neither; the reason instead."""
    machine.until(lambda: machine.run("edgecam status").code == 0, "edgecam status is healthy")
    said = machine.run(f"{ANYBODY} edgecam status")
    assert said.code == 0, said.text[-400:]
    assert "front" in said.text, said.text[-400:]
    found = machine.run(f"{ANYBODY} edgecam doctor --json broker unit --config {CONFIG}")
    assert "Traceback" not in found.text, found.text[-600:]
    assert "sudo" in found.text, found.text[-600:]
    assert f"{UNIT}.service runs" in found.text, found.text[-600:]


def status_and_doctor_answer_inside_the_sandbox(machine: Machine) -> None:
    """Confined as the unit is, with its user, files and credentials (ExecStart= alone has them)."""
    program = "/opt/edgecam/bin/edgecam"
    doctor = f"{program} doctor --json broker disk --config {CONFIG}"
    machine.run(f"mkdir -p {DROP_IN}").ok()
    try:
        _drop_in(machine, f"ExecStartPost={program} status")
        machine.run(f"systemctl restart {UNIT}").ok()
        status = journal(machine, "-n 20")
        _drop_in(machine, f"Type=oneshot\\nRestart=no\\nExecStart=\\nExecStart={doctor}")
        machine.run(f"systemctl stop {UNIT}").ok()
        said = machine.run(f"systemctl start {UNIT}"), journal(machine, "-n 60")
    finally:
        machine.run(f"rm -r {DROP_IN}; systemctl daemon-reload; systemctl restart {UNIT}")
    assert "front: " in status, status[-400:]
    assert said[0].code == 0, said[1][-900:]
    assert "Traceback" not in said[1], said[1][-900:]
    comes(machine, "online")


def _drop_in(machine: Machine, lines: str) -> None:
    machine.run(f"printf '[Service]\\n{lines}\\n' > {DROP_IN}/ask.conf").ok()
    machine.run("systemctl daemon-reload").ok()


def doctor_names_a_unit_that_cannot_run(machine: Machine) -> None:
    """Its program is closed to the service's user, as a venv made with umask 077 is."""
    machine.run("chmod o-rx /opt/edgecam/bin").ok()
    try:
        machine.run(f"systemctl restart {UNIT}")
        said = machine.run("edgecam doctor --json unit").text
    finally:
        machine.run("chmod o+rx /opt/edgecam/bin").ok()
        machine.run(f"systemctl reset-failed {UNIT}; systemctl restart {UNIT}")
    assert "203/EXEC" in said, said[-400:]
    comes(machine, "online")
