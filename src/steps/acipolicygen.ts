import writeFileAtomic from 'write-file-atomic'
import type { JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import {
  describeExistingPolicies,
  differenceFromExisting,
  existingPolicies,
  type FragmentImport,
  generatePolicies,
  type GroupPolicy,
  injectPolicies,
  type PolicyOptions,
  templateNeeds,
  templateOfImage,
  templateOfInputFile,
  type WildcardQuestion
} from '../policy/index.js'
import { type ImageSources, parseObject, readImages, readJsonFile, readTextFile } from './acipolicygen-images.js'

/** What a policy is made of. */
export type PolicySubject =
  | { readonly kind: 'template'; readonly file: string; readonly parametersFile: string | undefined }
  | { readonly kind: 'image'; readonly reference: string }
  | { readonly kind: 'input'; readonly file: string }

export interface PolicyRequest {
  readonly subject: PolicySubject
  readonly options: Pick<
    PolicyOptions,
    'frame' | 'debugMode' | 'disableStdio' | 'infrastructureSvn' | 'excludeDefaultFragments' | 'omitId'
  >
  readonly approveWildcards: boolean
  readonly fragmentsFile: string | undefined
  /** `write` puts the policies into the template; the others change no file. */
  readonly mode: 'write' | 'base64' | 'text' | 'pretty' | 'existing' | 'difference'
}

export interface PolicySurroundings extends Omit<ImageSources, 'tar'> {
  readonly tar: string | undefined
  /** Writes the text to stdout and returns a line of the answer, or undefined when none will come. */
  readonly ask: (text: string) => Promise<string | undefined>
}

export interface PolicyReport {
  /** What stdout gets after what the questions have written. */
  readonly stdout: string
  /** One for each container group that a policy was made for. */
  readonly groups: readonly { readonly name: string; readonly hostData: string; readonly written: boolean }[]
  /** Only of `difference`: the existing policy does not allow what the template has. */
  readonly isDifferent: boolean
}

/**
 * Does what `az confcom acipolicygen` does for the same arguments, with images from tars, layouts and registries. The
 * template is written once, at the end, whole or not at all.
 *
 * @throws {UserError} for whatever acipolicygen ends with an error for
 */
export async function acipolicygen(request: PolicyRequest, surroundings: PolicySurroundings): Promise<PolicyReport> {
  const source = await readSubject(request.subject)
  if (request.mode === 'existing') {
    const existing = existingPolicies(source.template, source.parameters)
    return { stdout: describeExistingPolicies(existing), groups: [], isDifferent: false }
  }
  const fragments = request.fragmentsFile === undefined ? [] : await readFragments(request.fragmentsFile)
  const input = { ...source, options: { ...request.options, fragments, pretty: request.mode === 'pretty' } }
  const needs = templateNeeds(input)
  const answers = await decideWildcards(needs.questions, request.approveWildcards, surroundings)
  const images = await readImages(needs.images, surroundings)
  const policies = generatePolicies({
    ...input,
    images,
    // The same template asks the same questions in the same order.
    options: { ...input.options, decideWildcard: () => answers.shift() }
  })
  for (const warning of new Set(policies.flatMap(({ warnings }) => warnings))) surroundings.warn(warning)
  if (request.mode === 'difference') return reportDifference(source, policies, surroundings)
  if (request.mode === 'write' && request.subject.kind === 'template') {
    return writeTemplate(request.subject.file, source, policies, surroundings)
  }
  const isText = request.mode === 'text' || request.mode === 'pretty'
  return {
    stdout: policies.map(({ rego, base64 }) => `${isText ? rego : base64}\n\n\n`).join(''),
    groups: groupsOf(policies, () => false),
    isDifferent: false
  }
}

interface Source {
  /** The file's own text, which says how each number is spelled. */
  readonly text: string
  readonly template: JsonObject
  readonly parameters?: JsonObject
  readonly isInputFile?: boolean
}

async function readSubject(subject: PolicySubject): Promise<Source> {
  switch (subject.kind) {
    case 'image':
      return { text: '', template: templateOfImage(subject.reference) }
    case 'input':
      return { text: '', template: templateOfInputFile(await readJsonFile(subject.file)), isInputFile: true }
    case 'template': {
      const text = await readTextFile(subject.file)
      const parameters = subject.parametersFile === undefined ? {} : await parametersOf(subject.parametersFile)
      return { text, template: parseObject(subject.file, text), ...parameters }
    }
  }
}

async function parametersOf(file: string): Promise<{ readonly parameters: JsonObject }> {
  return { parameters: await readJsonFile(file) }
}

/** `fragments` and `standaloneFragments` of a fragments file; what they have to hold is checked where they are used. */
async function readFragments(file: string): Promise<readonly FragmentImport[]> {
  const document = await readJsonFile(file)
  return ['fragments', 'standaloneFragments'].flatMap((name) => {
    const listed: unknown = document[name] ?? []
    if (Array.isArray(listed)) return listed as readonly FragmentImport[]
    throw new UserError('config', 'policy.fragment', `"${name}" of ${file} is not a list`)
  })
}

/** One answer for each question, in order: true allows any value, false leaves the variable out. */
async function decideWildcards(
  questions: readonly WildcardQuestion[],
  approved: boolean,
  surroundings: PolicySurroundings
): Promise<boolean[]> {
  const answers: boolean[] = []
  for (const { variable } of questions) {
    const question = `Create a wildcard policy for the environment variable ${variable} (y/n): `
    answers.push(approved || (await decide(question, surroundings)))
  }
  return answers
}

/** Asked until the answer is a yes or a no: one widens the policy, the other denies the container its variable. */
async function decide(question: string, surroundings: PolicySurroundings): Promise<boolean> {
  for (;;) {
    const answer = await answerTo(question, surroundings, '--approve-wildcards, or a value in --parameters')
    if (answer === 'y' || answer === 'n') return answer === 'y'
  }
}

/** In lower case. Throws when there will be no answer. */
async function answerTo(text: string, { ask, signal }: PolicySurroundings, remedy: string): Promise<string> {
  const answer = await ask(text)
  signal.throwIfAborted()
  if (answer !== undefined) return answer.trim().toLowerCase()
  throw new UserError('user', 'input.needed', `an answer is needed: ${text.slice(text.lastIndexOf('\n') + 1).trim()}`, {
    why: 'stdin ended without one.',
    next: [`${remedy}   (answers it)`, 'or write y or n to stdin']
  })
}

async function writeTemplate(
  file: string,
  { text, template, parameters }: Source,
  policies: readonly GroupPolicy[],
  surroundings: PolicySurroundings
): Promise<PolicyReport> {
  const existing = existingPolicies(template, parameters)
  const accepted: (GroupPolicy | undefined)[] = []
  let stdout = ''
  for (const [index, policy] of policies.entries()) {
    const held = existing[index]
    if (held !== undefined && held.base64 !== '') {
      const question = `Do you want to overwrite the CCE Policy currently in container group "${held.groupName}" in the ARM Template? (y/n) `
      const before = stdout
      stdout = ''
      if ((await answerTo(before + question, surroundings, 'an empty ccePolicy in the template')) !== 'y') {
        surroundings.note(`container group "${held.groupName}" keeps the policy that it has`)
        accepted.push(undefined)
        continue
      }
    }
    accepted.push(policy)
    stdout += `${policy.hostData}\n`
  }
  if (accepted.some((policy) => policy !== undefined)) {
    await writeFileAtomic(file, injectPolicies(text, accepted)).catch((cause: unknown) => {
      throw new UserError('machine', 'policy.unwritable', `${file} cannot be written`, { cause })
    })
  }
  return { stdout, groups: groupsOf(policies, (policy) => accepted.includes(policy)), isDifferent: false }
}

function reportDifference(
  { template, parameters }: Source,
  policies: readonly GroupPolicy[],
  { warn }: PolicySurroundings
): PolicyReport {
  const existing = existingPolicies(template, parameters)
  const lines = policies.map((policy, index) => {
    const { differences, warnings } = differenceFromExisting(existing[index] ?? { groupName: '', base64: '' }, policy)
    for (const warning of warnings) warn(warning)
    return differences
  })
  const isDifferent = lines.some((line) => line !== undefined)
  if (isDifferent) warn('the existing policy and the template differ')
  return {
    stdout: lines.map((line) => `${line ?? 'Existing policy and Template match'}\n`).join(''),
    groups: groupsOf(policies, () => false),
    isDifferent
  }
}

function groupsOf(
  policies: readonly GroupPolicy[],
  isWritten: (policy: GroupPolicy) => boolean
): PolicyReport['groups'] {
  return policies.map((policy) => ({
    name: policy.groupName,
    hostData: policy.hostData,
    written: isWritten(policy)
  }))
}
