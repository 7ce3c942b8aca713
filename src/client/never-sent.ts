/**
 * Whether a connection failed before anything could be sent over it, by the errors of Node: no name, nobody who
 * listens, a certificate that is not accepted. All else may have come when the request was there already, and in a
 * browser nothing tells: then this is false.
 */
export function isNeverSent(error: unknown): boolean {
  let cause = error
  // By its members: errors of the platform may be of another realm than this code.
  for (let depth = 0; depth < 8 && typeof cause === 'object' && cause !== null; depth++) {
    const { syscall, code, message, errors, cause: next } = cause as Readonly<Record<string, unknown>>
    // One for each of the host's addresses.
    if (Array.isArray(errors)) return errors.length > 0 && errors.every(isNeverSent)
    if (syscall === 'connect' || syscall === 'getaddrinfo') return true
    if (typeof code === 'string' && beforeSending.test(code)) return true
    if (code === 'ECONNRESET' && message === brokenHandshake) return true
    cause = next
  }
  return false
}

/** Of undici, and OpenSSL's names for what is wrong with a certificate, which is found out in the handshake. */
const beforeSending =
  /^(?:UND_ERR_CONNECT_TIMEOUT|ERR_TLS_CERT_ALTNAME_INVALID|CERT_[A-Z_]+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_[A-Z_]+)$/
const brokenHandshake = 'Client network socket disconnected before secure TLS connection was established'
