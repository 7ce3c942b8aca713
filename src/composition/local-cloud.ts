import { spawn } from 'node:child_process'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AzureEnvironment } from '../azure/environment.js'
import { UserError } from '../base/user-error.js'
import type { EmulatorControl, EmulatorOptions, EmulatorStatus } from '../commands/app.js'
import { commandsFor } from '../emulator/command-line.js'
import { resetEmulator, stopEmulator } from '../emulator/control.js'
import { type EmulatorEnvironment, isAlive, readEnvironment } from '../emulator/environment.js'
import { faultsMark } from '../emulator/faults.js'
import { readFaults } from '../emulator/read-faults.js'
import { settingsOf } from './emulator-settings.js'
import { programs } from './package-files.js'

/** The emulator as one more cloud: its endpoints, root and credential. */
export async function localEnvironment(emulator: EmulatorEnvironment): Promise<AzureEnvironment> {
  return {
    armEndpoint: emulator.armEndpoint,
    armScope: `${emulator.armEndpoint}/.default`,
    credential: {
      kind: 'client-secret',
      authorityHost: emulator.authorityHost,
      tenantId: emulator.tenantId,
      clientId: emulator.clientId,
      clientSecret: emulator.clientSecret
    },
    ca: await readFile(emulator.caFile, 'utf8'),
    pollIntervalMs: 25,
    roleWaitSeconds: 600,
    directoryWaitSeconds: 120,
    nameWaitSeconds: 120
  }
}

/** Absolute: the emulator and what it starts have other working directories than the command. */
export function emulatorDirectory(stateDir: string): string {
  return resolve(stateDir, 'emulator')
}

/**
 * The running emulator of a state directory, started if there is none. One that runs with another
 * port or delay than is asked for throws a `UserError` `emulator.other-options`.
 */
export async function ensureEmulator(options: EmulatorOptions, signal: AbortSignal): Promise<EmulatorEnvironment> {
  // A plan that is wrong is said here and not in the log of a process that then does not start.
  const mark = options.faults === undefined ? undefined : faultsMark(await readFaults(options.faults))
  const running = (await runningEmulator(options.stateDir)) ?? (await startInBackground(options, signal))
  requireOptions(running, options, mark)
  return running
}

export async function runningEmulator(stateDir: string): Promise<EmulatorEnvironment | undefined> {
  const environment = await readEnvironment(emulatorDirectory(stateDir))
  return environment !== undefined && (await isAlive(environment)) ? environment : undefined
}

function requireOptions(
  running: EmulatorEnvironment,
  { stateDir, port, rbacDelay }: EmulatorOptions,
  faults: string | undefined
): void {
  const has = { port: Number(new URL(running.armEndpoint).port), rbacDelay: running.rbacDelaySeconds }
  const differing = [
    ...(port === undefined || port === has.port ? [] : [`port ${has.port}, not ${port}`]),
    ...(rbacDelay === undefined || rbacDelay === has.rbacDelay
      ? []
      : [`a role delay of ${has.rbacDelay} s, not ${rbacDelay} s`]),
    ...(faults === undefined || faults === running.faults
      ? []
      : [running.faults === '' ? 'no fault plan' : 'another fault plan'])
  ]
  if (differing.length === 0) return
  throw new UserError('usage', 'emulator.other-options', `the emulator runs with ${differing.join(' and ')}`, {
    why: 'its options are those that it was started with',
    next: commandsFor(emulatorDirectory(stateDir), 'stop')
  })
}

const maxLogBytes = 1024 * 1024

/**
 * Starts the emulator as a process of its own, because the router that it runs has to outlive the
 * command that deployed it.
 */
