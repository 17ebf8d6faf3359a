// Writes what the vectors of the wire hold as the first inputs of fuzz targets:
//   node scripts/fuzz-seeds.mjs   (fuzz/corpus/NAME/seed-…; run again after vectors changed)
// The byte in front of many says which of its parts a target tries.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const vectors = (name) => JSON.parse(readFileSync(`proto/vectors/${name}.json`, 'utf8'));
const hex = (text) => Buffer.from(text, 'hex');
const BYTES_MAX = 2048;

const counts = new Map();
function seed(target, ...parts) {
  const bytes = Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : part)));
  if (bytes.length > BYTES_MAX) return;
  const number = (counts.get(target) ?? 0) + 1;
  counts.set(target, number);
  mkdirSync(`fuzz/corpus/${target}`, { recursive: true });
  writeFileSync(`fuzz/corpus/${target}/seed-${String(number).padStart(2, '0')}`, bytes);
}

const headers = vectors('media_headers');
for (const { hex: bytes } of [
  ...headers.stream_headers,
  ...headers.frame_headers,
  ...headers.datagram_headers,
  ...headers.invalid,
]) {
  seed('media_headers', hex(bytes));
}

// A group: its header, then frames with payloads of the announced length.
for (const stream of headers.stream_headers) {
  const id = hex(stream.hex).subarray(6, 22);
  const frames = headers.frame_headers.map((frame) => {
    const header = hex(frame.hex);
    id.copy(header, 2);
    header.writeUInt32BE(5, 34);
    return Buffer.concat([header, Buffer.from('media')]);
  });
  seed('group_parser', 7, hex(stream.hex), ...frames);
}

for (const { datagrams } of vectors('media_fragments').reassemble) {
  const forged = datagrams.map((datagram) => Buffer.concat([Buffer.from([255]), hex(datagram).subarray(0, 288)]));
  seed('reassembly', ...forged);
}
seed('reassembly', ...[0, 1, 2, 3, 4, 3, 9, 210, 8, 7, 6, 5]);

const signaling = vectors('signaling');
for (const { hex: bytes } of signaling.vectors) seed('signaling', 9, hex(bytes));
for (const { hex: bytes } of signaling.framing) seed('signaling', 3, hex(bytes));

for (const { hex: bytes } of vectors('media_socket').messages) seed('websocket', hex(bytes));

for (const { frames } of vectors('e2ee').epochs) {
  for (const { sealed } of frames) seed('sframe', 0, hex(sealed));
}
seed('sframe', 1);
seed('sframe', 3, 0, 0, 5, 1);

const claims = { iss: 'darktower', exp: 1800000300, nbf: 1800000000, iat: 1800000000, jti: 'AAAAAAAAAAAAAAAAAAAAAA' };
const meeting = '11111111-1111-4111-8111-111111111111';
for (const [what, more] of [
  [5, { aud: 'meeting-controller', meeting_id: meeting, role: 'host' }],
  [6, { aud: 'global-controller', meeting_id: meeting }],
  [7, { aud: 'darktower-api', sub: meeting, scope: 'user.read.gc' }],
]) {
  seed('tokens', what, Buffer.from(JSON.stringify({ ...claims, ...more })));
}
seed('tokens', 1, Buffer.from('{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'));
seed('tokens', 2, 0, 65);
seed('tokens', 0, Buffer.from('eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImEifQ.e30.AAAA'));

for (const what of [0, 1, 2, 3]) seed('mls', what, 0, 9, 1);

// CONNECT https://localhost/mc with :protocol = webtransport; 200; SETTINGS; a close capsule.
const text = (words) => Buffer.concat([Buffer.from([words.length]), Buffer.from(words)]);
const connect = Buffer.concat([
  Buffer.from([0, 0, 0xcf, 0xd7, 0x50]),
  text('localhost'),
  Buffer.from([0x51]),
  text('/mc'),
  Buffer.from([0x27, 0x02]),
  Buffer.from(':protocol'),
  text('webtransport'),
]);
seed('web_transport', 0, 1, connect.length, connect);
seed('web_transport', 1, 1, 3, hex('0000d9'));
seed('web_transport', 2, hex('00040d0801330180002b603742801'), 1);
seed('web_transport', 2, hex('0004020801'));
const capsule = hex('684308000000077465787474'.slice(0, 22));
seed('web_transport', 3, capsule);
seed('capsules', 0, capsule.length, capsule);
seed('capsules', hex('00066843040000000a'), 0, 2, 0x17, 0);

// Datagrams, headers, trailers and frames of the message layer.
seed('messages', 0, hex('0400010203'));
seed('messages', 0, hex('0401010203040506'));
seed('messages', 1, hex('4d0100000000000100000000000100000000000'.padEnd(40, '0')));
seed('messages', 2, hex('0000000000000007'));
seed('messages', 3, 2, hex('0568656c6c6f00026869'));

seed('http3_frames', 0, 4, hex('0105aabbccddee00026869210101'));
seed('http3_frames', 1, 1, hex('00040400063f'), hex('c00000000f0700'), hex('020304'));
seed('http3_frames', 0, 9, hex('01bfffffff00'));
