import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AdmittedContainer } from './admission.js'
import { CommandNotFound, resolveCommand } from './command.js'
import { ContainedPathError } from './contained-path.js'
import { ContainerLog } from './container-log.js'
import { type ContainerProcess, startProcess } from './container-process.js'
import type { ContainerEvent } from './events.js'
import { type GuestNetwork, inNetwork } from './guest-network.js'
import type { RestartPolicy } from './group-spec.js'
import type { PulledImage } from './image-store.js'
import { securityContextVariable } from './platform.js'
import { extractLayers } from './rootfs.js'
import { systemCode } from '../../system-error.js'

export interface ContainerState {
  readonly state: 'Waiting' | 'Running' | 'Terminated'
  readonly startTime?: string
  readonly finishTime?: string
  readonly exitCode?: number
  readonly detailStatus: string
}

export interface SupervisorOptions {
  readonly name: string
  readonly image: PulledImage
  readonly admitted: AdmittedContainer
  readonly restartPolicy: RestartPolicy
  readonly directory: string
  readonly network: GuestNetwork
  /** The folder that the guest agent wrote for this container. */
  readonly securityContext: string
  readonly timing: RestartTiming
  readonly clock: () => Date
  readonly onState: (state: ContainerState, restarted: boolean) => void
  readonly onEvent: (event: Pick<ContainerEvent, 'name' | 'message' | 'type'>) => void
}

export interface RestartTiming {
  /** Pause before the first restart; doubled for each that follows at once. */
  readonly firstBackoffMs: number
  readonly maxBackoffMs: number
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number
}

export interface Supervisor {
  /** Resolves when the container runs for the first time. Rejects with a `StartFailure`. */
  start(signal: AbortSignal): Promise<void>
  stop(): Promise<void>
}

/** The container could not be started at all; the message is for its `Failed` event. */
class StartFailure extends Error {
  override readonly name = 'StartFailure'
}

/** A fault of the emulator itself, a full disk for example, is named as that and nothing more. */
export function startFailureEvent(
  container: string,
  error: unknown
): Pick<ContainerEvent, 'name' | 'message' | 'type'> {
  const message =
    error instanceof StartFailure
      ? error.message
      : `Error: Failed to start container ${container}: the emulator could not prepare it (${systemCode(error) ?? 'internal error'})`
  return { name: 'Failed', type: 'Warning', message }
}

/** Where an emulator that comes after a kill finds the process of a container. */
export function processRecordFile(containerDirectory: string): string {
  return join(containerDirectory, 'process.json')
}

export function openContainerLog(containerDirectory: string, clock: () => Date): ContainerLog {
  return new ContainerLog(join(containerDirectory, 'log'), clock)
}

