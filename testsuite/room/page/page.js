// The page: entrance, tiles, messages. `window.millraceRoom` at the end is for scripts that drive it.

import {open, randomHz} from './sources.js';
import {Session} from './session.js';
import {received, sent} from './statistics.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
// Boxes of the form that the query can tick: `?synthetic=1`.
const CHOICES = ['synthetic', 'simulcast', 'unbundled'];
const tiles = new Map();
let [context, source, session] = [];

function say(text, isNote) {
  $('message').textContent = text;
  $('message').hidden = !text;
  $('message').classList.toggle('note', !!isNote);
}

// A picture with a name; one for this tab and for each of the others.
function tile(id, name) {
  if (tiles.has(id)) return tiles.get(id);
  const figure = document.createElement('figure');
  const video = Object.assign(document.createElement('video'), {autoplay: true, playsInline: true});
  const caption = document.createElement('figcaption');
  const [label, state] = [document.createElement('span'), document.createElement('span')];
  const meter = Object.assign(document.createElement('meter'), {max: 1, title: 'loudness'});
  label.textContent = name;
  state.className = 'state';
  caption.append(label, meter, state);
  figure.append(video, caption);
  $('tiles').append(figure);
  const made = {figure, video, meter, state, bytes: 0, pauseMs: 0};
  tiles.set(id, made);
  notePauses(made);
  return made;
}

// The longest time from one picture to the next: what a connection counts begins anew with each description.
function notePauses(shown) {
  let before;
  const note = (now) => {
    if (before !== undefined) shown.pauseMs = Math.max(shown.pauseMs, now - before);
    before = now;
    shown.video.requestVideoFrameCallback?.(note);
  };
  shown.video.requestVideoFrameCallback?.(note);
}

function show(id, name, stream) {
  const shown = tile(id, name);
  if (shown.video.srcObject !== stream) shown.video.srcObject = stream;
  shown.video.play().catch(() => say('Click anywhere to hear the others.', true));
  if (stream.getAudioTracks().length === 0 || shown.heard === stream) return;
  shown.ear?.disconnect();
  shown.heard = stream;
  shown.ear = context.createMediaStreamSource(stream);
  shown.analyser = new AnalyserNode(context, {fftSize: 16384, smoothingTimeConstant: 0});
  shown.ear.connect(shown.analyser);
}

// What the picture of somebody who sends several sizes can be chosen from.
function offerLayers(id, layers) {
  const shown = tiles.get(id);
  if (!layers?.length || shown.choice) return;
  shown.choice = Object.assign(document.createElement('select'), {title: 'size of the picture'});
  for (const layer of ['highest', ...layers, 'lowest']) shown.choice.add(new Option(layer, layer));
  shown.choice.addEventListener('change', () => choose(id, shown.choice.value));
  shown.state.before(shown.choice);
}

async function choose(id, layer) {
  try {
    await session?.choose(id, layer);
  } catch (error) {
    say(error.message);
  }
}

function remove(id) {
  const gone = tiles.get(id);
  gone?.ear?.disconnect();
  gone?.figure.remove();
  tiles.delete(id);
}

async function join(room, name, options) {
  context ??= new AudioContext();
  await context.resume();
  source = await open(context, {hz: randomHz(), hue: Math.floor(Math.random() * 360), width: options.simulcast ? 960 : 640, ...options});
  session = new Session(room, name);
  session.addEventListener('member', ({detail: {id, name, layers, stream}}) => {
    show(id, name, stream);
    offerLayers(id, layers);
  });
  session.addEventListener('gone', ({detail: {id}}) => remove(id));
  session.addEventListener('lost', ({detail}) => { leave(); say(detail); });
  session.addEventListener('state', ({detail: {id, state}}) => { if (tiles.has(id)) tiles.get(id).word = state; });
  try {
    await session.join(source.stream, options);
  } catch (error) {
    leave();
    throw error;
  }
  for (const [id, hidden] of [['entrance', true], ['tiles', false], ['controls', false]]) $(id).hidden = hidden;
  $('where').textContent = room;
  const own = tile(session.id, `${name} (you)`);
  own.figure.classList.add('own');
  own.figure.classList.toggle('synthetic', source.isSynthetic);
  own.video.muted = true;
  show(session.id, name, source.stream);
  say(source.note || '', true);
}

function leave() {
  session?.leave();
  source?.stop();
  for (const id of [...tiles.keys()]) remove(id);
  for (const [id, hidden] of [['entrance', false], ['tiles', true], ['controls', true]]) $(id).hidden = hidden;
  $('where').textContent = 'room';
  for (const id of ['mute', 'hide']) $(id).setAttribute('aria-pressed', 'false');
  [session, source] = [];
  say('');
}

