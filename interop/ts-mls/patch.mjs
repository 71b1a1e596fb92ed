// Mends in node_modules what ts-mls 1.6.4 does otherwise than RFC 9420 demands and what would end every history at once. May
// run again at any time. README.md beside this file says what each of them is about.
import fs from "node:fs"
import path from "node:path"

const dist = path.join(import.meta.dirname, "node_modules/ts-mls/dist/src")
const mark = "// mended by parley\n"

// mend replaces texts in one file; each must be there exactly as often as it says, so that another version is noticed.
function mend(file, ...edits) {
  const where = path.join(dist, file)
  let text = fs.readFileSync(where, "utf8")
  if (text.startsWith(mark)) return
  for (const { from, to, times = 1 } of edits) {
    const found = text.split(from).length - 1
    if (found !== times) throw new Error(`${file}: ${found} times, not ${times}: ${from}`)
    text = text.replaceAll(from, to)
  }
  fs.writeFileSync(where, mark + text)
}

mend(
  "createCommit.js",
  // external_pub is struct { HPKEPublicKey external_pub; }, a vector with its length (§12.4.3.2).
  {
    from: 'import { encode } from "./codec/tlsEncoder.js";',
    to:
      'import { encode } from "./codec/tlsEncoder.js";\n' +
      'import { decodeVarLenData, varLenDataEncoder } from "./codec/variableLength.js";',
  },
  { from: "extensionData: externalPub }", to: "extensionData: encode(varLenDataEncoder)(externalPub) }", times: 2 },
  {
    from: "exportSecret(externalPub.extensionData, cs)",
    to: "exportSecret(decodeVarLenData(externalPub.extensionData, 0)[0], cs)",
  },
  // Path secrets are encrypted under the GroupContext after the Proposals, with their extensions (§12.4.1).
  {
    from: "toLeafIndex(state.privatePath.leafIndex), state.groupContext, state.signaturePrivateKey, cipherSuite, excludeNodes)",
    to:
      "toLeafIndex(state.privatePath.leafIndex), { ...state.groupContext, extensions: res.additionalResult.extensions?.length " +
      "> 0 ? res.additionalResult.extensions : state.groupContext.extensions }, state.signaturePrivateKey, cipherSuite, excludeNodes)",
  },
)
mend(
  "clientState.js",
  // A path may be left out only where each Proposal is an Add, PreSharedKey or ReInit (§12.4).
  {
    from:
      "allProposals.length === 0 || Object.values(grouped.update).length > 0 || Object.values(grouped.remove).length > 0;",
    to:
      "allProposals.length === 0 || allProposals.some(({ proposal: p }) => " +
      '!["add", "psk", "reinit"].includes(p.proposalType));',
  },
  // A node between an unmerged leaf and the node that lists it lists that leaf too, among others; one above need not (§7.9).
  {
    from: "for (const parentIdx of dp) {",
    to: "for (const parentIdx of dp.slice(0, dp.indexOf(toNodeIndex(i)))) {",
  },
  {
    from: "!arraysEqual(dpNode.parent.unmergedLeaves, n.parent.unmergedLeaves)",
    to: "!dpNode.parent.unmergedLeaves.includes(unmergedLeaf)",
  },
  // external_senders is one extension with a list (§12.1.8.1).
  {
    from: "import { bigintMapEncoder, decodeBigintMap, decodeVarLenData, varLenDataEncoder }",
    to: "import { bigintMapEncoder, decodeBigintMap, decodeVarLenData, decodeVarLenType, varLenDataEncoder }",
  },
  {
    from: "const decoded = decodeExternalSender(externalSender.extensionData, 0);",
    to: "const decoded = decodeVarLenType(decodeExternalSender)(externalSender.extensionData, 0)?.[0];",
  },
)
mend(
  "publicMessage.js",
  {
    from: "import { decodeVarLenData, varLenDataEncoder }",
    to: "import { decodeVarLenData, decodeVarLenType, varLenDataEncoder }",
  },
  { from: "externalSenderExtensions[senderIndex];", to: "externalSenderExtensions[0];" },
  {
    from: "const externalSender = decodeExternalSender(externalSenderExtension.extensionData, 0);",
    to: "const externalSender = decodeVarLenType(decodeExternalSender)(externalSenderExtension.extensionData, 0);",
  },
  { from: "return externalSender[0];", to: "return externalSender[0][senderIndex];" },
)
