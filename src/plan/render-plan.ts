import { type Change, type Plan, planHash } from './plan.js'

const signs = { create: '+', update: '~', replace: '±', none: '=', unknown: '?' } as const

/** Values longer than this are cut in the middle: the whole ones are in the JSON. */
const shownCharacters = 72

/** The plan for people: resources with their properties, what would be trusted, and a line that counts. */
export function renderPlan(plan: Plan, titles: ReadonlyMap<string, string>): string {
  const { deployment } = plan
  const titleOf = (resource: string) => titles.get(resource) ?? resource
  const rows = [...titles.keys()].flatMap((resource) => {
    const change = plan.changes.find((each) => each.resource === resource)
    if (change !== undefined) return renderChange(change, titleOf(resource))
    return plan.unchanged.includes(resource) ? [line('none', titleOf(resource), 'unchanged')] : []
  })
  return [
    `confrouter plan · ${deployment.name} · ${deployment.cloud} · subscription ${deployment.subscription} · ${deployment.location}`,
    '',
    ...rows,
    ...(plan.trustChanges.length === 0
      ? []
      : [
          '',
          '  trust changes',
          ...plan.trustChanges.flatMap(({ what, from, to }) => [`    ${what}`, `      ${from}`, `   →  ${to}`])
        ]),
    ...(plan.strategy === null ? [] : ['', `  the running group gives way by: ${plan.strategy}`]),
    '',
    `${countText(plan)} Nothing has been changed yet.`,
    `plan sha256:${planHash(plan)}`
  ].join('\n')
}

function renderChange({ action, reason, properties }: Change, title: string): readonly string[] {
  return [
    line(action, title, reason),
    ...properties.map(
      ({ property, from, to, forces }) =>
        `      ${property}: ${shown(from)} → ${shown(to)}${forces === undefined ? '' : '   (forces delete and create)'}`
    )
  ]
}

function line(action: keyof typeof signs, title: string, reason: string): string {
  return `  ${signs[action]} ${title.padEnd(22)} ${reason}`
}

function shown(value: string | null): string {
  if (value === null) return '(none)'
  if (value.length <= shownCharacters) return value === '' ? '(empty)' : value
  const half = Math.floor((shownCharacters - 1) / 2)
  return `${value.slice(0, half)}…${value.slice(-half)}`
}

function countText(plan: Plan): string {
  const count = (action: Change['action']) => plan.changes.filter((change) => change.action === action).length
  const parts = [
    [count('create'), 'to create'],
    [count('update'), 'to update'],
    [count('replace'), 'to replace'],
    [count('unknown'), 'known later'],
    [plan.unchanged.length, 'unchanged']
  ] as const
  return `${parts
    .filter(([number]) => number > 0)
    .map(([number, what]) => `${number} ${what}`)
    .join(', ')}.`
}
