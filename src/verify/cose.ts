import { encode } from 'cborg'

/** Sig_structure of COSE_Sign1 without external data (RFC 9052 section 4.4): the bytes that are signed. */
export function signatureInput(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  return encode(['Signature1', protectedHeader, new Uint8Array(0), payload])
}
