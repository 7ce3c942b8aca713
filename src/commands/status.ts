import { Command, Option } from 'commander'
import type { ChainLink, Look, State, TrustAnswer, UpgradeState } from '../steps/index.js'
import type { Execute, Session } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'

const words = { create: 'absent', update: 'differs', replace: 'differs', none: 'ok', unknown: 'unknown' } as const
const outcomes = { match: 'ok', mismatch: 'differs', unchecked: 'unknown' } as const
const differences = 10

interface StatusOptions extends SharedOptions {
  readonly trust?: boolean
}

export function statusCommand(execute: Execute): Command {
  const command = withDeployment(
    new Command('status').description(
      'compare what was recorded and is wanted with what is there; exit 10 where they differ'
    ),
    'confrouter status --local'
  ).addOption(
    new Option('--trust', 'also: would the running group get its key at its next start, and is an upgrade window open?')
  )
  return command.action(
    execute<StatusOptions>('status', async (app, options) => {
      const { allSteps, lookAt } = await import('../steps/index.js')
      const session = await app.open('status', options, 'read')
      try {
        const look = await lookAt(session.run, allSteps, { trust: options.trust === true })
        const inOrder = isInOrder(session, look)
        if (!inOrder) app.exitWith(differences)
        const flag = session.run.simulated ? ' --local' : ''
        const human = statusText(session.run.state.get(), look, { inOrder, flag })
        app.terminal.result({ human, json: document(session, look, inOrder) })
        const unchecked = look.chain.find(({ outcome }) => outcome === 'unchecked')
        if (inOrder && unchecked !== undefined) app.exitWith(couldNotCheck)
      } finally {
        await session.close()
      }
    })
  )
}

/** Nothing is known to be wrong, and not everything could be looked at. */
const couldNotCheck = 5

function isInOrder({ run }: Session, { list, chain, trust }: Look): boolean {
  return (
    list.every(({ action }) => action === 'none') &&
    chain.every(({ outcome }) => outcome !== 'mismatch') &&
    trust.every((answer) => answer.inOrder) &&
    run.state.get().upgrade === undefined
  )
}

/** What is seen, for people: an open upgrade first, since it explains what differs below. */
export function statusText(
  { endpoint, tlsEndpoint, upgrade }: Pick<State, 'endpoint' | 'tlsEndpoint' | 'upgrade'>,
  { list, chain, trust }: Look,
  { inOrder, flag }: { readonly inOrder: boolean; readonly flag: string }
): string {
  const endpoints = [...new Set([endpoint, tlsEndpoint])].filter((each) => each !== undefined)
  const width = Math.max(...list.map(({ title }) => title.length), ...chain.map(({ id }) => id.length)) + 2
  const row = (word: string, title: string, reason: string) => `${word.padEnd(8)}${title.padEnd(width)}${reason}`
  return [
    ...(upgrade === undefined ? [] : upgradeRows(upgrade, flag)),
    ...list.flatMap(({ title, action, reason, properties }) => [
      row(words[action], title, reason),
      ...properties.map(
        ({ property, from, to }) => `          ${property}: ${from ?? '(none)'}, wanted ${to ?? '(none)'}`
      )
    ]),
    ...(chain.length === 0 ? [] : ['', 'digest chain of what runs']),
    ...chain.flatMap((link) => chainRows(link, row)),
    ...(trust.length === 0 ? [] : ['', 'trust']),
    ...trust.flatMap((answer) => trustRows(answer, row, flag)),
    '',
    inOrder
      ? `up to date${endpoints.length === 0 ? '' : `: ${endpoints.join(', ')}`}`
      : `not up to date; next: ${trust.find((answer) => !answer.inOrder)?.next[0] ?? 'confrouter up'}${flag}`
  ].join('\n')
}

function upgradeRows({ direction, from, to, openedAt, phase, failure }: UpgradeState, flag: string): readonly string[] {
  const what = direction === 'upgrade' ? 'an upgrade' : 'a rollback'
  return [
    `${what} is open since ${openedAt}, next phase: ${phase}`,
    `          from ${from.hostData} (${from.group})`,
    `          to   ${to.hostData} (${to.group})`,
    ...(failure === undefined ? [] : [`          the last attempt ended: ${failure}`]),
    `          next: confrouter up${flag}   (goes on)`,
    `          next: confrouter rollback${flag} --reason TEXT   (takes it back)`,
    '          what differs below may be of it',
    ''
  ]
}

type Row = (word: string, title: string, reason: string) => string

function chainRows({ id, link, outcome, from, to, says }: ChainLink, row: Row): readonly string[] {
  if (outcome === 'match') return [row('ok', id, link)]
  if (outcome === 'unchecked') return [row('unknown', id, says)]
  return [row('differs', id, says), `          ${from}`, `          ${to}`]
}

function trustRows({ answer, question, why, next }: TrustAnswer, row: Row, flag: string): readonly string[] {
  return [
    row(answer, '', question).trimEnd(),
    `          ${why}`,
    ...next.map((each) => `          next: ${each}${flag}`)
  ]
}

function document({ run }: Session, { list, chain, trust }: Look, inOrder: boolean): object {
  const { endpoint, tlsEndpoint, keyId, image, deployed, active, previous, upgrade } = run.state.get()
  const recorded = { endpoint, tlsEndpoint, keyId, image: image?.reference, hostData: deployed?.hostData }
  return {
    schemaVersion: 1,
    ok: true,
    command: 'status',
    cloud: run.config.cloud,
    simulated: run.simulated,
    upToDate: inOrder,
    recorded: {
      ...recorded,
      ...(active === undefined ? {} : { group: active.group, templateSha256: active.templateSha256 }),
      ...(previous === undefined ? {} : { previousHostData: previous.hostData })
    },
    resources: list.map(({ id, action, reason, properties }) => ({
      id,
      state: words[action],
      reason,
      ...(properties.length === 0 ? {} : { properties })
    })),
    chain: chain.map(({ outcome, ...link }) => ({ ...link, state: outcomes[outcome] })),
    ...(upgrade === undefined ? {} : { upgrade }),
    ...(trust.length === 0 ? {} : { trust })
  }
}
