import type { IncomingMessage } from 'node:http'

/** A caller that is told early still sends what is on its way; more than this it sends for nothing. */
const allowedBytes = 1024 ** 2
const allowedMs = 2000
const lookEveryMs = 10

/**
 * Bounds what is read of a body that nobody wants any more. The answer is out; without reading a
 * little on, a connection that is closed under a sender is reset, and the answer may be lost with it.
 */
export function limitUnreadBody(request: IncomingMessage): void {
  const { socket } = request
  if (request.complete || socket.destroyed) return
  const end = performance.now() + allowedMs
  const most = socket.bytesRead + allowedBytes
  // Node throws the rest away without an event, so that it can only be looked for.
  const watch = setInterval(() => {
    if (request.complete || socket.destroyed) clearInterval(watch)
    else if (socket.bytesRead > most || performance.now() > end) socket.destroy()
  }, lookEveryMs)
}
