"""Pictures on a broker: which topics they come by, whose they are, and what comes with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgecam.core.errors import SourceError
from edgecam.mqtt.address import BrokerAddress, parse_url

GROUP = "edgecam"
EXPECTED = "expected mqtt://HOST[:1883]/TOPIC/FILTER, such as mqtt://broker/edgecam/+/frame"
# User properties of MQTT 5 that come with a picture.
CAPTURED, SEQUENCE = "time_unix_s", "sequence"
MAX_TOPIC_BYTES = 65_535
# Behind the topic of a thin camera's pictures: whether it is there.
AVAILABILITY = "/availability"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message of MQTT 5; ``number`` acknowledges it on its connection, 0: nothing wants that.

    ``expiry_s``: for how long its sender wants it kept from now on; None: for any time.
    """

    topic: str
    payload: bytes
    number: int
    properties: Mapping[str, str]
    expiry_s: int | None = None

    @property
    def captured_unix_s(self) -> float | None:
        """The camera's wall clock at capture, where it was stated."""
        try:
            stated_s = float(self.properties.get(CAPTURED, "nan"))
        except ValueError:
            return None
        return stated_s if math.isfinite(stated_s) and stated_s >= 0.0 else None

    @property
    def sequence(self) -> int | None:
        """The camera's own number of the picture, where it was stated."""
        text = self.properties.get(SEQUENCE, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


@dataclass(frozen=True, slots=True)
class PictureTopics:
    """What of ``mqtt://HOST/TOPIC/FILTER`` lies behind the host.

    ``group`` is that of the shared subscription, None for a plain one.
    """

    address: BrokerAddress
    filter: str
    group: str | None

    @property
    def subscription(self) -> str:
        """Filter to subscribe to, shared where a group is named."""
        return self.filter if self.group is None else f"$share/{self.group}/{self.filter}"

    @property
    def several(self) -> bool:
        """Whether the pictures of many cameras come by it."""
        return self.group is not None

    def camera(self, topic: str) -> str:
        """What the wildcards stand for in ``topic``, levels joined by ``_``."""
        levels, wanted = topic.split("/"), self.filter.split("/")
        found = [level for level, want in zip(levels, wanted, strict=False) if want == "+"]
        if wanted[-1] == "#":
            found += levels[len(wanted) - 1 :]
        return "_".join(found)


def serves_several(url: str) -> bool:
    """Whether pictures of many cameras come by the URL; raises as ``parse_source``."""
    return parse_source(url).several


def parse_source(url: str) -> PictureTopics:
    """Take a source's URL apart; a filter with wildcards is shared by all workers.

    Raises:
        SettingsError: the part before the filter is no broker's URL.
        SourceError: the filter is none.
    """
    scheme, _, rest = url.partition("://")
    authority, _, text = rest.partition("/")
    # A password may hold a "/"; what is shown of it is up to this check.
    address = parse_url(f"{scheme}://{authority}", "source.url")
    group = None
    if text.startswith("$share/"):
        _, group, text = (*text.split("/", 2), "")[:3]
    levels = text.split("/")
    wild = [level for level in levels if level in ("+", "#")]
    stray = any("+" in level or "#" in level for level in levels if level not in ("+", "#"))
    if not text or stray or "#" in levels[:-1] or "\0" in text or text.startswith("$"):
        raise SourceError(f"source.url: {EXPECTED}, found the filter {text!r}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TOPIC_BYTES:
        raise SourceError(f"source.url: expected a topic of at most {MAX_TOPIC_BYTES} bytes")
    if group is not None and (not wild or not group or "+" in group or "#" in group):
        raise SourceError(
            f"source.url: expected $share/GROUP/FILTER with + or # in the filter, which says which "
            f"camera it is, found {rest.partition('/')[2]!r}"
        )
    return PictureTopics(address, text, (group or GROUP) if wild else None)
