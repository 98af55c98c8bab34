// npm's rtpengine-client against NG over UDP, TCP and WebSocket: a call on each, many requests at once where its
// reader keeps messages apart (over TCP it takes one reply a read). Prints a line a transport; the status is not 0 when anything fails.
//
//     node exchange.js HOST UDP-PORT TCP-PORT HTTP-PORT

const { Client, TcpClient, WsClient } = require('rtpengine-client');

const [host, udp, tcp, http] = process.argv.slice(2);
const sdp = 'v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n';

function expect(reply, result) {
  if (reply.result !== result) throw new Error(JSON.stringify(reply));
  return reply;
}

async function call(name, ask, together) {
  const id = { 'call-id': `npm-${name}`, 'from-tag': 'a' };
  expect(await ask('ping', {}), 'pong');
  const offered = expect(await ask('offer', { ...id, sdp }), 'ok');
  if (!/m=audio \d+ RTP\/AVP 8/.test(offered.sdp)) throw new Error(offered.sdp);
  expect(await ask('answer', { ...id, 'to-tag': 'b', sdp }), 'ok');
  const query = expect(await ask('query', id), 'ok');
  if (Object.keys(query.tags).length !== 2) throw new Error(JSON.stringify(query));
  const pings = Array.from({ length: together }, () => ask('ping', {}));
  (await Promise.all(pings)).forEach((reply) => expect(reply, 'pong'));
  expect(await ask('delete', id), 'ok');
  const gone = await ask('query', id);
  if (gone['error-reason'] !== 'Unknown call-id') throw new Error(JSON.stringify(gone));
  console.error(`${name}: ${7 + together} requests`);
}

function ready(client, event) {
  return new Promise((resolve, reject) => {
    client.on(event, resolve);
    client.on('error', reject);
  });
}

async function main() {
  const overUdp = new Client({ timeout: 3000 });
  await ready(overUdp, 'listening');
  await call('udp', (name, options) => overUdp[name](Number(udp), host, options), 100);
  overUdp.close();

  const overTcp = new TcpClient({ hostport: `${host}:${tcp}`, timeout: 3000 });
  await ready(overTcp, 'connect');
  await call('tcp', (name, options) => overTcp[name](options), 0);
  overTcp.close();

  const overWebSocket = new WsClient({ url: `ws://${host}:${http}/`, timeout: 3000 });
  await ready(overWebSocket, 'listening');
  await call('ws', (name, options) => overWebSocket[name](options), 100);
  overWebSocket.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
