import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { writeTextAtomically } from '../image/index.js'

/**
 * What a run leaves for the next one. A hint, never the truth: Azure is asked each time. It holds
 * ids, digests and sealed data, no secret.
 */
/** One deployment as it was made: what a later one is compared with, and what can be gone back to. */
export interface Generation {
  /** `containerGroup.name` of the configuration; the group's own name may have the host data at its end. */
  readonly base: string
  /** The first of its groups: the one that callers are told of first. */
  readonly group: string
  /** What the names of all its groups begin with; absent where it is `group`. */
  readonly stem?: string
  /** The region whose groups have no region in their names; absent where it is the configuration's `location`. */
  readonly home?: string
  readonly hostData: string
  /** The router's image, pinned. */
  readonly image: string
  /** Of the template's bytes exactly as they were submitted; they are kept in `generations/HASH.json`. */
  readonly templateSha256: string
  /** Origin of the attestation service that its router goes to. */
  readonly authority?: string
  /** As submitted: provider keys, sealed to the released key. */
  readonly sealedSecrets: string
  /** For each provider with a key, the version of the bundle in which its value was sealed. */
  readonly secretVersions: Readonly<Record<string, number>>
  /** What its smoke test called; absent where it called nothing. */
  readonly smokeModel?: string
  /** UTC, ISO 8601. */
  readonly deployedAt: string
}

/** An upgrade that is under way; while it is recorded the key may be released to both sides. */
export interface UpgradeState {
  readonly strategy: 'blue-green' | 'replace'
  readonly direction: 'upgrade' | 'rollback'
  readonly reason?: string
  readonly from: {
    readonly group: string
    readonly hostData: string
    /** What the names of its groups begin with; absent where it is `group`. */
    readonly stem?: string
    /** Where the first of its groups is. */
    readonly region?: string
    readonly endpoint?: string
    readonly tlsEndpoint?: string
    /** Where those beside it are reached. */
    readonly replicas?: readonly {
      readonly group: string
      readonly region?: string
      readonly endpoint: string
      readonly tlsEndpoint?: string
    }[]
  }
  readonly to: {
    /** The first of its groups, and what the names of all of them begin with. */
    readonly group: string
    readonly hostData: string
    /** Where its groups are, as configured when it was opened: the first region's have no region in their names. */
    readonly regions?: readonly string[]
  }
  /**
   * Release policies of the key, as texts: what the vault had when the window was opened, what was written then, and
   * what was approved and closes it again.
   */
  readonly release?: { readonly before?: string; readonly widened: string; readonly approved: string }
  /** Whom somebody else let in while the window was open, in words. */
  readonly keyOpenedTo?: readonly string[]
  /** The new group, once it was deployed. */
  readonly built?: Generation
  /** The phase that is to be done next. */
  readonly phase: string
  /** UTC, ISO 8601. */
  readonly openedAt: string
  /** Why the last attempt at the phase ended, in one sentence. */
  readonly failure?: string
}

/** What happened to the pin, oldest first. */
export interface PinChange {
  readonly at: string
  readonly what: 'upgrade' | 'rollback'
  readonly from: string
  readonly to: string
  readonly reason?: string
  /** Whom somebody else let the key out to meanwhile, in words. */
  readonly keyOpenedTo?: readonly string[]
}

export interface State {
  readonly version: 1
  /** Deployment that this state belongs to; another name or cloud needs another state directory. */
  readonly name: string
  readonly cloud: string
  /** Resource ids that `up` itself created, which is what `down` may delete. */
  readonly created: readonly string[]
  /** Every region that a container group was ever made in from here. */
  readonly regions?: readonly string[]
  readonly image?: { readonly inputs: string; readonly reference: string }
  readonly sidecar?: { readonly reference: string; readonly pinned: string }
  /** What the last deployment was made with, recorded before it was submitted. */
  readonly deployed?: { readonly hostData: string }
  /** The newest signed bundle, and by name where each value came from: see sealed-secrets.ts. */
  readonly secrets?: { readonly bundle: string; readonly marks: Readonly<Record<string, string>> }
  /** On loopback: providers that are there because their variable was in the environment, not in a file. */
  readonly ambientProviders?: readonly string[]
  /** The group that serves. */
  readonly active?: Generation
  /** The one before it, which `rollback` goes back to. */
  readonly previous?: Generation
  readonly upgrade?: UpgradeState
  readonly history?: readonly PinChange[]
  readonly endpoint?: string
  readonly tlsEndpoint?: string
  readonly keyId?: string
  /** The SDK's poller token of a deployment that was running when the last run ended. */
  readonly deployment?: {
    /** Hash of template and parameters: another deployment must not be taken for this one. */
    readonly inputs: string
    readonly token: string
    /** Of the deployment in Azure; absent in states of before it was recorded. */
    readonly name?: string
  }
}

