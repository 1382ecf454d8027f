// The events as they are published, newest first; a screen reader hears of them now and then.
const MAX_EVENTS = 200;
const QUIET_MS = 10000;

function words(event) {
  const { direction, line, hand } = event.attributes;
  return [
    `${event.label} #${event.track}`,
    event.zone,
    line && `${line}, ${direction.replaceAll("_", " ")}`,
    hand && `${hand} hand`,
    event.dwell_s >= 1 && `${Math.round(event.dwell_s)} s`,
  ].filter(Boolean).join(" · ");
}

const title = (event) => event.event_type.replaceAll("_", " ");

export class Events {
  constructor(list, announcement) {
    Object.assign(this, { list, announcement, unsaid: [], quietUntil: 0 });
  }

  item(event) {
    const item = document.createElement("li");
    item.className = event.event_type;
    item.dataset.id = event.id;
    const time = document.createElement("time");
    const at = new Date(event.time_unix_s * 1000);
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleTimeString();
    const head = Object.assign(document.createElement("strong"), { textContent: title(event) });
    item.append(time, " ", head, ` ${words(event)}`);
    return item;
  }

  // Everything that is remembered, oldest first: nothing of it is news.
  reset(events) {
    this.list.replaceChildren(...events.map((event) => this.item(event)).reverse());
  }

  add(events) {
    const { list } = this;
    const last = list.firstElementChild;
    const before = last?.getBoundingClientRect().top;
    list.prepend(...events.map((event) => this.item(event)).reverse());
    // A reader further down keeps the same line in view.
    if (list.scrollTop > 0) list.scrollTop += last.getBoundingClientRect().top - before;
    while (list.childElementCount > MAX_EVENTS) list.lastChild.remove();
    this.unsaid.push(...events);
    if (this.unsaid.length === events.length) {
      setTimeout(() => this.announce(), Math.max(0, this.quietUntil - performance.now()));
    }
  }

  // One sentence for all that happened since the last one; a fall before anything else.
  announce() {
    const last = this.unsaid.findLast((event) => event.event_type === "fall") ?? this.unsaid.at(-1);
    const more = this.unsaid.length - 1;
    this.announcement.textContent = `${title(last)}: ${words(last)}${more ? `, and ${more} more` : ""}`;
    this.unsaid = [];
    this.quietUntil = performance.now() + QUIET_MS;
  }
}
