// Starting and ending the programs that are measured, each on a core of its own choice.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where the measured program runs, and where the load generator and the upstream. */
const measuredCore = 0
const loadCore = 1

/** Throws if figures of this machine would mean nothing. */
export function requireTwoCores() {
  if (process.platform !== 'linux') throw new Error('needs Linux: CPU time is read from /proc')
  if (cpus().length < 2) throw new Error('needs two cores: one for the measured program, one for the load')
  execFileSync('taskset', ['-a', '-c', '-p', String(loadCore), String(process.pid)], { stdio: 'ignore' })
}

/** What was started and made goes with this program, also when a signal ends it. */
const running = new Set()
const folders = new Set()
process.once('exit', () => {
  // SIGKILL would leave nginx's worker behind.
  for (const child of running) child.kill('SIGTERM')
  for (const folder of folders) removeFolder(folder)
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** Where measured programs write, their logs above all: in memory, so that no disk is measured. */
export const inMemory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** Makes a new folder. */
export function makeFolder(place) {
  const folder = mkdtempSync(join(place, 'confrouter-bench-'))
  folders.add(folder)
  return folder
}

export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

/** Starts a program on the measured core. `stop` ends it and waits until it is gone. */
export function startMeasured(command, arguments_, { ready, ...options }) {
  const child = spawn('taskset', ['-c', String(measuredCore), command, ...arguments_], {
    stdio: ['ignore', 'ignore', 'ignore'],
    ...options
  })
  running.add(child)
  const gone = new Promise((resolve) => child.once('close', resolve))
  void gone.then(() => running.delete(child))
  child.once('error', () => undefined)
  const stop = async (signal = 'SIGKILL') => {
    child.kill(signal)
    await gone
  }
  return (async () => {
    for (let waitedMs = 0; !(await ready()); waitedMs += 50) {
      if (child.exitCode !== null || waitedMs > 20_000) {
        await stop()
        throw new Error(`${command} did not become ready (exit code ${child.exitCode})`)
      }
      await sleep(50)
    }
    return { pid: child.pid, stop }
  })()
}

/** Gives a function that tells whether something accepts connections on this port. */
export const accepts = (port) => () =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

/** Options of Node with which a program collects its garbage on `SIGUSR2`. */
export const collecting = `--expose-gc --import data:text/javascript,process.on('SIGUSR2',()=>{gc();gc()})`

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
