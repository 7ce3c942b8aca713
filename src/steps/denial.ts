import type { ContainerGroup, GroupEvent } from '../azure/container-group.js'
import { decodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'

/** Why the CCE policy kept a container from starting, taken out of the platform's long message. */
export interface PolicyDenial {
  readonly container: string | undefined
  /** The enforcer's own words, for example `deviceHash not found`. */
  readonly rules: readonly string[]
}

/** What a rule of the enforcer means for somebody who wrote a template. */
const meanings: readonly { readonly rule: RegExp; readonly means: string }[] = [
  { rule: /^deviceHash not found/, means: 'an image layer is not the one that the policy measured' },
  { rule: /^invalid env list/, means: 'an environment variable is not one that the policy allows' },
  { rule: /^invalid command/, means: 'the command is not the one that the policy allows' },
  { rule: /^invalid mount list/, means: 'a mount is not one that the policy allows' },
  { rule: /^invalid working directory/, means: 'the working directory is not the one that the policy allows' },
  { rule: /^overlay/, means: 'the layers are not in the order that the policy measured' }
]

/** The first policy denial in a group's events, or undefined if there is none. */
export function findDenial(group: ContainerGroup): PolicyDenial | undefined {
  const sources: readonly { container: string | undefined; events: readonly GroupEvent[] }[] = [
    ...group.containers.map(({ name, events }) => ({ container: name, events })),
    { container: undefined, events: group.events }
  ]
  for (const { container, events } of sources) {
    for (const { message } of events) {
      const rules = deniedRules(message)
      if (rules !== undefined) return { container, rules }
    }
  }
  return undefined
}

/**
 * Rules in a message that says `denied by policy: {json}` or carries base64 between
 * `policyDecision<` and `>policyDecision`, either possibly cut short. Undefined for other messages.
 */
export function deniedRules(message: string): readonly string[] | undefined {
  const json = /denied by policy:?\s*(\{.*)/s.exec(message)?.[1]
  // The platform also leaves an empty pair of markers where it wrote the decision elsewhere.
  const encoded = /policyDecision<([A-Za-z0-9+/=]+)/.exec(message)?.[1]
  const text = json ?? (encoded === undefined ? undefined : decodeLoosely(encoded))
  if (text === undefined) return /denied by policy/.test(message) ? [] : undefined
  const whole = parsePrefix(text)
  if (isJsonObject(whole) && isJsonObject(whole['reason']) && Array.isArray(whole['reason']['errors'])) {
    return whole['reason']['errors'].map(String)
  }
  // Cut short: the list of errors may still be there, though the document around it is not.
  const list = /"errors":\[((?:"(?:[^"\\]|\\.)*",?)*)/.exec(text)?.[1] ?? ''
  return [...list.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1] ?? '')
}

export function denialError(group: string, denial: PolicyDenial): UserError {
  const rule = denial.rules[0]
  const meaning = meanings.find(({ rule: pattern }) => rule !== undefined && pattern.test(rule))?.means
  const who = denial.container === undefined ? `container group "${group}"` : `container "${denial.container}"`
  return new UserError(
    'cloud',
    'aci.policy-denied',
    `${who} was not started: the CCE policy denied it${rule === undefined ? '' : ` (${rule})`}`,
    {
      why: meaning ?? 'the policy in the template does not allow what the template asks for',
      next: ['confrouter policy', 'confrouter up']
    }
  )
}

function decodeLoosely(base64: string): string {
  const whole = base64.slice(0, base64.length - (base64.length % 4))
  try {
    return utf8.decode(decodeBase64(whole, 'policy decision'))
  } catch {
    // Cut in the middle of a character or a group: what can be read is enough to find the rule.
    return Buffer.from(base64, 'base64').toString('utf8')
  }
}

/** The JSON document at the start of a text that goes on after it. */
function parsePrefix(text: string): unknown {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (inString) {
      if (character === '\\') i++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{') depth++
    else if (character === '}' && --depth === 0) {
      try {
        return JSON.parse(text.slice(0, i + 1)) as unknown
      } catch {
        return undefined
      }
    }
  }
  return undefined
}
