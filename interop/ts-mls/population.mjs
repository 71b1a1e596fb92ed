// A population of ts-mls clients that does what it is told: a frame of JSON on each line of standard input, the answer to it on
// a line of standard output (../README.md). It ends with its input.
import readline from "node:readline"
import * as mls from "ts-mls"
import * as nist from "@noble/curves/nist.js"
import { Client, octets, text } from "./client.mjs"

const hello = {
  name: "ts-mls 1.6.4",
  suites: [1, 2, 3, 7],
  members: 10, // their crypto is JavaScript
  can: [
    "add",
    "remove",
    "update",
    "group_context_extensions",
    "psk",
    "resumption_psk",
    "propose_join",
    "swap",
    "reinit",
    "external",
    "resync",
    "hub_add",
    "hub_remove",
    "hub_group_context_extensions",
    "hub_psk",
    "unlisted_extensions",
    "psks_of_both_kinds",
  ],
}

// suiteOf is a cipher suite with the public ECDSA keys of RFC 9420 §5.1.2, which are not compressed.
async function suiteOf(number) {
  const [name] = Object.entries(mls.ciphersuites).find(([, n]) => n === number)
  const suite = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(name))
  const curve = { 2: nist.p256, 5: nist.p521, 7: nist.p384 }[number]
  if (!curve) return suite
  const keygen = async () => {
    const signKey = curve.utils.randomSecretKey()
    return { signKey, publicKey: curve.getPublicKey(signKey, false) }
  }
  return { ...suite, signature: { ...suite.signature, keygen } }
}

let setting
let clients

function client(number) {
  if (!clients.has(number)) clients.set(number, new Client(number, setting))
  return clients.get(number)
}

const members = () => [...clients.values()].filter((c) => c.state)

// settle has all others process a Commit. Those that it removes do not: they hold no secret of the next epoch, and ts-mls takes
// one that is removed for a member where another is added to its leaf by the same Commit.
async function settle(number, commit) {
  const committer = client(number)
  const others = members().filter((c) => c !== committer)
  const committed = others.length > 0 ? others[0].committed(commit) : []
  const removed = committed.filter((p) => p.proposal.proposalType === "remove").map((p) => p.proposal.remove.removed)
  for (const c of others) {
    if (removed.includes(c.leaf)) c.leave()
    else await c.receive(commit, committed).catch((e) => fail(c, e))
  }
  committer.accept()
  for (const c of clients.values()) c.settled()
  return { members: members().sort((a, b) => a.number - b.number).map((c) => c.member()) }
}

function fail(client, error) {
  throw new Error(`client ${client.number}: ${error.message}`, { cause: error })
}

const coded = (made) => Object.fromEntries(Object.entries(made).map(([k, v]) => [k, v && text(v)]))

const frames = {
  hello: () => ({ hello }),
  async begin(f) {
    const lifetime = { notBefore: BigInt(f.not_before), notAfter: BigInt(f.not_after) }
    setting = { suite: await suiteOf(f.suite), lifetime, psks: {} }
    clients = new Map()
    return {}
  },
  psk(f) {
    setting.psks[f.id] = octets(f.secret)
    return {}
  },
  key_package: async (f) => coded({ message: await client(f.client).keyPackage(f.codes) }),
  async create(f) {
    const c = client(f.client)
    await c.create(octets(f.group_id), octets(f.extensions), f.codes)
    return { ...coded({ group_info: await c.groupInfo() }), members: [c.member()] }
  },
  propose: async (f) => coded({ message: await client(f.client).propose(f.proposal, octets(f.aad.free)) }),
  async propose_join(f) {
    const { groupContext } = members()[0].state
    return coded({ message: await client(f.client).proposeJoin(octets(f.key_package), groupContext) })
  },
  async deliver(f) {
    for (const c of members()) {
      if (c.number !== f.sender) await c.receive(octets(f.message)).catch((e) => fail(c, e))
    }
    return {}
  },
  commit: async (f) => coded(await client(f.client).commit(f.proposals, octets(f.aad.free))),
  external: async (f) =>
    coded(await client(f.client).external(octets(f.group_info), octets(f.ratchet_tree), f.codes, octets(f.aad.free))),
  settle: (f) => settle(f.client, octets(f.commit)),
  async join(f) {
    const c = client(f.client)
    await c.join(octets(f.welcome), octets(f.ratchet_tree))
    return { members: [c.member()] }
  },
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const frame = JSON.parse(line)
  let answer
  try {
    answer = await frames[frame.do](frame)
  } catch (e) {
    answer = { error: process.env.PARLEY_STACK ? e.stack : e.message }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
