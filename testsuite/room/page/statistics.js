// What a connection counts, in the words of the W3C's statistics.

const sum = (entries, name) => entries.reduce((total, entry) => total + (entry[name] || 0), 0);

async function entries(connection) {
  const all = connection ? [...(await connection.getStats()).values()] : [];
  return (type, kind) => all.filter((entry) => entry.type === type && (!kind || entry.kind === kind));
}

function path(of) {
  const pair = of('candidate-pair').find((entry) => entry.nominated && entry.state === 'succeeded');
  const remote = pair && of('remote-candidate').find((entry) => entry.id === pair.remoteCandidateId);
  const transports = of('transport');
  return {
    // New with every connection, and with every restart of ICE.
    fragment: transports[0]?.iceLocalUsernameFragment,
    remote: remote && `${remote.address}:${remote.port}`,
    availableOutgoingBitrate: pair?.availableOutgoingBitrate,
    transports: transports.length,
  };
}

// What one of the others sends, as it arrives here.
export async function received(connection) {
  const of = await entries(connection);
  const [video, audio] = [of('inbound-rtp', 'video'), of('inbound-rtp', 'audio')];
  const all = [...video, ...audio];
  return {
    ...path(of),
    state: connection?.connectionState,
    bytes: sum(all, 'bytesReceived'),
    audioPackets: sum(audio, 'packetsReceived'),
    audioLost: sum(audio, 'packetsLost'),
    audioConcealed: sum(audio, 'concealedSamples'),
    videoPackets: sum(video, 'packetsReceived'),
    videoLost: sum(video, 'packetsLost'),
    framesDecoded: sum(video, 'framesDecoded'),
    framesDropped: sum(video, 'framesDropped'),
    freezes: sum(video, 'freezeCount'),
    freezesSeconds: sum(video, 'totalFreezesDuration'),
    nacks: sum(video, 'nackCount'),
    plis: sum(video, 'pliCount'),
    firs: sum(video, 'firCount'),
    retransmitted: sum(video, 'retransmittedPacketsReceived'),
    repairStreams: video.filter((entry) => entry.rtxSsrc).length,
    width: video[0]?.frameWidth,
    height: video[0]?.frameHeight,
    keyFrames: sum(video, 'keyFramesDecoded'),
  };
}

// What this tab sends.
export async function sent(connection) {
  const of = await entries(connection);
  const video = of('outbound-rtp', 'video');
  const [ofVideo, ofAudio] = ['video', 'audio'].map((kind) => of('remote-inbound-rtp', kind));
  return {
    ...path(of),
    state: connection?.connectionState,
    bytes: sum(of('outbound-rtp'), 'bytesSent'),
    videoPackets: sum(video, 'packetsSent'),
    framesEncoded: sum(video, 'framesEncoded'),
    keyFrames: sum(video, 'keyFramesEncoded'),
    targetBitrate: sum(video, 'targetBitrate'),
    limitation: video[0]?.qualityLimitationReason,
    nacks: sum(video, 'nackCount'),
    plis: sum(video, 'pliCount'),
    firs: sum(video, 'firCount'),
    retransmitted: sum(video, 'retransmittedPacketsSent'),
    repairStreams: video.filter((entry) => entry.rtxSsrc).length,
    layers: video.map(({rid, active, frameWidth, framesEncoded, keyFramesEncoded, packetsSent, bytesSent, targetBitrate}) => (
      {rid, active, frameWidth, framesEncoded, keyFramesEncoded, packetsSent, bytesSent, targetBitrate})),
    fractionLost: Math.max(0, ...ofVideo.map((entry) => entry.fractionLost || 0)),
    reports: ofVideo.length + ofAudio.length,
  };
}