/** Runs one container and, by its policy, runs it again. Each run begins with the files of the image. */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { name, restartPolicy, timing, clock, onState, onEvent } = options
  const log = openContainerLog(options.directory, clock)
  const stopping = new AbortController()
  let current: ContainerProcess | undefined
  let ended: Promise<void> = Promise.resolve()

  async function launch(signal: AbortSignal): Promise<ContainerProcess> {
    try {
      const { process, lentNode } = await run(options, log, signal)
      if (lentNode) onEvent({ name: 'NodeLent', type: 'Normal', message: lentNodeMessage(name) })
      onEvent({ name: 'Started', type: 'Normal', message: 'Started container' })
      return process
    } catch (error) {
      throw startFailure(name, error)
    }
  }

  /** Resolves when the container has ended for good. */
  async function supervise(first: ContainerProcess, firstStartTime: string): Promise<void> {
    let process: ContainerProcess | undefined = first
    let startTime = firstStartTime
    let backoffMs = timing.firstBackoffMs
    for (;;) {
      const exitCode: number = process ? await process.exited : 128
      current = undefined
      const ranMs = clock().getTime() - Date.parse(startTime)
      const detailStatus = exitCode === 0 ? 'Completed' : 'Error'
      onState({ state: 'Terminated', startTime, finishTime: clock().toISOString(), exitCode, detailStatus }, false)
      if (stopping.signal.aborted) return
      if (process && exitCode !== 0) {
        onEvent({ name: 'Failed', type: 'Warning', message: `Container ${name} terminated with ExitCode ${exitCode}.` })
      }
      if (restartPolicy === 'Never' || (restartPolicy === 'OnFailure' && exitCode === 0)) return
      if (ranMs > timing.maxBackoffMs) backoffMs = timing.firstBackoffMs
      const message = `Back-off restarting failed container ${name}`
      if (exitCode !== 0) onEvent({ name: 'BackOff', type: 'Warning', message })
      onState({ state: 'Waiting', detailStatus: 'CrashLoopBackOff: back-off restarting the container' }, false)
      // Rejects when the group is stopped meanwhile, which ends the supervision.
      await sleep(backoffMs, undefined, { signal: stopping.signal })
      backoffMs = Math.min(backoffMs * 2, timing.maxBackoffMs)
      process = await relaunch()
      startTime = clock().toISOString()
      if (process) onState({ state: 'Running', startTime, detailStatus: '' }, true)
    }
  }

  /** Undefined when the container does not start this time: that is one more failed run. */
  async function relaunch(): Promise<ContainerProcess | undefined> {
    try {
      current = await launch(stopping.signal)
      return current
    } catch (error) {
      if (stopping.signal.aborted) throw error
      onEvent(startFailureEvent(name, error))
      return undefined
    }
  }

  return {
    start: async (signal) => {
      const process = await launch(AbortSignal.any([signal, stopping.signal]))
      current = process
      const startTime = clock().toISOString()
      onState({ state: 'Running', startTime, detailStatus: '' }, false)
      ended = supervise(process, startTime).catch(() => {
        // Only the wait for the next run rejects, when the group is stopped meanwhile.
      })
    },
    stop: async () => {
      stopping.abort()
      if (current) onEvent({ name: 'Killing', type: 'Normal', message: `Killing container ${name}` })
      await current?.stop(timing.graceMs)
      await ended
    }
  }
}

async function run(
  { admitted, image, directory, network, securityContext }: SupervisorOptions,
  log: ContainerLog,
  signal: AbortSignal
): Promise<{ process: ContainerProcess; lentNode: boolean }> {
  const rootfs = join(directory, 'rootfs')
  await rm(rootfs, { recursive: true, force: true })
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await extractLayers(image.layers, rootfs, signal)
  const command = await resolveCommand({
    rootfs,
    argv: admitted.argv,
    path: admitted.env['PATH'],
    workingDir: admitted.workingDir,
    node: process.execPath
  })
  signal.throwIfAborted()
  const started = await startProcess({
    command: await inNetwork(command, network, directory),
    env: { ...admitted.env, [securityContextVariable]: securityContext },
    log: admitted.allowStdioAccess ? log : undefined,
    recordFile: processRecordFile(directory)
  })
  if (signal.aborted) {
    // Stopped while the system was starting it: nobody else knows of it yet.
    await started.stop(0)
    signal.throwIfAborted()
  }
  return { process: started, lentNode: command.lentNode }
}

/** What the runtime says of an image that it cannot run; anything else is this emulator's own fault. */
function startFailure(container: string, error: unknown): unknown {
  const known = error instanceof CommandNotFound || error instanceof ContainedPathError
  const code = systemCode(error)
  const spawnFailed = code === 'ENOENT' || code === 'EACCES' || code === 'ENOEXEC'
  if (!known && !spawnFailed) return error
  const reason = known ? error.message : `exec: ${code}`
  return new StartFailure(
    `Error: Failed to start container ${container}, Error response: to create containerd task: failed to create shim task: ${reason}: unknown`,
    { cause: error }
  )
}

function lentNodeMessage(container: string): string {
  return `The image of container ${container} has no node: the emulator lends its own, ${process.version}. On Azure the image has to bring it.`
}
