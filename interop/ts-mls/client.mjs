// One ts-mls client: its signature key, its KeyPackages and its view of the group. All that it receives, it receives as octets.
import * as mls from "ts-mls"
import { decodeVarLenType } from "./node_modules/ts-mls/dist/src/codec/variableLength.js"
import { decodeExtension } from "./node_modules/ts-mls/dist/src/extension.js"
import { encodeGroupContext } from "./node_modules/ts-mls/dist/src/groupContext.js"
import { makeKeyPackageRef } from "./node_modules/ts-mls/dist/src/keyPackage.js"
import { signLeafNodeCommit } from "./node_modules/ts-mls/dist/src/leafNode.js"
import { updateLeafKey } from "./node_modules/ts-mls/dist/src/privateKeyPath.js"
import { decodeRatchetTree, encodeRatchetTree } from "./node_modules/ts-mls/dist/src/ratchetTree.js"

const version = "mls10"

export const octets = (text) => new Uint8Array(Buffer.from(text, "base64"))
export const text = (bytes) => Buffer.from(bytes).toString("base64")

// whole reads a structure that is all of the input.
function whole(decode, bytes, what) {
  const read = decode(bytes, 0)
  if (!read || read[1] !== bytes.length) throw new Error(`not a ${what}`)
  return read[0]
}

const readMessage = (bytes) => whole(mls.decodeMlsMessage, bytes, "MLSMessage")
export const readTree = (bytes) => whole(decodeRatchetTree, bytes, "ratchet_tree")
export const readExtensions = (bytes) => whole(decodeVarLenType(decodeExtension), bytes, "list of extensions")

export class Client {
  constructor(number, setting) {
    this.number = number
    this.setting = setting
    this.state = undefined // of the group, where the client is a member
    this.pending = undefined // the state after its own Commit, if that is accepted
    this.nextLeafKey = undefined // the private key of an Update that it has proposed
    this.packages = new Map() // by their references
  }

  get suite() {
    return this.setting.suite
  }

  psks() {
    return mls.makePskIndex(this.state, this.setting.psks)
  }

  capabilities(codes) {
    const extensions = [0xf000, 0xf001, ...codes]
    return { versions: [version], ciphersuites: [this.suite.name], extensions, proposals: codes, credentials: ["basic"] }
  }

  async package(codes) {
    this.key ??= await this.suite.signature.keygen()
    const identity = new TextEncoder().encode(`mimi://a.example/d/client/${this.number}`)
    const made = await mls.generateKeyPackageWithKey(
      { credentialType: "basic", identity },
      this.capabilities(codes),
      this.setting.lifetime,
      [],
      this.key,
      this.suite,
    )
    this.packages.set(text(await makeKeyPackageRef(made.publicPackage, this.suite.hash)), made)
    return made
  }

  async keyPackage(codes) {
    const { publicPackage } = await this.package(codes)
    return mls.encodeMlsMessage({ version, wireformat: "mls_key_package", keyPackage: publicPackage })
  }

  async create(groupID, extensions, codes) {
    const { publicPackage, privatePackage } = await this.package(codes)
    this.state = await mls.createGroup(groupID, publicPackage, privatePackage, readExtensions(extensions), this.suite)
  }

  async join(welcome, tree) {
    const message = readMessage(welcome)
    if (message.wireformat !== "mls_welcome") throw new Error("not a Welcome")
    const made = message.welcome.secrets.map((s) => this.packages.get(text(s.newMember))).find((p) => p)
    if (!made) throw new Error(`the Welcome is not for client ${this.number}`)
    const { publicPackage, privatePackage } = made
    const psks = mls.makePskIndex(undefined, this.setting.psks)
    this.state = await mls.joinGroup(message.welcome, publicPackage, privatePackage, psks, this.suite, readTree(tree))
  }

  // proposeJoin takes the GroupContext from a member, since ts-mls asks for a GroupInfo.
  async proposeJoin(keyPackage, groupContext) {
    const { keyPackage: read } = readMessage(keyPackage)
    const { publicPackage, privatePackage } = this.packages.get(text(await makeKeyPackageRef(read, this.suite.hash)))
    return mls.encodeMlsMessage(await mls.proposeAddExternal({ groupContext }, publicPackage, privatePackage, this.suite))
  }

  proposal(wanted) {
    switch (wanted.kind) {
      case "add":
        return { proposalType: "add", add: { keyPackage: readMessage(octets(wanted.key_package)).keyPackage } }
      case "remove":
        return { proposalType: "remove", remove: { removed: wanted.leaf } }
      case "group_context_extensions": {
        const extensions = readExtensions(octets(wanted.extensions))
        return { proposalType: "group_context_extensions", groupContextExtensions: { extensions } }
      }
      case "psk": {
        const preSharedKeyId = { psktype: "external", pskId: octets(wanted.id), pskNonce: octets(wanted.nonce) }
        return { proposalType: "psk", psk: { preSharedKeyId } }
      }
      case "resumption_psk": {
        const preSharedKeyId = {
          psktype: "resumption",
          usage: "application",
          pskGroupId: this.state.groupContext.groupId,
          pskEpoch: BigInt(wanted.epoch),
          pskNonce: octets(wanted.nonce),
        }
        return { proposalType: "psk", psk: { preSharedKeyId } }
      }
      case "reinit": {
        const groupId = octets(wanted.group_id)
        const reinit = { groupId, version, cipherSuite: this.suite.name, extensions: [] }
        return { proposalType: "reinit", reinit }
      }
      default:
        throw new Error(`ts-mls makes no ${wanted.kind}`)
    }
  }

