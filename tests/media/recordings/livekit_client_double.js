// A double of LiveKit's client library, as far as the layout page uses it, and a room in which things happen.
//
// After each step the page is measured; all measurements go to the test in one POST.
"use strict";

(() => {
  const trackOf = new WeakMap();
  const steps = {};
  const logged = [];
  const log = console.log;
  console.log = (...words) => {
    logged.push(words.join(" "));
    log.apply(console, words);
  };

  class Track {
    constructor(name, kind, source) {
      Object.assign(this, { name, kind, source });
    }

    attach(element) {
      trackOf.set(element, this);
      element.srcObject = this.kind === "video" ? picture() : new MediaStream();
      return element;
    }

    detach(element) {
      element.srcObject = null;
      return element;
    }
  }

  function picture() {
    const canvas = document.createElement("canvas");
    canvas.width = 64;
    canvas.height = 48;
    canvas.getContext("2d").fillRect(0, 0, 64, 48);
    return canvas.captureStream(1);
  }

  class Publication {
    constructor(room, owner, kind, source) {
      Object.assign(this, { room, owner, kind, source, isMuted: false, track: undefined, subscribed: undefined });
    }

    setSubscribed(subscribed) {
      this.subscribed = subscribed;
      setTimeout(() => {
        const name = `${this.owner.identity}/${this.source}`;
        this.track = this.subscribed ? new Track(name, this.kind, this.source) : undefined;
        this.room.emit(subscribed ? "trackSubscribed" : "trackUnsubscribed");
      });
    }
  }

  class Room {
    constructor() {
      this.remoteParticipants = new Map();
      this.handlers = new Map();
      this.state = "disconnected";
      window.room = this;
    }

    on(name, handler) {
      this.handlers.set(name, [...(this.handlers.get(name) ?? []), handler]);
      return this;
    }

    emit(name, ...values) {
      for (const handler of this.handlers.get(name) ?? []) {
        handler(...values);
      }
    }

    async connect(url, token, options) {
      steps.asked = { url, token, autoSubscribe: options.autoSubscribe };
      this.enter(join("silent", undefined, "2"));
      this.enter(join("refused", "no", "1"));
      this.enter(join("shouting", "YES", "4"));
      this.become("connected");
      setTimeout(() => story(this).catch((error) => report({ error: String(error) })));
    }

    become(state) {
      this.state = state;
      this.emit("connectionStateChanged", state);
    }

    enter(participant) {
      for (const [kind, source] of [["video", "camera"], ["audio", "microphone"]]) {
        participant.trackPublications.set(source, new Publication(this, participant, kind, source));
      }
      this.remoteParticipants.set(participant.identity, participant);
      this.emit("participantConnected", participant);
    }

    leave(identity) {
      const participant = this.remoteParticipants.get(identity);
      this.remoteParticipants.delete(identity);
      this.emit("participantDisconnected", participant);
    }

    set(identity, attributes) {
      const participant = this.remoteParticipants.get(identity);
      Object.assign(participant.attributes, attributes);
      this.emit("participantAttributesChanged", attributes, participant);
    }
  }

  function join(identity, recording, tile) {
    const attributes = {};
    if (recording !== undefined) {
      attributes["indelible.recording"] = recording;
    }
    if (tile !== undefined) {
      attributes["indelible.tile"] = tile;
    }
    return { identity, name: `name of ${identity}`, attributes, trackPublications: new Map() };
  }

  function settled() {
    return new Promise((resolve) => {
      setTimeout(() => setTimeout(resolve));
    });
  }

  function measure(name) {
    const tiles = {};
    for (const box of document.querySelectorAll(".tile")) {
      const { left, top, width, height } = box.getBoundingClientRect();
      const videos = [...box.querySelectorAll("video")];
      tiles[box.dataset.tile] = {
        rect: [left, top, width, height],
        shows: videos.map((video) => trackOf.get(video)?.name ?? null),
        fits: videos.map((video) => getComputedStyle(video).objectFit),
        fills: videos.every((video) => video.clientWidth === width && video.clientHeight === height),
      };
    }
    const subscribed = [];
    for (const participant of window.room.remoteParticipants.values()) {
      for (const publication of participant.trackPublications.values()) {
        if (publication.subscribed !== undefined) {
          subscribed.push([`${participant.identity}/${publication.source}`, publication.subscribed]);
        }
      }
    }
    steps[name] = {
      tiles,
      heard: [...document.querySelectorAll("audio")].map((audio) => trackOf.get(audio)?.name ?? null),
      media: document.querySelectorAll("video, audio").length,
      subscribed,
      logged: [...logged],
    };
  }

  async function story(room) {
    await settled();
    measure("nobody consented");
    for (let tile = 0; tile < 7; tile += 1) {
      room.enter(join(`person-${tile}`, "yes", String(tile)));
      await settled();
      measure(`${tile + 1} joined`);
    }
    const intruders = [
      ["person-7", "yes", "7"],
      ["person-8", "yes", "-1"],
      ["person-9", "yes", "1e0"],
      ["person-10", "yes", undefined],
      ["usurper", "yes", "1"],
    ];
    for (const intruder of intruders) {
      room.enter(join(...intruder));
    }
    await settled();
    measure("intruders came");
    intruders.forEach(([identity]) => room.leave(identity));

    room.set("person-3", { "indelible.recording": "no" });
    measure("3 withdrew, at once");
    await settled();
    measure("3 withdrew");
    room.set("person-3", { "indelible.recording": "yes" });
    await settled();
    measure("3 consented again");

    room.leave("person-2");
    measure("2 left");
    room.enter(join("person-2", "yes", "2"));
    await settled();
    measure("2 came back");

    const sharer = room.remoteParticipants.get("person-1");
    for (const [kind, source] of [["video", "screen_share"], ["audio", "screen_share_audio"]]) {
      sharer.trackPublications.set(source, new Publication(room, sharer, kind, source));
    }
    room.emit("trackPublished");
    await settled();
    measure("1 shares a screen");
    sharer.trackPublications.delete("screen_share");
    sharer.trackPublications.delete("screen_share_audio");
    room.emit("trackUnpublished");
    measure("1 shares no longer");

    const camera = room.remoteParticipants.get("person-4").trackPublications.get("camera");
    camera.isMuted = true;
    room.emit("trackMuted");
    measure("4 turned the camera off");
    camera.isMuted = false;
    room.emit("trackUnmuted");

    room.become("signalReconnecting");
    measure("the connection is interrupted");
    room.become("connected");
    measure("the connection is back");

    for (const [index, identity] of HOSTILE.entries()) {
      room.leave(`person-${index}`);
      room.enter(join(identity, "yes", String(index)));
    }
    await settled();
    measure("hostile names");
    room.become("disconnected");
    room.emit("disconnected");
    measure("the room is closed");
    report({ layouts: await layouts() });
  }

  // What the page's own geometry gives for windows of every shape, odd ones too.
  async function layouts() {
    const { tileLayout } = await import(`${location.origin}/geometry.js`);
    const geometry = await (await fetch("tiles.json")).json();
    const found = [];
    for (const width of [64, 65, 106, 190, 426, 641, 854, 1280, 1919, 3840]) {
      for (const height of [64, 67, 108, 240, 360, 481, 722, 1080]) {
        for (const tiles of [[0], [3, 0], [5, 1, 2], [6, 5, 4, 3], [0, 1, 2, 4, 6], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]]) {
          found.push({ width, height, tiles, rects: [...tileLayout(geometry, tiles, width, height)] });
        }
      }
    }
    return found;
  }

  const HOSTILE = ["<img src=x onerror=window.broken=1>", '"><script>window.broken=1</script>', "__proto__"];

  function report(more) {
    const body = JSON.stringify({
      ...more,
      steps,
      width: window.innerWidth,
      height: window.innerHeight,
      broken: window.broken ?? null,
      images: document.querySelectorAll("img, script:not([src]), iframe").length,
      text: document.body.textContent,
      background: getComputedStyle(document.body).backgroundColor,
    });
    fetch(`${new URLSearchParams(location.search).get("url")}/measured`, { method: "POST", mode: "no-cors", body });
  }

  window.LivekitClient = { Room };
})();
