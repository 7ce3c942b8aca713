import { UserError } from '../base/user-error.js'
import { writeTextAtomically } from '../image/index.js'
import {
  describeExistingPolicies,
  differenceFromExisting,
  type ExistingPolicy,
  existingPolicies,
  type FragmentImport,
  generatePolicies,
  type GroupPolicy,
  injectPolicies,
  type PolicyInput,
  type PolicyOptions,
  pythonYaml,
  templateNeeds,
  templateOfImage,
  templateOfInputFile,
  type WildcardQuestion,
  withPolicyAnnotation
} from '../policy/index.js'
import { type ImageSources, parseObject, readImages, readJsonFile, readTextFile } from './acipolicygen-images.js'

/** What a policy is made of. */
export type PolicySubject =
  | { readonly kind: 'template'; readonly file: string; readonly parametersFile: string | undefined }
  | { readonly kind: 'image'; readonly reference: string }
  | { readonly kind: 'input'; readonly file: string }
  | { readonly kind: 'manifest'; readonly file: string }

export interface PolicyRequest {
  readonly subject: PolicySubject
  readonly options: Pick<
    PolicyOptions,
    | 'frame'
    | 'debugMode'
    | 'disableStdio'
    | 'infrastructureSvn'
    | 'excludeDefaultFragments'
    | 'omitId'
    | 'platformIdentityRules'
    | 'refuseNullCommand'
  >
  readonly approveWildcards: boolean
  readonly fragmentsFile: string | undefined
  /** `write` puts the policies into the template; the others change no file. */
  readonly mode: 'write' | 'base64' | 'text' | 'pretty' | 'existing' | 'difference'
}

export interface PolicySurroundings extends Omit<ImageSources, 'tar'> {
  readonly tar: string | undefined
  /** Writes the text to stdout and returns a line of the answer, or undefined when none will come. None where nobody may be asked. */
  readonly ask: ((text: string) => Promise<string | undefined>) | undefined
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
  const sources = await readSubject(request.subject)
  if (request.mode === 'existing') {
    return {
      stdout: describeExistingPolicies(sources.flatMap(({ existing }) => existing)),
      groups: [],
      isDifferent: false
    }
  }
  const fragments = request.fragmentsFile === undefined ? [] : await readFragments(request.fragmentsFile)
  const inputs = sources.map(({ input }) => ({
    ...input,
    options: { ...request.options, fragments, pretty: request.mode === 'pretty' }
  }))
  const needs = inputs.map(templateNeeds)
  const questions = needs.flatMap((need) => need.questions)
  const answers = await decideWildcards(questions, request.approveWildcards, surroundings)
  const images = await readImages([...new Set(needs.flatMap((need) => need.images))], surroundings)
  const policies = inputs.flatMap((input) =>
    generatePolicies({
      ...input,
      images,
      // The same template asks the same questions in the same order.
      options: { ...input.options, decideWildcard: () => answers.shift() }
    })
  )
  for (const warning of new Set(policies.flatMap(({ warnings }) => warnings))) surroundings.warn(warning)
  const existing = sources.flatMap((source) => source.existing)
  if (request.mode === 'difference') return reportDifference(existing, policies, surroundings)
  const write = sources[0]?.write
  if (request.mode === 'write' && write !== undefined) return writePolicies(write, existing, policies, surroundings)
  const isText = request.mode === 'text' || request.mode === 'pretty'
  return {
    stdout: policies.map(({ rego, base64 }) => `${isText ? rego : base64}\n\n\n`).join(''),
    groups: groupsOf(policies, () => false),
    isDifferent: false
  }
}

/** A template that policies are made of, on its own or from a file of another form. */
interface Source {
  readonly input: Pick<PolicyInput, 'template' | 'parameters' | 'form'>
  /** The policies that it holds, one for each container group. */
  readonly existing: readonly ExistingPolicy[]
  /** Where policies are written into the file that it came from: how, and what the question whether to overwrite calls it. */
  readonly write?: PolicyWriter
}

interface PolicyWriter {
  readonly file: string
  readonly place: (name: string) => string
  /** The file's text with the policies; a group or pod without one keeps what it has. */
  readonly textWith: (policies: readonly (GroupPolicy | undefined)[]) => string
}

async function readSubject(subject: PolicySubject): Promise<readonly Source[]> {
  switch (subject.kind) {
    case 'image':
      return [{ input: { template: templateOfImage(subject.reference) }, existing: [] }]
    case 'input':
      return [
        { input: { template: templateOfInputFile(await readJsonFile(subject.file)), form: 'input-file' }, existing: [] }
      ]
    case 'template':
      return [await readTemplate(subject.file, subject.parametersFile)]
    case 'manifest':
      return readPods(subject.file)
  }
}

