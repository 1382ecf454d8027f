"""The service that the checks look at: its files, its unit, its broker, and how to ask them."""

from __future__ import annotations

from board_machine import Machine

UNIT = "edgecam@front"
CONFIG = "/etc/edgecam/front.toml"
# What systemd takes apart, quotes and escapes on its way from a file to a process.
PASSWORD = 'gehe$im "1 %i'
LOGIN = "-h 127.0.0.1 -u eva -P 'gehe$im \"1 %i'"


def prepare(machine: Machine) -> None:
    """A broker that demands a password, and a clip at a place that the service sees."""
    machine.run(f"printf %s '{PASSWORD}' > /root/password && chmod 600 /root/password").ok()
    machine.run(f"mosquitto_passwd -b -c /etc/mosquitto/users eva '{PASSWORD}'").ok()
    lines = "listener 1883 127.0.0.1\\npassword_file /etc/mosquitto/users\\n"
    machine.run(f"printf '{lines}' > /etc/mosquitto/conf.d/edgecam.conf").ok()
    machine.run("chown mosquitto /etc/mosquitto/users; systemctl restart mosquitto").ok()


def recover(machine: Machine) -> None:
    """Put back what a check that failed half way has left."""
    machine.run(f"test -f /root/good.toml && cp /root/good.toml {CONFIG}")
    machine.run(f"systemctl start mosquitto; systemctl reset-failed; systemctl restart {UNIT}")


def heard(machine: Machine, topic: str, number: int = 1, wait_s: int = 60) -> list[str]:
    """So many payloads on a topic, or what came in time."""
    asked = f"mosquitto_sub {LOGIN} -t '{topic}' -C {number} -W {wait_s}"
    return machine.run(asked).text.splitlines()


def availability(machine: Machine) -> str:
    return "".join(heard(machine, "edgecam/front/availability", 1, 3)).strip()


def comes(machine: Machine, word: str, timeout_s: float = 60) -> None:
    machine.until(lambda: availability(machine) == word, f"availability {word}", timeout_s)


def property_of(machine: Machine, name: str) -> str:
    return machine.run(f"systemctl show {UNIT} --property={name} --value").ok().strip()


def journal(machine: Machine, more: str = "") -> str:
    return machine.run(f"journalctl -u {UNIT} -o cat --no-pager {more}").text