async function startInBackground(options: EmulatorOptions, signal: AbortSignal): Promise<EmulatorEnvironment> {
  const directory = emulatorDirectory(options.stateDir)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const logFile = join(directory, 'emulator.log')
  await rotate(logFile)
  const log = await open(logFile, 'a', 0o600)
  const offset = (await log.stat()).size
  const child = spawn(process.execPath, [programs.cli, 'emulator', 'start', '--foreground', ...flagsOf(options)], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    // A stray option in the caller's shell must not change a process that goes on after it.
    env: { ...process.env, NODE_OPTIONS: '' }
  })
  await log.close()
  let ended = false
  child.once('exit', () => (ended = true))
  child.unref()
  const deadline = Date.now() + 30_000
  while (Date.now() < deadline) {
    // Whichever process it is: a run that was killed may have left one that was still starting.
    const environment = await runningEmulator(options.stateDir)
    if (environment !== undefined) return environment
    if (ended && !(await readLog(logFile, offset)).includes('[emulator.already-running]')) break
    await sleep(20, undefined, { signal })
  }
  throw new UserError('machine', 'emulator.not-started', 'the emulator did not start', {
    why: firstProblem(await readLog(logFile, offset)),
    next: [
      ...((await readLog(logFile, offset)).includes('[emulator.port-taken]')
        ? [`CONFROUTER_EMULATOR_PORT=PORT confrouter emulator start --state-dir ${options.stateDir}`]
        : []),
      `confrouter emulator start --foreground --state-dir ${options.stateDir}`,
      `cat ${logFile}`
    ]
  })
}

/** Keeps one file before the current one. */
async function rotate(logFile: string): Promise<void> {
  const size = (await stat(logFile).catch(() => undefined))?.size ?? 0
  if (size > maxLogBytes) await rename(logFile, `${logFile}.1`)
}

/** Empty when a reset has deleted it meanwhile. */
async function readLog(file: string, offset: number): Promise<string> {
  const content = await readFile(file).catch(() => Buffer.alloc(0))
  return content.subarray(offset).toString('utf8').trim()
}

function flagsOf({ stateDir, port, rbacDelay, faults }: EmulatorOptions): string[] {
  return [
    ...['--state-dir', stateDir],
    ...(port === undefined ? [] : ['--port', String(port)]),
    ...(rbacDelay === undefined ? [] : ['--rbac-delay', String(rbacDelay)]),
    ...(faults === undefined ? [] : ['--faults', resolve(faults)])
  ]
}

/** The child's own error line, which says more than that it ended. */
function firstProblem(log: string): string {
  const line = log.split('\n').find((text) => text.startsWith('error: '))
  return line?.slice('error: '.length) ?? (log === '' ? 'it wrote nothing' : (log.split('\n').at(-1) ?? ''))
}

export function emulatorControl(signal: AbortSignal): EmulatorControl {
  return {
    async start(options) {
      return describe(options.stateDir, await ensureEmulator(options, signal))
    },
    async serve(options) {
      const { startEmulator } = await import('../emulator/index.js')
      const emulator = await startEmulator({
        directory: emulatorDirectory(options.stateDir),
        sidecarBundle: programs.sidecar,
        log: (line) => void process.stderr.write(`${new Date().toISOString()} ${line}\n`),
        ...(options.port === undefined ? {} : { port: options.port }),
        ...(options.rbacDelay === undefined ? {} : { rbacDelaySeconds: options.rbacDelay }),
        ...(options.faults === undefined ? {} : { faults: await readFaults(options.faults) })
      })
      await untilAborted(signal)
      await emulator.close()
    },
    async stop({ stateDir }) {
      await stopEmulator(emulatorDirectory(stateDir))
      return describe(stateDir, undefined)
    },
    async status({ stateDir }) {
      return describe(stateDir, await runningEmulator(stateDir))
    },
    async settings({ stateDir }) {
      const environment = await runningEmulator(stateDir)
      if (environment === undefined) throw notRunning(stateDir)
      return settingsOf(environment, emulatorDirectory(stateDir))
    },
    async reset({ stateDir }) {
      await resetEmulator(emulatorDirectory(stateDir))
      // What was recorded about its resources is void with them.
      await rm(join(stateDir, 'state.json'), { force: true })
      return describe(stateDir, undefined)
    }
  }
}

function notRunning(stateDir: string): UserError {
  return new UserError('machine', 'emulator.not-running', `no emulator runs in ${stateDir}`, {
    next: commandsFor(emulatorDirectory(stateDir), 'start')
  })
}

function describe(stateDir: string, environment: EmulatorEnvironment | undefined): EmulatorStatus {
  const directory = emulatorDirectory(stateDir)
  if (environment === undefined) return { running: false, directory }
  return { running: true, directory, pid: environment.pid, armEndpoint: environment.armEndpoint }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
