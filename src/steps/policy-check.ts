import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject, type Json } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { comparePolicies, describeFinding, parseCcePolicy } from '../policy/index.js'
import { onOneLine, quotedText } from '../policy/printable-text.js'
import { checkReleaseSource } from './policy-source.js'
import type { Note, Results, Run } from './run.js'
import { derivePolicy, type FileId, fileNames } from './write-policy.js'

/** One file that was committed, held against what this source gives. */
export interface CheckedFile {
  readonly file: string
  readonly state: 'same' | 'missing' | 'different'
  /** What differs, in words; empty where nothing does. */
  readonly differences: readonly string[]
}

export interface PolicyCheck {
  /** Of the policy that this source gives. */
  readonly hostData: string
  readonly files: readonly CheckedFile[]
  /** What was not checked, and why. */
  readonly notes: readonly string[]
}

/** Makes the policy again in memory and compares the files of `directory` with it. */
export async function checkPolicy(run: Run, results: Results, directory: string, note: Note): Promise<PolicyCheck> {
  // The release of the same folder says which commit it was made from, so it is what is gone by.
  const { output, texts } = await derivePolicy({ ...run, policyDirectory: directory }, results, note)
  const ids = Object.keys(fileNames) as FileId[]
  const files = await Promise.all(ids.map((id) => checkFile(id, join(directory, fileNames[id]), texts[id])))
  const source = await checkReleaseSource(run, directory)
  return {
    hostData: output.hostData,
    files: files.map((checked, index) => (ids[index] === 'release' ? withProblems(checked, source.problems) : checked)),
    notes: source.notes
  }
}

function withProblems(checked: CheckedFile, problems: readonly string[]): CheckedFile {
  if (problems.length === 0) return checked
  return { ...checked, state: 'different', differences: [...checked.differences, ...problems] }
}

async function checkFile(id: FileId, file: string, made: string): Promise<CheckedFile> {
  const committed = await readCommitted(file)
  if (committed === undefined) return { file, state: 'missing', differences: ['the file is not there'] }
  if (committed === made) return { file, state: 'same', differences: [] }
  return {
    file,
    state: 'different',
    differences: id === 'policy' ? policyWords(committed, made) : jsonWords(committed, made)
  }
}

async function readCommitted(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new UserError('usage', 'usage.file-unreadable', `${file} cannot be read`, { cause })
  }
}

function policyWords(committed: string, made: string): readonly string[] {
  try {
    const { findings, oldHostData, newHostData } = comparePolicies(parseCcePolicy(committed), parseCcePolicy(made))
    const words = findings.map(describeFinding)
    return [`host data ${oldHostData} → ${newHostData}`, ...(words.length === 0 ? ['both allow the same'] : words)]
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return [`what the file allows cannot be told: ${error.problem}`]
  }
}

function jsonWords(committed: string, made: string): readonly string[] {
  let before: Json
  try {
    before = JSON.parse(committed) as Json
  } catch {
    return ['the file is not JSON']
  }
  const found = differencesOf(before, JSON.parse(made) as Json, '')
  return found.length === 0 ? ['the same content, written in another way'] : found
}

/** What a member was and would be, path by path. */
function differencesOf(before: Json | undefined, after: Json | undefined, path: string): readonly string[] {
  if (isJsonObject(before) && isJsonObject(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    return names.flatMap((name) => {
      const place = path === '' ? onOneLine(name) : `${path}.${onOneLine(name)}`
      return differencesOf(before[name], after[name], place)
    })
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    const [first, second] = [before as readonly Json[], after as readonly Json[]]
    const indexes = [...Array(Math.max(first.length, second.length)).keys()]
    return indexes.flatMap((index) => differencesOf(first[index], second[index], `${path}[${index}]`))
  }
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  if (/(?:^|\.)(?:ccePolicy|policy\.text)$/.test(path)) return [`${path}: another policy`]
  return [`${path}: ${shown(before)} → ${shown(after)}`]
}

function shown(value: Json | undefined): string {
  if (value === undefined) return 'absent'
  const text = typeof value === 'string' ? quotedText(value) : onOneLine(JSON.stringify(value))
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}
