import { stat } from 'node:fs/promises'
import { join } from 'node:path'

/** A folder's relation to its history. */
export type Checkout =
  | {
      readonly kind: 'checkout'
      /** The one that is checked out, 40 lower-case hex characters. */
      readonly head: string
      /**
       * The last one, up to that, that changed what image and policy are made from: of it they are the same.
       * So a commit that changes only a page of documentation makes no other image.
       */
      readonly commit: string
      /** Paths that differ from the commit, among those that image and policy are made from; long lists are cut. */
      readonly changed: readonly string[]
    }
  | {
      readonly kind: 'none'
      /** Why no commit is known, as a sentence part. */
      readonly why: string
    }

/** What image and policy are made from. Other files of a checkout, such as a configuration, may change freely. */
const sources = [
  '.dockerignore',
  'Dockerfile',
  'package.json',
  'npm-shrinkwrap.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts',
  'src',
  'templates'
]

const timeoutMs = 30_000
const maximumListed = 20

/**
 * Asks git which commit the folder is at. Only a folder with a `.git` of its own counts: one that is
 * installed inside another project has that project's history, which says nothing of it.
 */
export async function readCheckout(folder: string, signal?: AbortSignal): Promise<Checkout> {
  const gitDirectory = join(folder, '.git')
  if (!(await exists(gitDirectory))) return { kind: 'none', why: `${folder} is no git checkout` }
  // Loaded only here: an installed package is no checkout, and starts no program.
  const { ProgramError, runProgram } = await import('../exec/run-program.js')
  const git = async (command: readonly string[]) => {
    const words = [...isolated(folder, gitDirectory), ...command]
    return (await runProgram('git', { arguments: words, timeoutMs, signal })).stdout
  }
  try {
    const [status, last] = await Promise.all([git(statusCommand), git(lastChangeCommand)])
    const head = /^# branch\.oid ([0-9a-f]{40})$/m.exec(status)?.[1]
    if (head === undefined) return { kind: 'none', why: `${folder} has no commit` }
    const commit = /^[0-9a-f]{40}$/.exec(last.trim())?.[0] ?? head
    return { kind: 'checkout', head, commit, changed: changedIn(status) }
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    return { kind: 'none', why: [error.message, ...error.tail.slice(-1)].join(': ') }
  }
}

/**
 * Named in full, since variables of a hook that this runs in would lead git elsewhere. Nothing is locked
 * or written, and no program that the folder's settings name is started.
 */
function isolated(folder: string, gitDirectory: string): readonly string[] {
  return [
    '--no-optional-locks',
    ...['-c', 'core.fsmonitor=false'],
    ...['-c', 'log.showSignature=false'],
    `--git-dir=${gitDirectory}`,
    `--work-tree=${folder}`
  ]
}

/** From the top of the work tree, wherever this runs. */
const sourcePaths = sources.map((path) => `:(top)${path}`)

const statusCommand = [
  ...['status', '--porcelain=v2', '--branch', '--untracked-files=normal', '--ignore-submodules=none'],
  '--',
  ...sourcePaths
]

/** Of a merge that is the same as one of its parents, git follows that parent: the tree stays the same. */
const lastChangeCommand = ['log', '--max-count=1', '--format=%H', '--', ...sourcePaths]

/** Lines of changes end with the path; `? path` is a file that git does not know. */
function changedIn(status: string): readonly string[] {
  return status
    .split('\n')
    .filter((line) => /^[12u?] /.test(line))
    .map((line) => line.slice(pathOffset(line)).split('\t', 1)[0] ?? '')
    .slice(0, maximumListed)
}

/** Fields before the path, by the kind of the line (git-status, "Porcelain Format Version 2"). */
function pathOffset(line: string): number {
  const fields = { '1': 8, '2': 9, u: 10, '?': 1 }[line.charAt(0)] ?? 0
  let offset = 0
  for (let field = 0; field < fields; field++) offset = line.indexOf(' ', offset) + 1
  return offset
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false
  )
}
