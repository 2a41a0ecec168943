// The page that LiveKit's room composite egress films: everybody who consented, in their tile, and nobody else.
//
// 1. LiveKit opens it with `url`, `token` and `layout` in its address. It begins to record when START_RECORDING is
//    logged, stops at END_RECORDING, and gives up when a `div.error` is shown. `layout` names the tiles that were given
//    before (`tiles-0-2`): the page cannot know of those who have left.
// 2. A participant is shown and heard while their attribute `indelible.recording` is "yes"; `indelible.tile` is their
//    tile. Indelible sets both. Of anybody else nothing is subscribed to, so it never reaches this machine.
// 3. After every event of the room all of it is worked out anew, beginning with what must go. While the connection is
//    interrupted nobody is shown: a withdrawal could not be heard.
// 4. Nothing that a participant chose (identity, name, track names) enters the page.

import { tileLayout } from "./geometry.js";

const CONSENT = "indelible.recording";
const TILE = "indelible.tile";
const HEARD = ["microphone", "screen_share_audio"];
const CHANGES = [
  "participantConnected",
  "participantDisconnected",
  "participantAttributesChanged",
  "trackPublished",
  "trackUnpublished",
  "trackSubscribed",
  "trackUnsubscribed",
  "trackMuted",
  "trackUnmuted",
  "connectionStateChanged",
];

/** Which identity has a tile, for as long as the page is open; tiles stay when people leave. */
const holders = new Map();
/** Tiles that were given before the page was opened. */
const given = new Set();
/** What is attached: element by track. */
const attached = new Map();
/** Whether a publication was asked for. A reconnect brings new ones. */
const asked = new WeakMap();

try {
  await film();
} catch (error) {
  fail(error instanceof Error ? error.message : "something went wrong");
}

async function film() {
  const query = new URLSearchParams(window.location.search);
  const url = query.get("url");
  const token = query.get("token");
  if (!url || !token) {
    throw new Error("LiveKit's address and token are missing from the address of this page");
  }
  const client = window.LivekitClient;
  if (!client) {
    throw new Error("LiveKit's client library could not be loaded");
  }
  const answer = await fetch("tiles.json");
  if (!answer.ok) {
    throw new Error("tiles.json could not be loaded");
  }
  const geometry = await answer.json();
  document.body.style.backgroundColor = geometry.background.css;
  for (const tile of tilesIn(query.get("layout") ?? "", geometry)) {
    given.add(tile);
  }

  const room = new client.Room({ adaptiveStream: false });
  const show = () => {
    try {
      showRoom(room, geometry);
    } catch (error) {
      // Not the library's to deal with: it calls this in the middle of its own work.
      console.error(String(error));
    }
  };
  for (const change of CHANGES) {
    room.on(change, show);
  }
  room.on("disconnected", () => console.log("END_RECORDING"));
  window.addEventListener("resize", show);
  await room.connect(url, token, { autoSubscribe: false });
  show();
  console.log("START_RECORDING");
}

function showRoom(room, geometry) {
  const participants = room.state === "connected" ? [...room.remoteParticipants.values()] : [];
  giveTiles(participants, geometry);
  const shown = participants.filter((participant) => mayBeShown(participant, geometry));
  const wanted = new Map(shown.map((participant) => [tileOf(participant, geometry), pictureOf(participant, geometry)]));
  const heard = new Set(shown.flatMap((participant) => soundsOf(participant)));
  remove(new Set([...wanted.values(), ...heard]));
  subscribe(participants, new Set(shown));
  const rects = tileLayout(geometry, new Set([...given, ...holders.keys()]), window.innerWidth, window.innerHeight);
  for (const [tile, rect] of rects) {
    const box = boxOf(tile, rect);
    const track = wanted.get(tile);
    if (track && !attached.has(track)) {
      attach(track, "video", box, fitOf(track, geometry));
    }
  }
  for (const track of heard) {
    if (!attached.has(track)) {
      attach(track, "audio", document.body);
    }
  }
}

function giveTiles(participants, geometry) {
  for (const participant of participants) {
    const tile = tileOf(participant, geometry);
    if (consents(participant) && tile !== null && !holders.has(tile) && !hasTile(participant.identity)) {
      holders.set(tile, participant.identity);
    }
  }
}

function tilesIn(layout, geometry) {
  const numbers = /^tiles((?:-[0-9])+)$/.exec(layout)?.[1].match(/[0-9]/g) ?? [];
  return numbers.map(Number).filter((tile) => tile < geometry.most_tiles);
}

function hasTile(identity) {
  return [...holders.values()].includes(identity);
}

function consents(participant) {
  return participant.attributes?.[CONSENT] === "yes";
}

function mayBeShown(participant, geometry) {
  return consents(participant) && holders.get(tileOf(participant, geometry)) === participant.identity;
}

function tileOf(participant, geometry) {
  const text = participant.attributes?.[TILE] ?? "";
  const tile = /^[0-9]{1,3}$/.test(text) ? Number.parseInt(text, 10) : geometry.most_tiles;
  return tile < geometry.most_tiles ? tile : null;
}

/** The first source of `shows` that can be seen; undefined for none. */
function pictureOf(participant, geometry) {
  for (const { source } of geometry.shows) {
    const track = liveTracks(participant, "video", [source])[0];
    if (track) {
      return track;
    }
  }
  return undefined;
}

function soundsOf(participant) {
  return liveTracks(participant, "audio", HEARD);
}

function liveTracks(participant, kind, sources) {
  return [...participant.trackPublications.values()]
    .filter((publication) => publication.kind === kind && sources.includes(publication.source))
    .filter((publication) => publication.track && !publication.isMuted)
    .map((publication) => publication.track);
}

function fitOf(track, geometry) {
  return geometry.shows.find(({ source }) => source === track.source)?.fit ?? "contain";
}

/** Take away what may no longer be seen or heard: first from the page, then from the library, which may fail. */
function remove(wanted) {
  const gone = [...attached].filter(([track]) => !wanted.has(track));
  for (const [track, element] of gone) {
    element.pause();
    element.srcObject = null;
    element.remove();
    attached.delete(track);
  }
  for (const [track, element] of gone) {
    track.detach(element);
  }
}

function subscribe(participants, shown) {
  for (const participant of participants) {
    const wanted = shown.has(participant);
    for (const publication of participant.trackPublications.values()) {
      if ((asked.get(publication) ?? false) !== wanted) {
        publication.setSubscribed(wanted);
        asked.set(publication, wanted);
      }
    }
  }
}

function boxOf(tile, rect) {
  let box = document.querySelector(`.tile[data-tile="${tile}"]`);
  if (!box) {
    box = document.createElement("div");
    box.className = "tile";
    box.dataset.tile = String(tile);
    document.body.append(box);
  }
  box.style.left = `${rect.x}px`;
  box.style.top = `${rect.y}px`;
  box.style.width = `${rect.width}px`;
  box.style.height = `${rect.height}px`;
  return box;
}

function attach(track, kind, parent, fit) {
  const element = document.createElement(kind);
  element.autoplay = true;
  if (fit) {
    element.style.objectFit = fit;
    element.playsInline = true;
  }
  attached.set(track, element);
  parent.append(element);
  track.attach(element);
}

function fail(message) {
  const box = document.createElement("div");
  box.className = "error";
  box.textContent = `This recording cannot begin: ${message}.`;
  document.body.replaceChildren(box);
  console.log("END_RECORDING");
}
