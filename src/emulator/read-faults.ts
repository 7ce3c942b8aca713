import { readFile } from 'node:fs/promises'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { type FaultPlan, killMoments } from './faults.js'

/**
 * Reads a fault plan from a JSON file. All that is wrong with it is listed at once. Throws a
 * `UserError` `emulator.faults`.
 */
export async function readFaults(file: string): Promise<FaultPlan> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw faultsError(file, ['cannot be read'], cause)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw faultsError(file, ['is no JSON'], cause)
  }
  const problems = problemsOf(value)
  if (problems.length > 0) throw faultsError(file, problems)
  const { requests = [], kill } = value as { requests?: FaultPlan['requests']; kill?: FaultPlan['kill'] }
  return { requests, ...(kill === undefined ? {} : { kill }) }
}

function faultsError(file: string, problems: readonly string[], cause?: unknown): UserError {
  return new UserError('config', 'emulator.faults', `the fault plan ${file} ${problems.join('; ')}`, {
    next: ['docs/emulator.md shows the form of the file'],
    cause
  })
}

type Check = (value: unknown) => boolean

const text: Check = (value) => typeof value === 'string' && value !== ''
const count: Check = (value) => Number.isInteger(value) && (value as number) >= 1
const natural: Check = (value) => Number.isInteger(value) && (value as number) >= 0
const truth: Check = (value) => typeof value === 'boolean'
const texts: Check = (value) => isJsonObject(value) && Object.values(value).every((each) => typeof each === 'string')

interface Member {
  readonly check: Check
  readonly expected: string
  readonly required?: true
}

const requestMembers: Readonly<Record<string, Member>> = {
  method: {
    check: (value) => text(value) && /^(\*|[A-Z]+)$/.test(value as string),
    expected: 'a method in capitals, or *',
    required: true
  },
  path: {
    check: (value) => text(value) && /^(\/|\*\*)/.test(value as string),
    expected: 'a path that begins with / or **',
    required: true
  },
  from: { check: count, expected: 'a whole number from 1' },
  times: { check: natural, expected: 'a whole number from 0' },
  delayMs: { check: natural, expected: 'milliseconds' },
  answer: { check: isJsonObject, expected: 'an object' },
  hangUp: { check: truth, expected: 'true or false' }
}

const answerMembers: Readonly<Record<string, Member>> = {
  status: {
    check: (value) => count(value) && (value as number) >= 200 && (value as number) <= 599,
    expected: 'a status from 200 to 599',
    required: true
  },
  headers: { check: texts, expected: 'an object of texts' },
  body: { check: () => true, expected: 'JSON' }
}

const killMembers: Readonly<Record<string, Member>> = {
  write: { check: count, expected: 'a whole number from 1', required: true },
  moment: {
    check: (value) => (killMoments as readonly unknown[]).includes(value),
    expected: killMoments.join(', '),
    required: true
  }
}

const planMembers: Readonly<Record<string, Member>> = {
  requests: { check: Array.isArray, expected: 'a list' },
  kill: { check: isJsonObject, expected: 'an object' }
}

function problemsOf(value: unknown): readonly string[] {
  if (!isJsonObject(value)) return ['must be an object with "requests"']
  const { requests, kill } = value
  return [
    ...membersOf(value, planMembers, ''),
    ...(Array.isArray(requests) ? requests.flatMap((each, index) => requestProblems(each, `requests[${index}]`)) : []),
    ...(isJsonObject(kill) ? membersOf(kill, killMembers, 'kill.') : [])
  ]
}

function requestProblems(value: unknown, at: string): readonly string[] {
  if (!isJsonObject(value)) return [`${at} must be an object`]
  const { answer, hangUp, delayMs } = value
  const doesNothing = answer === undefined && hangUp !== true && delayMs === undefined
  return [
    ...membersOf(value, requestMembers, `${at}.`),
    ...(isJsonObject(answer) ? membersOf(answer, answerMembers, `${at}.answer.`) : []),
    ...(doesNothing ? [`${at} needs answer, hangUp or delayMs`] : [])
  ]
}

function membersOf(value: JsonObject, members: Readonly<Record<string, Member>>, at: string): readonly string[] {
  const unknown = Object.keys(value)
    .filter((name) => !Object.hasOwn(members, name))
    .map((name) => `${at}${name} is unknown, known are ${Object.keys(members).join(', ')}`)
  const wrong = Object.entries(members).flatMap(([name, { check, expected, required }]) => {
    const member = value[name]
    if (member === undefined) return required === true ? [`${at}${name} is missing, expected ${expected}`] : []
    return check(member) ? [] : [`${at}${name} must be ${expected}`]
  })
  return [...unknown, ...wrong]
}
