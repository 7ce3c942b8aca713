import { connect, createServer } from 'node:net'

/** The first port that some program on this machine already has at an address; undefined if all are free. */
export async function findTakenPort(ports: readonly number[], address: string): Promise<number | undefined> {
  for (const port of ports) {
    if (!(await canListen(port, address)) || (await someoneAnswers(port, address))) return port
  }
  return undefined
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** On macOS one may listen on 127.0.0.1 beside a program that listens on all addresses. */
function someoneAnswers(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
