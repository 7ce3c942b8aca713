import { access } from 'node:fs/promises'
import { UserError } from '../base/user-error.js'
import type { Config } from '../config/index.js'
import type { AzState, Engine } from '../exec/index.js'
import type { DoctorCheck, Finding } from './doctor.js'

export interface Machine {
  /** `process.versions.node`. */
  readonly nodeVersion: string
  readonly routerBundle: string
  readonly probeEngine: (
    engine: Engine,
    signal: AbortSignal
  ) => Promise<{ readonly outcome: string; readonly version?: string; readonly says?: string }>
  readonly probeAz: (signal: AbortSignal) => Promise<AzState>
  /** Whether nothing listens on the port of 127.0.0.1. */
  readonly isPortFree: (port: number) => Promise<boolean>
}

const leastNode = [20, 18, 1] as const

/** Node, and what the package itself must have. */
export function machineChecks(machine: Machine): readonly DoctorCheck[] {
  return [
    { id: 'node', title: 'Node', look: async () => nodeVersion(machine.nodeVersion) },
    { id: 'program', title: 'router program', look: () => program(machine.routerBundle) }
  ]
}

/** What the configuration wants of this machine. `config` throws where it is wrong. */
export function toolChecks(machine: Machine, config: () => Config): readonly DoctorCheck[] {
  return [
    {
      id: 'builder',
      title: 'container builder',
      needs: ['config'],
      look: (signal) => builder(machine, config(), signal)
    },
    { id: 'az', title: 'Azure CLI and confcom', needs: ['config'], look: (signal) => az(machine, config(), signal) }
  ]
}

function nodeVersion(version: string): Finding {
  const has = version.split('.').map(Number)
  const difference = leastNode.map((least, index) => (has[index] ?? 0) - least).find((each) => each !== 0) ?? 0
  const least = leastNode.join('.')
  if (difference >= 0) return { outcome: 'pass', detail: version }
  return {
    outcome: 'fail',
    detail: `${version}, and at least ${least} is needed`,
    next: ['https://nodejs.org/en/download'],
    fault: 'machine'
  }
}

async function program(file: string): Promise<Finding> {
  try {
    await access(file)
    return { outcome: 'pass', detail: file }
  } catch {
    return { outcome: 'fail', detail: `${file} is not there`, next: ['npm run build'], fault: 'machine' }
  }
}

async function builder(machine: Machine, { image }: Config, signal: AbortSignal): Promise<Finding> {
  if (image.digest !== undefined) return { outcome: 'skipped', detail: 'image.digest is set, so nothing is built' }
  if (image.builder === 'native') return { outcome: 'pass', detail: 'native, which needs no program' }
  const { outcome, version, says } = await machine.probeEngine(image.builder, signal)
  if (outcome === 'ready') return { outcome: 'pass', detail: `${image.builder} ${version ?? ''}`.trim() }
  return {
    outcome: 'fail',
    detail:
      outcome === 'missing'
        ? `${image.builder} is not installed`
        : `${image.builder} is installed and does not answer${says === undefined ? '' : `: ${says}`}`,
    next: [
      ...(outcome === 'missing'
        ? [`install ${image.builder}`]
        : image.builder === 'docker'
          ? ['sudo systemctl start docker']
          : [`${image.builder} info`]),
      'set image.builder to native, which needs no program'
    ],
    fault: 'machine'
  }
}

async function az(machine: Machine, { policy }: Config, signal: AbortSignal): Promise<Finding> {
  if (policy.engine !== 'az') {
    return { outcome: 'skipped', detail: `policy.engine is ${policy.engine}, which needs neither` }
  }
  const state = await machine.probeAz(signal)
  const native = 'set policy.engine to native, which needs neither'
  switch (state.outcome) {
    case 'missing':
      return {
        outcome: 'fail',
        detail: 'az is not installed',
        next: ['https://learn.microsoft.com/cli/azure/install-azure-cli', native],
        fault: 'machine'
      }
    case 'failed':
      return { outcome: 'unknown', detail: `az does not say its version: ${state.says}`, next: ['az version', native] }
    case 'ready':
      if (state.confcom !== undefined)
        return { outcome: 'pass', detail: `az ${state.version}, confcom ${state.confcom}` }
      return {
        outcome: 'fail',
        detail: `az ${state.version} has no confcom extension`,
        next: ['az extension add --name confcom', native],
        fault: 'machine'
      }
    default:
      return state satisfies never
  }
}

/** Ports that containers of a group on loopback take by themselves, because nothing maps them. */
export function portCheck(machine: Machine, config: () => Config, isOurs: () => Promise<boolean>): DoctorCheck {
  return {
    id: 'ports',
    title: 'ports',
    needs: ['config'],
    async look() {
      const { containerGroup, sidecar, router } = config()
      const ports = [containerGroup.port, sidecar.port, ...(router.tls === undefined ? [] : [router.tls.port])]
      const free = await Promise.all(ports.map((port) => machine.isPortFree(port)))
      const taken = ports.filter((_, index) => free[index] !== true)
      if (taken.length === 0) return { outcome: 'pass', detail: `${ports.join(', ')} are free` }
      if (await isOurs()) return { outcome: 'pass', detail: `${taken.join(', ')} in use by the deployed router` }
      return {
        outcome: 'fail',
        detail: `in use by another program: ${taken.join(', ')}`,
        next: [
          'CONFROUTER_CONTAINER_GROUP_PORT=PORT CONFROUTER_SIDECAR_PORT=PORT confrouter up --local',
          `lsof -i :${taken[0]}`
        ],
        fault: 'machine'
      }
    }
  }
}

/** The configuration's own problems, all of them. */
export function configCheck(config: () => Config): DoctorCheck {
  return {
    id: 'config',
    title: 'configuration',
    async look() {
      try {
        const { name, cloud, location } = config()
        return { outcome: 'pass', detail: `${name} on ${cloud}, ${location}` }
      } catch (error) {
        if (!(error instanceof UserError)) throw error
        return {
          outcome: 'fail',
          detail: `${error.problem}${error.why === undefined ? '' : `: ${error.why}`}`,
          next: [...error.next, 'confrouter init --config other.yaml   (an example)'],
          fault: 'config'
        }
      }
    }
  }
}
