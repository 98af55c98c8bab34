// One tab in a room: it publishes what it sends over one connection, and receives each of the others over another, so
// that whoever comes or leaves disturbs nobody else.

const WAITS_MS = [500, 1000, 2000, 4000];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What the user reads when a request fails.
class Fault extends Error {
  constructor(text, isGone) {
    super(text);
    this.isGone = isGone;
  }
}

async function request(method, path, body) {
  const options = {method};
  if (body) Object.assign(options, {body: JSON.stringify(body), headers: {'content-type': 'application/json'}});
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Fault('The server of this page does not answer. Was it stopped?');
  }
  const reply = await response.json().catch(() => ({}));
  if (response.ok) return reply;
  throw new Fault(reply.error || `The server answered ${response.status} ${response.statusText}.`, response.status === 404);
}

// Only the codecs of these types, and for video their repairs: what is published, all receivers must understand.
function prefer(transceiver, kind, types) {
  const all = RTCRtpSender.getCapabilities(kind).codecs;
  transceiver.setCodecPreferences(all.filter((codec) => types.includes(codec.mimeType.toLowerCase())));
}

// A big picture, a half and a quarter of its width; each receiver is given one of them.
const LAYERS = [
  {rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 900_000},
  {rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 300_000},
  {rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 100_000},
];

// Events: 'member' (detail {id, name, layers, stream}), 'gone' (detail {id}), 'state' (detail {id, state}), 'lost' (detail:
// why).
export class Session extends EventTarget {
  constructor(room, name) {
    super();
    this.members = `/api/rooms/${encodeURIComponent(room)}/members`;
    this.name = name;
    this.receivers = new Map();
    this.isOpen = false;
  }

  // options: simulcast, and unbundled for sound and picture on ports of their own.
  async join(stream, {simulcast, unbundled}) {
    const connection = this.publisher = new RTCPeerConnection();
    for (const track of stream.getTracks()) {
      const sendEncodings = simulcast && track.kind === 'video' ? LAYERS : undefined;
      const transceiver = connection.addTransceiver(track, {direction: 'sendonly', streams: [stream], sendEncodings});
      prefer(transceiver, track.kind, track.kind === 'audio' ? ['audio/opus'] : ['video/vp8', 'video/rtx']);
    }
    await connection.setLocalDescription();
    let {sdp} = connection.localDescription;
    if (unbundled) sdp = sdp.replace(/a=group:BUNDLE.*\r\n/, '');
    const joined = await request('POST', this.members, {name: this.name, sdp, layers: simulcast ? LAYERS.map(({rid}) => rid) : []});
    this.id = joined.id;
    this.own = `${this.members}/${joined.key}`;
    this.isOpen = true;
    await connection.setRemoteDescription({type: 'answer', sdp: joined.sdp});
    connection.onconnectionstatechange = () => {
      this.tell('state', {id: this.id, state: connection.connectionState});
      if (connection.connectionState === 'failed') this.lose('The connection to the media daemon has failed.');
    };
    this.watch();
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }

  // Asks for news again and again: that also tells the server that this page is still there.
  async watch() {
    let [version, failures] = [0, 0];
    while (this.isOpen) {
      try {
        const news = await request('GET', `${this.own}?version=${version}`);
        if (!this.isOpen) return;
        [version, failures] = [news.version, 0];
        this.meet(news.others);
      } catch (error) {
        if (error.isGone || failures >= WAITS_MS.length) return this.lose(error.message);
        await pause(WAITS_MS[failures++]);
      }
    }
  }

  meet(others) {
    const present = new Set(others.map(({id}) => id));
    for (const id of [...this.receivers.keys()]) {
      if (!present.has(id)) this.forget(id);
    }
    for (const other of others) {
      if (!this.receivers.has(other.id)) this.receive(other);
    }
  }

  // Receives one of the others, and tries again when that fails, as long as both are there.
  async receive(other) {
    const {id} = other;
    const receiver = {...other, layer: 'highest'};
    this.receivers.set(id, receiver);
    const isWanted = () => this.isOpen && this.receivers.get(id) === receiver;
    for (let tries = 0; isWanted(); tries++) {
      try {
        const state = await this.subscribe(receiver, isWanted);
        if (!isWanted()) return;
        this.tell('state', {id, state});
      } catch (error) {
        if (!isWanted()) return;
        this.tell('state', {id, state: error.message});
      }
      this.unsubscribe(receiver);
      await pause(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)]);
    }
  }

  // Resolves once the connection is of no more use.
  async subscribe(receiver, isWanted) {
    const {layer} = receiver;
    const {subscription, sdp} = await request('POST', `${this.own}/subscriptions`, {publisher: receiver.id, layer});
    receiver.subscription = subscription;
    if (!isWanted()) return 'closed';
    const connection = receiver.connection = new RTCPeerConnection();
    const stream = new MediaStream();
    connection.ontrack = ({track}) => {
      stream.addTrack(track);
      this.tell('member', {...receiver, stream});
    };
    await this.answer(receiver, sdp);
    if (receiver.layer !== layer) await this.change(receiver);
    return new Promise((resolve) => {
      const check = () => {
        const state = connection.connectionState;
        this.tell('state', {id: receiver.id, state});
        if (state === 'failed' || state === 'closed') resolve(state);
      };
      connection.onconnectionstatechange = check;
      check();
    });
  }

  async answer({connection, subscription}, sdp) {
    await connection.setRemoteDescription({type: 'offer', sdp});
    await connection.setLocalDescription();
    await request('POST', `${this.own}/subscriptions/${subscription}`, {sdp: connection.localDescription.sdp});
  }

  // Receives another layer of somebody's picture: 'highest', 'lowest' or a name. Choices are carried out one by one.
  choose(id, layer) {
    const receiver = this.receivers.get(id);
    if (!receiver) return undefined;
    receiver.layer = layer;
    const before = receiver.changing || Promise.resolve();
    return receiver.changing = before.catch(() => {}).then(() => this.change(receiver));
  }

  // What has not been subscribed to yet, or not again, is asked for when it is.
  async change(receiver) {
    if (receiver.connection?.signalingState !== 'stable' || !receiver.connection.remoteDescription) return;
    const {subscription, layer} = receiver;
    const {sdp} = await request('PUT', `${this.own}/subscriptions/${subscription}`, {layer});
    if (receiver.subscription === subscription) await this.answer(receiver, sdp);
  }

  // Sends the named layers of the picture and no others.
  async send(layers) {
    const sender = this.publisher.getSenders().find(({track}) => track?.kind === 'video');
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.active = layers.includes(encoding.rid);
    await sender.setParameters(parameters);
  }

  unsubscribe(receiver) {
    receiver.connection?.close();
    if (receiver.subscription) {
      request('DELETE', `${this.own}/subscriptions/${receiver.subscription}`).catch(() => {});
    }
    receiver.connection = receiver.subscription = undefined;
  }

  forget(id) {
    const receiver = this.receivers.get(id);
    this.receivers.delete(id);
    receiver?.connection?.close();
    this.tell('gone', {id});
  }

  close() {
    this.isOpen = false;
    for (const id of [...this.receivers.keys()]) this.forget(id);
    this.publisher?.close();
  }

  lose(why) {
    if (!this.isOpen) return;
    this.leave();
    this.tell('lost', why);
  }

  // Works also while the tab closes.
  leave() {
    if (this.isOpen) navigator.sendBeacon(`${this.own}/leave`);
    this.close();
  }
}
