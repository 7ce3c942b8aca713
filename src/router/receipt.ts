import { signReceipt } from '../seal/node/receipt.js'
import type { Call, Upstream } from './call.js'

/**
 * The signed receipt of a sealed call (docs/wire-format.md, receipts): what was sent where. It says
 * nothing of the content, and it is for the caller alone, so it never travels in the open.
 */
export function receiptFor(call: Call, status: number, bytes: number): string {
  const { id, opened, upstreams, request, path } = call
  if (opened === undefined) throw new Error('only sealed calls have receipts')
  const { keys } = opened
  const last = upstreams.at(-1)
  const before = upstreams
    .slice(0, -1)
    .map((upstream) => ({ ...withoutModel(upstream), model: upstream.model ?? null }))
  return signReceipt(
    {
      v: 1,
      id,
      iat: Math.floor(Date.now() / 1000),
      request: { method: request.method ?? '', path, ...opened.measure() },
      upstream: last === undefined ? null : withoutModel(last),
      model: last?.model ?? null,
      ...(before.length === 0 ? {} : { before }),
      response: { status, bytes }
    },
    { kid: keys.kid, privateKey: keys.ed25519.privateKey }
  )
}

const withoutModel = ({ provider, origin, spkiSha256 }: Upstream) => ({ provider, origin, spki: spkiSha256 ?? null })
