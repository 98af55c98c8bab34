// What a tab sends: camera and microphone, or a drawn picture and a tone that receivers can tell from others.

// Several tones or hues of one room are told apart by their distance.
export const randomHz = () => 300 + 50 * Math.floor(Math.random() * 20);

// A picture of 16 to 9, its left half in one hue, its right half noise that a codec has to work for.
function picture(hue, width) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, width * 9 / 16];
  const brush = canvas.getContext('2d', {alpha: false});
  brush.scale(width / 640, width / 640);
  let drawn = 0;
  const timer = setInterval(() => {
    brush.fillStyle = `hsl(${hue} 100% 50%)`;
    brush.fillRect(0, 0, 320, 360);
    for (let cell = 0; cell < 144; cell++) {
      if (drawn > 0 && Math.random() > 0.3) continue;
      brush.fillStyle = `hsl(0 0% ${20 + 60 * Math.random()}%)`;
      brush.fillRect(320 + cell % 16 * 20, Math.floor(cell / 16) * 40, 20, 40);
    }
    brush.fillStyle = 'white';
    brush.fillRect(320 + drawn * 5 % 300, 20, 20, 20);
    drawn++;
  }, 50);
  const track = canvas.captureStream(20).getVideoTracks()[0];
  return {track, stop: () => clearInterval(timer)};
}

function tone(context, hz) {
  const oscillator = new OscillatorNode(context, {frequency: hz});
  const gain = new GainNode(context, {gain: 0.2});
  const sink = context.createMediaStreamDestination();
  oscillator.connect(gain).connect(sink);
  oscillator.start();
  return {track: sink.stream.getAudioTracks()[0], stop: () => oscillator.stop()};
}

function synthetic(context, {hz, hue, width}) {
  const [sound, image] = [tone(context, hz), picture(hue, width)];
  const stream = new MediaStream([sound.track, image.track]);
  return {stream, isSynthetic: true, stop: () => { sound.stop(); image.stop(); stopTracks(stream); }};
}

const stopTracks = (stream) => stream.getTracks().forEach((track) => track.stop());

// Why there is no camera, for the user.
function explain(error) {
  if (!navigator.mediaDevices) return 'Browsers lend cameras only to pages of https and localhost.';
  if (error.name === 'NotAllowedError') return 'The browser was told not to lend camera and microphone.';
  if (error.name === 'NotFoundError') return 'There is no camera or no microphone.';
  if (error.name === 'NotReadableError') return 'Another program uses the camera or the microphone.';
  return `No camera and microphone: ${error.message}.`;
}

// options: synthetic, hz, hue, width in pixels. Whoever has no camera sends the drawn picture; `note` says why.
export async function open(context, options) {
  const {width} = options;
  if (options.synthetic) return synthetic(context, options);
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: true,
      video: {width: {ideal: width}, height: {ideal: width * 9 / 16}, frameRate: {ideal: 30}},
    });
    return {stream, isSynthetic: false, stop: () => stopTracks(stream)};
  } catch (error) {
    const note = `${explain(error)} A drawn picture and a tone are sent instead.`;
    return {...synthetic(context, options), note};
  }
}
