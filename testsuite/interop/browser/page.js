// One side of a call, driven from outside. Sound is a pure tone and picture a canvas that changes, so that the far end
// can tell what it receives.
'use strict';

let connection;
let context;
let analyser;
const tracks = {};
const heardElements = [];
let candidates = [];

// options: bundlePolicy, iceTransportPolicy, hz (of the tone), video (whether there is any), audioCodecs (MIME types).
async function start(options) {
  connection = new RTCPeerConnection({
    bundlePolicy: options.bundlePolicy || 'balanced',
    iceTransportPolicy: options.iceTransportPolicy || 'all',
  });
  context = new AudioContext();
  await context.resume();
  analyser = context.createAnalyser();
  analyser.fftSize = 16384;
  analyser.smoothingTimeConstant = 0;
  connection.ontrack = ({track}) => play(track);
  connection.onicecandidate = ({candidate}) => {
    if (candidate && candidate.candidate) {
      candidates.push({candidate: candidate.candidate, mid: candidate.sdpMid, ufrag: candidate.usernameFragment});
    }
  };
  tracks.audio = tone(options.hz);
  if (options.video) tracks.video = picture();
  tracks.codecs = options.audioCodecs;
}

function tone(hz) {
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  const sink = context.createMediaStreamDestination();
  oscillator.frequency.value = hz;
  gain.gain.value = 0.3;
  oscillator.connect(gain).connect(sink);
  oscillator.start();
  return sink.stream.getAudioTracks()[0];
}

function picture() {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [160, 120];
  document.body.append(canvas);
  const brush = canvas.getContext('2d');
  let drawn = 0;
  setInterval(() => {
    brush.fillStyle = `hsl(${drawn * 7 % 360} 90% 50%)`;
    brush.fillRect(0, 0, 160, 120);
    brush.fillStyle = 'white';
    brush.fillRect(drawn++ % 140, 40, 20, 20);
  }, 66);
  return canvas.captureStream(15).getVideoTracks()[0];
}

// Without an element that plays them, remote tracks give the analyser nothing.
function play(track) {
  const stream = new MediaStream([track]);
  const element = document.createElement(track.kind);
  element.muted = true;
  element.srcObject = stream;
  element.play().catch(() => {});
  heardElements.push(element);
  document.body.append(element);
  if (track.kind === 'audio') context.createMediaStreamSource(stream).connect(analyser);
}

function addTracks() {
  for (const kind of ['audio', 'video']) {
    const track = tracks[kind];
    if (!track || connection.getSenders().some((sender) => sender.track === track)) continue;
    connection.addTrack(track, new MediaStream([track]));
  }
  if (!tracks.codecs) return;
  for (const transceiver of connection.getTransceivers()) {
    if (transceiver.sender.track !== tracks.audio) continue;
    const all = RTCRtpReceiver.getCapabilities('audio').codecs;
    transceiver.setCodecPreferences(all.filter((codec) => tracks.codecs.includes(codec.mimeType)));
  }
}

function complete() {
  return new Promise((resolve) => {
    const check = () => connection.iceGatheringState === 'complete' && resolve();
    connection.addEventListener('icegatheringstatechange', check);
    check();
  });
}

// Sets a local description; its text, with all candidates or, to trickle them, with none.
async function describe(description, trickle) {
  candidates = [];
  await connection.setLocalDescription(description);
  if (!trickle) {
    await complete();
    // After a restart, gathering begins a little later than the description is set.
    for (let tries = 0; tries < 50 && !connection.localDescription.sdp.includes('a=candidate'); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return connection.localDescription.sdp;
  }
  return description.sdp.replace(/a=(candidate:.*|end-of-candidates)\r\n/g, '');
}

async function offer({restart, trickle}) {
  addTracks();
  return describe(await connection.createOffer({iceRestart: !!restart}), trickle);
}

async function answer({sdp, trickle}) {
  await connection.setRemoteDescription({type: 'offer', sdp});
  addTracks();
  return describe(await connection.createAnswer(), trickle);
}

async function accept({sdp}) {
  await connection.setRemoteDescription({type: 'answer', sdp});
}

// The local candidates found so far, after the last of them.
async function trickled() {
  await complete();
  return candidates;
}

async function addCandidate(candidate) {
  await connection.addIceCandidate(candidate);
}

function addVideo() {
  tracks.video = picture();
}

function direct({direction}) {
  connection.getTransceivers().forEach((transceiver) => { transceiver.direction = direction; });
}

// The strongest frequency in the remote sound of the last third of a second, and its level.
function listen() {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const peak = bins.indexOf(Math.max(...bins));
  return {hz: peak * context.sampleRate / analyser.fftSize, db: Math.max(-200, bins[peak])};
}

async function statistics() {
  const all = [...(await connection.getStats()).values()];
  const of = (type) => all.filter((entry) => entry.type === type);
  const inbound = (kind) => of('inbound-rtp').filter((entry) => entry.kind === kind);
  const sum = (entries, name) => entries.reduce((total, entry) => total + (entry[name] || 0), 0);
  const transports = of('transport');
  const pairs = transports.map((transport) => all.find((entry) => entry.id === transport.selectedCandidatePairId));
  const remotes = pairs.filter(Boolean).map((pair) => all.find((entry) => entry.id === pair.remoteCandidateId));
  return {
    state: connection.connectionState,
    ice: connection.iceConnectionState,
    signaling: connection.signalingState,
    dtls: transports.map((transport) => transport.dtlsState),
    remotes: remotes.filter(Boolean).map((remote) => `${remote.address}:${remote.port}`),
    pairs: pairs.filter(Boolean).map((pair) => ({
      state: pair.state, sent: pair.requestsSent, answered: pair.responsesReceived,
      asked: pair.requestsReceived, replied: pair.responsesSent,
    })),
    audioPackets: sum(inbound('audio'), 'packetsReceived'),
    audioLost: sum(inbound('audio'), 'packetsLost'),
    videoPackets: sum(inbound('video'), 'packetsReceived'),
    framesDecoded: sum(inbound('video'), 'framesDecoded'),
    sentPackets: sum(of('outbound-rtp'), 'packetsSent'),
    reports: of('remote-inbound-rtp').length,
  };
}