export interface StateFile {
  readonly directory: string
  get(): State
  /** Writes by rename, in the order of the calls: a kill leaves the old or the new state. */
  update(change: (state: State) => State): Promise<void>
}

export async function openState(directory: string, name: string, cloud: string): Promise<StateFile> {
  await makeDirectory(directory)
  const file = stateFile(directory)
  const before = await readState(file)
  const isOurs = before?.name === name && before.cloud === cloud
  if (before !== undefined && !isOurs && isInUse(before)) throw otherDeployment(directory, before, { name, cloud })
  let state: State = before !== undefined && isOurs ? before : { version: 1, name, cloud, created: [] }
  let writing: Promise<unknown> = Promise.resolve()
  return {
    directory,
    get: () => state,
    async update(change) {
      state = change(state)
      const text = `${JSON.stringify(state, null, 2)}\n`
      writing = writing.catch(() => undefined).then(() => writeTextAtomically(file, text, { mode: 0o600 }))
      await writing
    }
  }
}

/** Whose state directory it is; undefined if it is nobody's yet, or if nothing is left of what was deployed from it. */
export async function stateOwner(directory: string): Promise<Pick<State, 'name' | 'cloud'> | undefined> {
  const state = await readState(stateFile(directory))
  return state !== undefined && isInUse(state) ? state : undefined
}

/** What `build` alone leaves, and what is left after `down`, can be made again and binds the folder to nobody. */
function isInUse(state: State): boolean {
  const { version: _v, name: _n, cloud: _c, image: _i, sidecar: _s, ambientProviders: _a, ...deployed } = state
  const { created, ...deployment } = deployed
  return created.length > 0 || Object.values(deployment).some((value) => value !== undefined)
}

/** Providers that the environment brought and whose key is sealed, and whether anything is deployed. */
export async function recordedAmbient(
  directory: string
): Promise<{ readonly kept: readonly string[]; readonly isDeployed: boolean }> {
  const state = await readState(stateFile(directory))
  const marks = state?.secrets?.marks ?? {}
  return {
    kept: (state?.ambientProviders ?? []).filter((name) => Object.hasOwn(marks, name)),
    isDeployed: state?.deployed !== undefined
  }
}

/** The router that was deployed from a state directory; undefined if none was. */
export async function recordedDeployment(
  directory: string
): Promise<{ readonly cloud: string; readonly endpoint: string } | undefined> {
  const state = await readState(stateFile(directory))
  return state?.endpoint === undefined ? undefined : { cloud: state.cloud, endpoint: state.endpoint }
}

export function otherDeployment(
  directory: string,
  owner: Pick<State, 'name' | 'cloud'>,
  wanted: { readonly name?: string; readonly cloud: string }
): UserError {
  const name = wanted.name ?? owner.name
  const isOtherCloud = owner.cloud !== wanted.cloud
  const ofOwner = owner.cloud === 'local' ? '--local' : `--cloud ${owner.cloud}`
  const own = `${directory}-${isOtherCloud ? wanted.cloud : name}`
  return new UserError(
    'config',
    'state.other-deployment',
    `${directory} belongs to "${owner.name}" on ${owner.cloud}, not to "${name}" on ${wanted.cloud}`,
    {
      why: 'a state directory holds one deployment on one cloud, and what is recorded of one must not be taken for another',
      next: [
        `export CONFROUTER_STATE_DIR=${own}   (a folder of its own for this one; or --state-dir)`,
        ...(isOtherCloud
          ? [
              `confrouter status ${ofOwner}   (if the one on ${owner.cloud} was meant)`,
              `confrouter down ${ofOwner}   (deletes that one, and the folder is free)`
            ]
          : [])
      ]
    }
  )
}

/** Makes a state directory, or says why it cannot be one. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true })
  } catch (error) {
    throw new UserError('machine', 'state.unwritable', `${directory} cannot be a state directory`, {
      why: error instanceof Error ? error.message : undefined,
      next: ['choose another folder with --state-dir'],
      cause: error
    })
  }
}

function stateFile(directory: string): string {
  return join(directory, 'state.json')
}

async function readState(file: string): Promise<State | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const damaged = (cause?: unknown) =>
    new UserError('machine', 'state.damaged', `${file} is not a state file of this version`, {
      why: 'it is only a hint: everything in it can be observed again, but what `up` created is then not known to `down`',
      next: [`rm ${file}`],
      cause
    })
  try {
    const state = JSON.parse(text) as unknown
    if (isJsonObject(state) && state['version'] === 1 && Array.isArray(state['created']))
      return state as unknown as State
  } catch (error) {
    throw damaged(error)
  }
  throw damaged()
}