  // update is an Update with a new leaf; ts-mls reads and applies them, but makes none.
  async update(codes) {
    const { leafIndex } = this.state.privatePath
    const keys = await this.suite.hpke.generateKeyPair()
    const { leaf } = this.state.ratchetTree[2 * leafIndex]
    const leafNode = await signLeafNodeCommit(
      {
        leafNodeSource: "update",
        hpkePublicKey: await this.suite.hpke.exportPublicKey(keys.publicKey),
        signaturePublicKey: leaf.signaturePublicKey,
        credential: leaf.credential,
        capabilities: codes ? this.capabilities(codes) : leaf.capabilities,
        extensions: leaf.extensions,
        groupId: this.state.groupContext.groupId,
        leafIndex,
      },
      this.state.signaturePrivateKey,
      this.suite.signature,
    )
    this.nextLeafKey = await this.suite.hpke.exportPrivateKey(keys.privateKey)
    return { proposalType: "update", update: { leafNode } }
  }

  async propose(wanted, aad) {
    const proposal = wanted.kind === "update" ? await this.update(wanted.codes) : this.proposal(wanted)
    const made = await mls.createProposal(this.state, true, proposal, this.suite, aad)
    this.state = made.newState
    return mls.encodeMlsMessage(made.message)
  }

  async commit(wanted, aad) {
    const made = await mls.createCommit(
      { state: this.state, cipherSuite: this.suite, pskIndex: this.psks() },
      { wireAsPublicMessage: true, extraProposals: wanted.map((w) => this.proposal(w)), authenticatedData: aad },
    )
    this.pending = made.newState
    const { welcome } = made
    return {
      message: mls.encodeMlsMessage(made.commit),
      welcome: welcome && mls.encodeMlsMessage({ version, wireformat: "mls_welcome", welcome }),
      group_info: await this.groupInfo(made.newState),
    }
  }

  async external(groupInfo, tree, codes, aad) {
    const message = readMessage(groupInfo)
    if (message.wireformat !== "mls_group_info") throw new Error("not a GroupInfo")
    const { publicPackage, privatePackage } = await this.package(codes)
    const resync = this.state !== undefined
    const made = await mls.joinGroupExternal(
      message.groupInfo,
      publicPackage,
      privatePackage,
      resync,
      this.suite,
      readTree(tree),
      undefined,
      aad,
    )
    this.pending = made.newState
    return {
      message: mls.encodeMlsMessage({ version, wireformat: "mls_public_message", publicMessage: made.publicMessage }),
      group_info: await this.groupInfo(made.newState),
    }
  }

  // accept: the client's own Commit has been accepted.
  accept() {
    if (!this.pending) throw new Error(`client ${this.number} has no pending Commit`)
    this.state = this.pending
  }

  // receive takes another's Proposal, or processes another's Commit.
  async receive(bytes, committed = []) {
    const updated = committed.some((p) => p.senderLeafIndex === this.leaf && p.proposal.proposalType === "update")
    let { state } = this
    if (updated) state = { ...state, privatePath: updateLeafKey(state.privatePath, this.nextLeafKey) }
    const done = await mls.processMessage(readMessage(bytes), state, this.psks(), mls.acceptAll, this.suite)
    this.state = done.newState
  }

  // committed lists the Proposals of a Commit with their senders, as this member knows them.
  committed(bytes) {
    const { content } = readMessage(bytes).publicMessage
    return content.commit.proposals.map((p) =>
      p.proposalOrRefType === "proposal" ? { proposal: p.proposal } : this.state.unappliedProposals[text(p.reference)],
    )
  }

  // settled drops what was of the epoch before.
  settled() {
    this.pending = undefined
    this.nextLeafKey = undefined
  }

  // leave forgets the group; the client may come back with the same key.
  leave() {
    this.state = undefined
  }

  get leaf() {
    return this.state.privatePath.leafIndex
  }

  async groupInfo(state = this.state) {
    const groupInfo = await mls.createGroupInfoWithExternalPub(state, [], this.suite)
    return mls.encodeMlsMessage({ version, wireformat: "mls_group_info", groupInfo })
  }

  member() {
    if (Object.keys(this.state.unappliedProposals).length > 0) {
      throw new Error(`client ${this.number}: a Proposal was left over`)
    }
    return {
      client: this.number,
      leaf: this.leaf,
      epoch: Number(this.state.groupContext.epoch),
      group_context: text(encodeGroupContext(this.state.groupContext)),
      ratchet_tree: text(encodeRatchetTree(this.state.ratchetTree)),
      epoch_authenticator: text(this.state.keySchedule.epochAuthenticator),
    }
  }
}
