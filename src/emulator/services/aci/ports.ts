import { connect, createServer } from 'node:net'

/** The first port that some program on this machine already has; undefined if all are free. */
export async function findTakenPort(ports: readonly number[]): Promise<number | undefined> {
  for (const port of ports) {
    if (!(await canListen(port)) || (await someoneAnswers(port))) return port
  }
  return undefined
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** On macOS one may listen on 127.0.0.1 beside a program that listens on all addresses. */
function someoneAnswers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