// Stops one kind of what is sent, or lets it go on.
function toggle(button, kind) {
  const isOff = button.getAttribute('aria-pressed') !== 'true';
  button.setAttribute('aria-pressed', isOff);
  source.stream.getTracks().forEach((track) => { if (track.kind === kind) track.enabled = !isOff; });
}

// The strongest frequency of the last third of a second, and its level.
function strongest(analyser) {
  if (!analyser) return {hz: 0, db: -200};
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
  return {hz: peak * context.sampleRate / analyser.fftSize, db: Math.max(-200, bins[peak])};
}

function loudness(analyser) {
  const samples = new Float32Array(1024);
  analyser.getFloatTimeDomainData(samples);
  const power = samples.reduce((total, sample) => total + sample * sample, 0) / samples.length;
  return Math.min(1, Math.max(0, 1 + 10 * Math.log10(power + 1e-6) / 60));
}

// The colour in the middle of the left half, in degrees; none for what has no colour.
const patch = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function hue(video) {
  if (!video.videoWidth) return null;
  patch.drawImage(video, video.videoWidth / 4 - 8, video.videoHeight / 2 - 8, 16, 16, 0, 0, 1, 1);
  const [red, green, blue] = patch.getImageData(0, 0, 1, 1).data;
  const [most, least] = [Math.max(red, green, blue), Math.min(red, green, blue)];
  if (most - least < 40) return null;
  const sixth = most === red ? (green - blue) / (most - least)
    : most === green ? 2 + (blue - red) / (most - least) : 4 + (red - green) / (most - least);
  return (sixth * 60 + 360) % 360;
}

async function refresh() {
  if (!session?.isOpen) return;
  for (const [id, shown] of tiles) {
    if (shown.analyser) shown.meter.value = loudness(shown.analyser);
    const receiver = session.receivers.get(id);
    const now = id === session.id ? await sent(session.publisher) : await received(receiver?.connection);
    const kilobits = Math.max(0, Math.round((now.bytes - shown.bytes) * 8 / 1000));
    shown.bytes = now.bytes;
    const isUp = now.state === 'connected';
    shown.state.textContent = isUp ? `${kilobits} kbit/s` : shown.word || now.state || '';
  }
}

const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* not everyone keeps things */ } };
const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

$('room').value = query.get('room') || 'lobby';
$('name').value = query.get('name') || recall('millrace-name') || '';
for (const id of CHOICES) $(id).checked = query.get(id) === '1';
$('entrance').addEventListener('submit', async (event) => {
  event.preventDefault();
  const [room, name] = [$('room').value.trim(), $('name').value.trim()];
  const button = event.submitter;
  button.disabled = true;
  say('Joining: the browser may ask for camera and microphone.', true);
  try {
    await join(room, name, Object.fromEntries(CHOICES.map((id) => [id, $(id).checked])));
    remember('millrace-name', name);
    query.set('room', room);
    history.replaceState(null, '', `?${query}`);
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
});
$('leave').addEventListener('click', leave);
$('mute').addEventListener('click', () => toggle($('mute'), 'audio'));
$('hide').addEventListener('click', () => toggle($('hide'), 'video'));
document.addEventListener('click', () => tiles.forEach(({video}) => video.play().catch(() => {})));
window.addEventListener('pagehide', () => session?.leave());
window.addEventListener('pageshow', ({persisted}) => { if (persisted) leave(); });
setInterval(refresh, 1000);

window.millraceRoom = {
  join: ({room, name, ...options}) => join(room, name, options),
  leave,
  // Chooses from the selector under the picture of the one with this name, and counts pauses from now on.
  async choose({name, layer}) {
    const [id] = [...session.receivers].find(([, receiver]) => receiver.name === name);
    const shown = tiles.get(id);
    shown.choice.value = layer;
    shown.pauseMs = 0;
    await session.choose(id, layer);
    return shown.choice.value;
  },
  // Sends the named layers of the picture and no others.
  send: ({layers}) => session.send(layers),
  // What is sent, and of each of the others by name what is received, heard and seen.
  async look() {
    if (!session) return {};
    const others = {};
    for (const [id, {name, connection, subscription, layer}] of session.receivers) {
      const shown = tiles.get(id);
      const sight = shown && {...strongest(shown.analyser), hue: hue(shown.video), pauseMs: shown.pauseMs};
      others[name] = {...await received(connection), ...sight, subscription, layer, word: shown?.word};
    }
    return {id: session.id, isOpen: session.isOpen, message: $('message').textContent, sent: await sent(session.publisher), others};
  },
};
