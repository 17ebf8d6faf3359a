// The way into a group, gone once with nobody before anybody joins: a browser
// compiles a module's functions when they are first called, and better when they
// are called again: the first way in takes 200 ms, the third 10. Nothing of it is
// kept or sent.
import type { DeviceKey } from "../device-key";
import type { Claims, MlsEngine, MlsLeafKey, MlsMember } from "../mls";

const GROUP_ID_BYTES = 20;
const SUITE = 4;
const TIMES = 3;
const CLAIMS: Claims = {
  meetingId: "00000000-0000-4000-8000-000000000000",
  participantId: "00000000-0000-4000-8000-000000000000",
  name: "rehearsal",
};

type Signer = Pick<DeviceKey, "publicKey" | "sign">;

/** Each step takes some ten milliseconds; the caller looks between them whether to go on. */
export async function* rehearsal(engine: MlsEngine, device: Signer): AsyncGenerator<void, void> {
  for (let times = 0; times < TIMES; times++) yield* wayIn(engine, device);
}

async function* wayIn(engine: MlsEngine, device: Signer): AsyncGenerator<void, void> {
  const { publicKey } = device;
  // A key of our own stands for the controller's: nobody proposes anything.
  const setup = { groupId: new Uint8Array(GROUP_ID_BYTES), externalSender: publicKey };
  const someone = async (): Promise<[MlsLeafKey, Uint8Array]> => {
    const leafKey = engine.newLeafKey();
    const signature = await device.sign(engine.bindingBytes(CLAIMS, leafKey));
    return [leafKey, engine.credential(CLAIMS, publicKey, signature, "")];
  };
  const members: MlsMember[] = [];
  try {
    const first = engine.found(...(await someone()), setup);
    members.push(first.member);
    yield;
    const second = engine.enter(...(await someone()), setup, first.groupInfo);
    members.push(second.member);
    yield;
    for (const member of members) {
      member.handleCommit(second.commit.commit);
      yield;
    }
    const { authenticator } = second.member.keys(SUITE);
    engine.meetingCode(authenticator);
    engine.pairCode(publicKey, publicKey);
    for (const { identity, signatureKey } of second.member.members()) {
      engine.readCredential(identity, signatureKey);
    }
    yield;
    // And the other side of somebody's coming or going.
    first.member.commit();
  } finally {
    for (const member of members) member.free();
  }
}