async function readTemplate(file: string, parametersFile: string | undefined): Promise<Source> {
  // The file's own text says how each number is spelled.
  const text = await readTextFile(file)
  const template = parseObject(file, text)
  const parameters = parametersFile === undefined ? {} : { parameters: await readJsonFile(parametersFile) }
  return {
    input: { template, ...parameters },
    existing: existingPolicies(template, parameters.parameters),
    write: {
      file,
      place: (name) => `container group "${name}" in the ARM Template`,
      textWith: (policies) => injectPolicies(text, policies)
    }
  }
}

async function readPods(file: string): Promise<readonly Source[]> {
  const { readManifest } = await import('./manifest.js')
  const { documents, pods } = await readManifest(file)
  const write: PolicyWriter = {
    file,
    place: (name) => `pod "${name}" in the YAML file`,
    textWith: (policies) => {
      const byDocument = new Map(pods.map(({ index }, pod) => [index, policies[pod]]))
      return pythonYaml(
        documents.map((document, index) => {
          const policy = byDocument.get(index)
          return policy === undefined ? document : withPolicyAnnotation(document, policy.base64)
        })
      )
    }
  }
  return pods.map(({ name, template, existingPolicy }) => ({
    input: { template, form: 'virtual-node' },
    existing: [{ groupName: name, base64: existingPolicy }],
    write
  }))
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
    answers.push(approved || (await decide(variable, surroundings)))
  }
  return answers
}

/** Asked until the answer is a yes or a no: one widens the policy, the other denies the container its variable. */
async function decide(variable: string, surroundings: PolicySurroundings): Promise<boolean> {
  const question: Question = {
    text: `Create a wildcard policy for the environment variable ${variable} (y/n): `,
    matter: `nothing says which values the environment variable ${variable} may have`,
    answers: ['-p FILE   (parameters, with the value that it has)', '-y   (--approve-wildcards: any value at all)']
  }
  for (;;) {
    const answer = await answerTo(question, surroundings)
    if (answer === 'y' || answer === 'n') return answer === 'y'
  }
}

interface Question {
  /** As acipolicygen asks it. */
  readonly text: string
  /** What is open where nobody answers, as a sentence. */
  readonly matter: string
  /** What decides it without a question. */
  readonly answers: readonly string[]
}

/** In lower case. Throws when there will be no answer. */
async function answerTo({ text, matter, answers }: Question, surroundings: PolicySurroundings): Promise<string> {
  const { ask, signal } = surroundings
  const answer = await ask?.(text)
  signal.throwIfAborted()
  if (answer !== undefined) return answer.trim().toLowerCase()
  throw new UserError('user', 'input.needed', matter, {
    why: ask === undefined ? 'with --no-input nobody is asked.' : 'this is asked, and stdin ended without an answer.',
    next: [...answers, ask === undefined ? 'or leave --no-input out, and answer' : 'or write y or n to stdin']
  })
}

async function writePolicies(
  { file, place, textWith }: PolicyWriter,
  existing: readonly ExistingPolicy[],
  policies: readonly GroupPolicy[],
  surroundings: PolicySurroundings
): Promise<PolicyReport> {
  const accepted: (GroupPolicy | undefined)[] = []
  let stdout = ''
  for (const [index, policy] of policies.entries()) {
    const held = existing[index]
    if (held !== undefined && held.base64 !== '') {
      const question: Question = {
        text: `${stdout}Do you want to overwrite the CCE Policy currently in ${place(held.groupName)}? (y/n) `,
        matter: `nothing says whether to overwrite the CCE Policy currently in ${place(held.groupName)}`,
        answers: [`an empty policy in ${file}, over which nothing is asked`]
      }
      stdout = ''
      if ((await answerTo(question, surroundings)) !== 'y') {
        surroundings.note(`${place(held.groupName)} keeps the policy that it has`)
        accepted.push(undefined)
        continue
      }
    }
    accepted.push(policy)
    stdout += `${policy.hostData}\n`
  }
  if (accepted.some((policy) => policy !== undefined)) {
    await writeTextAtomically(file, textWith(accepted)).catch((cause: unknown) => {
      throw new UserError('machine', 'policy.unwritable', `${file} cannot be written`, { cause })
    })
  }
  return { stdout, groups: groupsOf(policies, (policy) => accepted.includes(policy)), isDifferent: false }
}

function reportDifference(
  existing: readonly ExistingPolicy[],
  policies: readonly GroupPolicy[],
  { warn }: PolicySurroundings
): PolicyReport {
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
