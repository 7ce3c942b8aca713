import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'

/** Why the CCE policy kept a container from starting, taken out of the platform's long message. */
export interface PolicyDenial {
  readonly container: string | undefined
  /** The enforcer's own words, for example `deviceHash not found`. */
  readonly rules: readonly string[]
}

interface Meaning {
  readonly rule: RegExp
  readonly means: string
  /** What mends it, best first. */
  readonly fix: readonly string[]
}

const again = ['confrouter policy', 'confrouter up']
const settings = 'take the setting out of the template, or put it into confrouter.yaml, so that it is measured'

/** What a rule of the enforcer means for somebody who wrote a template. */
const meanings: readonly Meaning[] = [
  {
    rule: /^(deviceHash not found|no matching containers for overlay|overlay)/,
    means: 'an image layer is not the one that the policy measured, so the image changed after the policy was made',
    fix: ['confrouter build', ...again]
  },
  {
    // Injected by the platform since September 2026; policies that are older do not list them.
    rule: /^invalid env list:.*\b(APP_IDENTITY_ENDPOINT|IDENTITY_ENDPOINT|IMDS_ENDPOINT)\b/,
    means: 'the platform gives containers with a managed identity variables that this policy is too old to allow',
    fix: ['confrouter policy --engine native', 'confrouter up']
  },
  {
    rule: /^invalid env list/,
    means: 'an environment variable is not one that the policy allows',
    fix: [...again, settings]
  },
  {
    rule: /^invalid command/,
    means: 'the command is not the one that the policy allows',
    fix: [...again, settings]
  },
  {
    rule: /^(invalid mount list|mount)/,
    means: 'a mount is not one that the policy allows',
    fix: [...again, settings]
  },
  {
    rule: /^invalid working directory/,
    means: 'the working directory is not the one that the policy allows',
    fix: ['confrouter build', ...again]
  },
  {
    rule: /^(privileged|invalid (noNewPrivileges|user|capabilities|seccomp)|capabilities)/,
    means: 'the container asks for rights that the policy does not allow',
    fix: [...again, settings]
  }
]

/**
 * Rules in a message that says `denied by policy: {json}` or carries base64 between
 * `policyDecision<` and `>policyDecision`, either possibly cut short. Undefined for other messages,
 * and empty if a policy denied and its words are lost.
 */
export function deniedRules(message: string): readonly string[] | undefined {
  const rules = [...decisionTexts(message)].map(rulesOf).find((found) => found.length > 0)
  if (rules !== undefined) return rules
  return /denied by policy|policyDecision</.test(message) ? [] : undefined
}

/** What a message says of a denial, with the name of the container if it is in it. */
export function denialIn(message: string): PolicyDenial | undefined {
  const rules = deniedRules(message)
  if (rules === undefined) return undefined
  return { container: /Failed to start container ([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\b/.exec(message)?.[1], rules }
}

/** One sentence with the rule, what it means and what mends it. `group` names the container group. */
export function denialError(group: string, denial: PolicyDenial): UserError {
  const rule = denial.rules[0]
  const meaning = meanings.find(({ rule: pattern }) => rule !== undefined && pattern.test(rule))
  const who = denial.container === undefined ? `container group "${group}"` : `container "${denial.container}"`
  return new UserError(
    'cloud',
    'aci.policy-denied',
    `${who} was not started: the CCE policy denied it${rule === undefined ? '' : ` (${denial.rules.join('; ')})`}`,
    {
      why: meaning?.means ?? 'the policy in the template does not allow what the template asks for',
      next: meaning?.fix ?? again
    }
  )
}

/** Every decision in a message, as it is and decoded. The platform often writes the same one in both forms. */
function* decisionTexts(message: string): Generator<string> {
  for (const { index } of message.matchAll(/\{\s*"(?:decision|input|reason|truncated)"/g)) yield message.slice(index)
  // The platform also leaves an empty pair of markers where it wrote the decision elsewhere.
  for (const [, encoded = ''] of message.matchAll(/policyDecision<\s*([A-Za-z0-9+/=_-]+)/g)) {
    // Cut in the middle of a character or a group: what can be read is enough to find the rule.
    yield Buffer.from(encoded, 'base64').toString('utf8')
  }
}

function rulesOf(text: string): readonly string[] {
  const whole = parsePrefix(text)
  if (isJsonObject(whole)) {
    const reason = whole['reason']
    const errors = isJsonObject(reason) ? reason['errors'] : undefined
    return Array.isArray(errors) ? errors.map(String) : []
  }
  // Cut short: the list of errors may still be there, though the document around it is not.
  const list = /"errors"\s*:\s*\[((?:\s*"(?:[^"\\]|\\.)*"\s*,?)*)/.exec(text)?.[1] ?? ''
  return [...list.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1] ?? '')
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
