import { type KeyObject, sign } from 'node:crypto'
import { type Receipt, receiptAlgorithm, receiptType, type ReceiptUpstream } from '../receipt.js'

/** The router's Ed25519 key. `kid` is the thumbprint of its RSA key, under which callers know the router. */
export interface ReceiptKey {
  readonly kid: string
  readonly privateKey: KeyObject
}

/** Signs a receipt: a compact JWS, for the caller alone. Synchronous, since it is signed while an answer ends. */
export function signReceipt(receipt: Receipt, { kid, privateKey }: ReceiptKey): string {
  const header = headerOf(kid)
  const signed = `${header}.${encode(membersOf(receipt))}`
  return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
}

const known = { kid: '', header: '' }

/** The same for every receipt under one key. */
function headerOf(kid: string): string {
  if (known.kid !== kid) Object.assign(known, { kid, header: encode({ alg: receiptAlgorithm, typ: receiptType, kid }) })
  return known.header
}

/** Member by member: whatever else an object carries is not for a receipt. */
function membersOf({ v, id, iat, request, upstream, model, before, response }: Receipt): Receipt {
  return {
    v,
    id,
    iat,
    request: { method: request.method, path: request.path, sha256: request.sha256, bytes: request.bytes },
    upstream: upstream && upstreamOf(upstream),
    model,
    ...(before && { before: before.map((one) => ({ ...upstreamOf(one), model: one.model })) }),
    response: { status: response.status, bytes: response.bytes }
  }
}

const upstreamOf = ({ provider, origin, spki }: ReceiptUpstream): ReceiptUpstream => ({ provider, origin, spki })

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
