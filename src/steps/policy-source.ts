import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeSource, parseRelease, type ReleaseSource } from '../release/index.js'
import { fileNames } from './write-policy.js'
import type { Run } from './run.js'

/** What is wrong with the source that a release names, and what of it could not be checked. */
export interface SourceCheck {
  readonly problems: readonly string[]
  readonly notes: readonly string[]
}

const nothing: SourceCheck = { problems: [], notes: [] }

/**
 * Holds the source that the release.json of `directory` names against this package: repository and version are those
 * of its package.json, and the commit is in the history of its checkout. The release that is made to compare with
 * keeps the source of the committed one, so that no difference would show it.
 */
export async function checkReleaseSource(
  { assets, config, signal }: Pick<Run, 'assets' | 'config' | 'signal'>,
  directory: string
): Promise<SourceCheck> {
  const named = await sourceIn(join(directory, fileNames.release))
  if (named === undefined) return nothing
  if (config.image.digest !== undefined) {
    return notChecked('source', 'the image was not built here, so only its publisher knows')
  }
  const folder = assets.buildContext
  const own = await describeSource({ packageFolder: folder, labels: undefined, builtHere: true, signal })
  const commit = await checkCommit(named.commit, own.commit, folder, signal)
  return { ...commit, problems: [...differences(named, own), ...commit.problems] }
}

/** Undefined for a file that is missing or damaged, which differs anyway. */
async function sourceIn(file: string): Promise<ReleaseSource | undefined> {
  try {
    return parseRelease(await readFile(file, 'utf8')).source
  } catch {
    return undefined
  }
}

function differences(named: ReleaseSource, own: ReleaseSource): readonly string[] {
  return (['repository', 'version'] as const)
    .filter((member) => named[member] !== own[member])
    .map((member) => `source.${member}: ${JSON.stringify(named[member])} → ${JSON.stringify(own[member])}`)
}

async function checkCommit(
  commit: string | null,
  ownCommit: string | null,
  folder: string,
  signal: AbortSignal | undefined
): Promise<SourceCheck> {
  if (commit === null || commit === ownCommit) return nothing
  if (ownCommit === null) return notChecked('source.commit', `${folder} is no git checkout`)
  const { ProgramError, runProgram } = await import('../exec/run-program.js')
  const git = async (...command: readonly string[]) => {
    const words = ['--no-optional-locks', `--git-dir=${join(folder, '.git')}`, ...command]
    return (await runProgram('git', { arguments: words, timeoutMs: 30_000, signal })).stdout
  }
  try {
    if ((await git('rev-parse', '--is-shallow-repository')).trim() === 'true') {
      return notChecked('source.commit', `the history of ${folder} is cut; git fetch --unshallow gets the rest`)
    }
    await git('merge-base', '--is-ancestor', commit, 'HEAD')
    return nothing
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    // By git-merge-base: 1 for no ancestor; anything else is an error, as for a commit that is not there.
    if (error.exitCode === 1) return { ...nothing, problems: [`source.commit: ${commit} is no ancestor of HEAD`] }
    if (error.exitCode === 128) return { ...nothing, problems: [`source.commit: the checkout has no commit ${commit}`] }
    return notChecked('source.commit', error.message)
  }
}

function notChecked(what: string, why: string): SourceCheck {
  return { ...nothing, notes: [`${what} of release.json is not checked: ${why}`] }
}
