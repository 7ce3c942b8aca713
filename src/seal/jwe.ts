/**
 * The compact JWEs (RFC 7516) of this project differ in `typ` alone. Whoever opens one insists on
 * its type: a sealed bundle of provider keys is public text in a template, and must not be opened
 * as somebody's chat request.
 */
export const jweTypes = {
  request: 'confrouter-request',
  secrets: 'confrouter-secrets',
  providerKey: 'confrouter-key'
} as const

export const jweKeyAlgorithm = 'RSA-OAEP-256'
export const jweContentAlgorithm = 'A256GCM'

/**
 * Header of a request: thumbprint of the key in `encode_response_pub`. The header is authenticated,
 * so nobody between caller and router can put a response key of their own beside the payload.
 */
export const responseKeyParameter = 'response_key'

/** Additional data of a receipt that is sealed with the key of an envelope's answer. */
export const envelopeReceiptLabel = 'confrouter-receipt'
