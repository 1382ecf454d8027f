"""What a service owes to the machine it runs on, each a check in a Debian that was just booted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from board_askers import (
    ZONE,
    doctor_names_a_unit_that_cannot_run,
    events_reach_a_subscriber,
    status_and_doctor_answer_anybody,
    status_and_doctor_answer_inside_the_sandbox,
)
from board_machine import Machine
from board_service import (
    CONFIG,
    LOGIN,
    UNIT,
    availability,
    comes,
    heard,
    journal,
    property_of,
)

MAX_EXPOSURE = 2.0


def installs_and_publishes(machine: Machine) -> None:
    """service install as the README has it, then enable --now."""
    clip = machine.run(
        "/opt/edgecam/bin/python -c 'from edgecam.inference import catalog; print(catalog.clip())'"
    ).ok()
    machine.run(
        f"edgecam service install front --model posenet:input_size=257x257 --source {clip.strip()}"
        " --broker mqtt://127.0.0.1 --username eva --password-file /root/password"
    ).ok()
    more = "loop = true\\nrealtime = true\\n"
    machine.run(f"sed -i 's/^wait = true/wait = true\\n{more}/' {CONFIG}").ok()
    more = "[inference]\\nthreads = 1\\n[telemetry]\\ninterval_s = 1\\n"
    machine.run(f"printf '{more}' >> {CONFIG}").ok()
    machine.run(f"systemctl enable --now {UNIT}").ok()
    assert property_of(machine, "ActiveState") == "active"
    results = heard(machine, "edgecam/front/result", 3)
    assert len(results) == 3, f"{len(results)} results"
    assert "poses" in json.loads(results[-1])
    comes(machine, "online")


def runs_without_a_home(machine: Machine) -> None:
    """Under its own user, with or without libnss-systemd, and with no HOME."""
    pid = property_of(machine, "MainPID")
    user = machine.run(f"stat -c %u /proc/{pid}").ok().strip()
    assert int(user) >= 61184, f"user {user} is not one of systemd's"
    assert "HOME=" not in machine.run(f"tr '\\0' '\\n' < /proc/{pid}/environ").ok()
    assert "Traceback" not in journal(machine)


def shows_no_secret(machine: Machine) -> None:
    assert "gehe" not in journal(machine), "the password is in the journal"
    assert machine.run("stat -c %a /etc/edgecam/front.password").ok().strip() == "600"


def status_and_doctor_see_it(machine: Machine) -> None:
    machine.until(lambda: machine.run("edgecam status").code == 0, "edgecam status is healthy")
    found = machine.run(f"edgecam doctor --json broker unit --config {CONFIG}")
    assert found.code == 0, found.text[-400:]
    assert f"{UNIT}.service runs" in found.text, found.text[-400:]


def is_confined(machine: Machine) -> None:
    said = machine.run(f"systemd-analyze --no-pager security {UNIT}").text
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert level is not None, said[-200:]
    assert float(level[1]) <= MAX_EXPOSURE, level[0]


def comes_back_after_kill(machine: Machine) -> None:
    machine.run(f"systemctl kill --signal=SIGKILL {UNIT}").ok()
    comes(machine, "offline", 20)
    comes(machine, "online")
    assert property_of(machine, "NRestarts") == "1"


def watchdog_ends_a_frozen_one(machine: Machine) -> None:
    before = int(property_of(machine, "NRestarts"))
    machine.run(f"systemctl kill --kill-whom=main --signal=SIGSTOP {UNIT}").ok()
    machine.until(lambda: int(property_of(machine, "NRestarts")) > before, "the watchdog bites", 90)
    comes(machine, "online")


def reload_refuses_and_takes(machine: Machine) -> None:
    machine.run(f"cp {CONFIG} /root/good.toml").ok()
    pid = property_of(machine, "MainPID")
    machine.run(f"printf '[decode]\\nmin_pose_score = 7\\n' >> {CONFIG}").ok()
    refused = machine.run(f"systemctl reload {UNIT}")
    assert refused.code != 0, "a reload of a refused configuration returns 0"
    assert "decode.min_pose_score" in journal(machine, "-n 20")
    assert property_of(machine, "ActiveState") == "active"
    machine.run(f"cp /root/good.toml {CONFIG}; sed -i 's/interval_s = 1/interval_s = 2/' {CONFIG}")
    machine.run(f"systemctl reload {UNIT}").ok()
    machine.until(lambda: machine.run("edgecam status").code == 0, "edgecam status is healthy")
    assert property_of(machine, "MainPID") == pid
    comes(machine, "online")


def the_journal_knows_errors_from_the_rest(machine: Machine) -> None:
    machine.run("systemctl restart mosquitto").ok()
    comes(machine, "online")
    said = machine.run(f"journalctl -u {UNIT} _COMM=edgecam -o json --no-pager").text
    used = {json.loads(line)["PRIORITY"] for line in said.splitlines()}
    assert used == {"3", "4", "6"}, used
    errors, all_lines = journal(machine, "-p 3").splitlines(), journal(machine).splitlines()
    assert any("decode.min_pose_score" in line for line in errors), errors[-3:]
    assert not any("first result" in line for line in errors), errors[-3:]
    assert len(errors) < len(all_lines), errors[-3:]


def reload_that_does_not_start_shows_in_status(machine: Machine) -> None:
    """What only an open file shows: the check before cannot see it."""
    machine.run(f'sed -i \'s#^url = "/.*#url = "/opt/none.mp4"#\' {CONFIG}').ok()
    machine.run(f"systemctl reload {UNIT}")
    machine.until(
        lambda: "configuration on the disk" in machine.run("edgecam status").text, "status says so"
    )
    machine.run(f"cp /root/good.toml {CONFIG}").ok()
    machine.run(f"systemctl reload {UNIT}").ok()
    machine.until(lambda: machine.run("edgecam status").code == 0, "edgecam status is healthy")


def settings_that_no_restart_fixes_end_it(machine: Machine) -> None:
    machine.run(f"systemctl stop {UNIT}; printf '[decode]\\nmin_pose_score = 7\\n' >> {CONFIG}")
    machine.run(f"systemctl start {UNIT}")
    machine.until(lambda: property_of(machine, "ActiveState") == "failed", "the unit fails")
    assert property_of(machine, "ExecMainStatus") == "78"
    found = machine.run("edgecam doctor --json unit")
    assert "the configuration is refused" in found.text, found.text[-300:]
    machine.run(f"cp /root/good.toml {CONFIG}; systemctl reset-failed {UNIT}")
    machine.run(f"systemctl start {UNIT}").ok()
    comes(machine, "online")


def reasons_name_the_sandbox(machine: Machine) -> None:
    machine.run(
        "mkdir -p /home/pi; cp $(find /opt -name '*_int8.tflite' | head -1) /home/pi/x.tflite"
    )
    machine.run(f"sed -i 's#^path = .*#path = \"/home/pi/x.tflite\"#' {CONFIG}").ok()
    machine.run(f"systemctl stop {UNIT}; systemctl start --no-block {UNIT}")
    machine.until(lambda: "BindReadOnlyPaths=/home/pi" in journal(machine), "the reason")
    machine.run(f"systemctl stop {UNIT}; cp /root/good.toml {CONFIG}")
    machine.run(f"printf '[recorder]\\nenabled = true\\ndirectory = \"/srv/x\"\\n' >> {CONFIG}")
    machine.run(f"systemctl start {UNIT}")
    machine.until(lambda: "ReadWritePaths=/srv" in journal(machine), "the reason")
    machine.run(f"cp /root/good.toml {CONFIG}; systemctl restart {UNIT}").ok()
    comes(machine, "online")


def a_token_of_mode_600_is_read(machine: Machine) -> None:
    machine.run("umask 077; printf secret-token-of-the-page > /etc/edgecam/front.web-token").ok()
    machine.run(f"printf '[web]\\nlisten = \"0.0.0.0:8080\"\\n' >> {CONFIG}").ok()
    machine.run(f"systemctl restart {UNIT}").ok()
    code = (
        "import urllib.request as u, urllib.error as e\n"
        "try: print(u.urlopen('http://127.0.0.1:8080/').status)\n"
        "except e.HTTPError as x: print(x.code)\n"
        "except OSError as x: print(x)"
    )
    machine.run(f"cat > /root/ask.py <<'END'\n{code}\nEND").ok()
    machine.until(
        lambda: machine.run("/opt/edgecam/bin/python /root/ask.py").text.strip() in ("401", "403"),
        "the page asks for the token",
    )
    machine.run(f"rm /etc/edgecam/front.web-token; cp /root/good.toml {CONFIG}")
    machine.run(f"systemctl restart {UNIT}").ok()


def an_installation_closed_to_others_is_refused(machine: Machine) -> None:
    machine.run("chmod o-rx /opt/edgecam/bin").ok()
    refused = machine.run("edgecam service install back --model posenet --source 0")
    machine.run("chmod o+rx /opt/edgecam/bin").ok()
    assert refused.code == 1, refused.text
    assert "chmod -R a+rX" in refused.text, refused.text
    assert machine.run("ls /etc/edgecam/back.toml").code != 0


def starts_at_boot(machine: Machine) -> None:
    machine.reboot()
    comes(machine, "online", 120)
    assert len(heard(machine, "edgecam/front/result", 2)) == 2


def events_outlive_a_power_cut(machine: Machine) -> None:
    """The broker is away, events wait in the spool, the power goes: they arrive once."""
    machine.run(f"printf '{ZONE}' >> {CONFIG}; systemctl restart {UNIT}").ok()
    machine.run("systemctl stop mosquitto").ok()
    # A copy, since the service has the file locked.
    count = (
        "import shutil, sqlite3\n"
        "shutil.copy('/var/lib/private/edgecam/front/front.spool', '/root/copy')\n"
        "print(sqlite3.connect('/root/copy').execute('SELECT count(*) FROM event').fetchone()[0])"
    )
    machine.run(f"cat > /root/count.py <<'END'\n{count}\nEND").ok()

    def waits() -> bool:
        said = machine.run("python3 /root/count.py").text.strip()
        return said.isdecimal() and int(said) > 1

    machine.until(waits, "events wait in the spool", 120)
    # It must not start before a subscriber listens: events are not retained.
    machine.run(f"systemctl disable {UNIT}").ok()
    machine.cut()
    machine.boot()
    machine.run(f"mosquitto_sub {LOGIN} -t edgecam/front/event -W 60 > /root/heard 2>&1 &")
    machine.run(f"sleep 2; systemctl enable --now {UNIT}").ok()
    comes(machine, "online", 120)
    machine.run("sleep 20")
    lines = machine.run("cat /root/heard").text.splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    late = [event for event in found if event.get("delayed_s")]
    assert late, f"none of {len(found)} events says that it is late"
    keys = [(event["boot_id"], event["sequence"]) for event in found]
    assert len(set(keys)) == len(keys), "an event came twice"


def an_upgrade_goes_on(machine: Machine) -> None:
    made = next(Path(machine.root / "root").glob("edgecam-*.whl")).name
    pip = "/opt/edgecam/bin/pip install -q --no-index --no-deps --force-reinstall"
    machine.run(f"{pip} /root/{made}").ok()
    machine.run(f"systemctl restart {UNIT}").ok()
    comes(machine, "online")


def stops_at_once_and_says_so(machine: Machine) -> None:
    machine.run(f"systemctl stop {UNIT}").ok()
    assert availability(machine) == "offline"
    assert property_of(machine, "Result") == "success"


def uninstall_leaves_nothing(machine: Machine) -> None:
    machine.run("edgecam service uninstall front").ok()
    places = "/etc/systemd/system /etc/edgecam /var/lib /var/cache"
    left = machine.run(f"find {places} -path '*edgecam*' -name '*front*' 2>/dev/null").text.strip()
    assert not left, left


def named(*checks: Callable[[Machine], None]) -> dict[str, Callable[[Machine], None]]:
    """The checks by their names, in this order."""
    return {check.__name__.replace("_", "-"): check for check in checks}


CHECKS = named(
    installs_and_publishes,
    runs_without_a_home,
    shows_no_secret,
    status_and_doctor_see_it,
    status_and_doctor_answer_anybody,
    status_and_doctor_answer_inside_the_sandbox,
    events_reach_a_subscriber,
    is_confined,
    comes_back_after_kill,
    watchdog_ends_a_frozen_one,
    reload_refuses_and_takes,
    the_journal_knows_errors_from_the_rest,
    reload_that_does_not_start_shows_in_status,
    settings_that_no_restart_fixes_end_it,
    reasons_name_the_sandbox,
    a_token_of_mode_600_is_read,
    an_installation_closed_to_others_is_refused,
    doctor_names_a_unit_that_cannot_run,
    starts_at_boot,
    events_outlive_a_power_cut,
    an_upgrade_goes_on,
    stops_at_once_and_says_so,
    uninstall_leaves_nothing,
)
