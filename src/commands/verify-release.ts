import { UserError } from '../base/user-error.js'
import type { App } from './app.js'
import type { Pin } from './verify-pin.js'

/** What no comparison can judge, such as the hosts that prompts go to. */
const toRead = 'read: '

/** Of a release that was built again: whom the router believes and where it sends prompts is for a person to judge. */
export function valuesToRead(pinned: Pin | undefined, { yellow }: App['terminal']['styles']['stdout']): string[] {
  const values = (pinned?.comparisons ?? []).filter(({ what }) => what.startsWith(toRead))
  if (values.length === 0) return []
  return [
    '',
    yellow('to be read, because nothing can compare it:'),
    ...values.map(({ what, actual }) => `  ${what.slice(toRead.length)}  ${actual}`)
  ]
}

/** Without a router there is a verdict on the release alone. */
export function reportRelease(app: App, pinned: Pin | undefined): void {
  if (pinned === undefined || pinned.comparisons.length === 0) {
    throw new UserError('usage', 'verify.no-router', 'no URL was given, and this state directory has no deployment', {
      next: ['confrouter verify URL --trust trust.json', 'confrouter verify --local']
    })
  }
  const { green, yellow, dim, symbols } = app.terminal.styles.stdout
  const { comparisons, hostData, origin } = pinned
  app.terminal.result({
    human: [
      ...comparisons.map(({ what, actual }) =>
        what.startsWith(toRead)
          ? `${yellow('read')} ${what.slice(toRead.length)}  ${actual}`
          : `${green(symbols.done)} ${what}  ${dim(actual)}`
      ),
      `${hostData.join(' or ')}: ${origin}`,
      dim('nothing was said about a router: give its URL')
    ].join('\n'),
    json: { command: 'verify', release: { hostData, origin, comparisons } }
  })
}
