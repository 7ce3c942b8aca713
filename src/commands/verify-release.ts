import { UserError } from '../base/user-error.js'
import type { UncheckedPart } from '../release/index.js'
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

/**
 * What of a named release was held against something, and what anybody could have written there. Parts that are left
 * open for one reason are one line, with the flag that closes it.
 */
export function drawCoverage(pinned: Pin | undefined, looks: App['terminal']['styles']['stdout']): string[] {
  if (pinned?.release === undefined) return []
  const { green, dim, yellow, symbols } = looks
  const { file, coverage } = pinned.release
  const sentences = new Map<string, string[]>()
  for (const part of coverage.unchecked) {
    const rest = restOf(part)
    sentences.set(rest, [...(sentences.get(rest) ?? []), part.what])
  }
  const left = [...sentences].map(([rest, parts]) => `${yellow('not checked')}: ${parts.join(', ')} ${rest}`)
  return [
    '',
    `the release ${file}`,
    ...coverage.checked.map(({ what, against }) => `${green(symbols.done)} ${what}  ${dim(`held against ${against}`)}`),
    ...left.map((line) => `${dim(symbols.skipped)} ${line}`)
  ]
}

function restOf({ against, why, by }: UncheckedPart): string {
  const flags = by.map((flag) => (flag === '--image' ? '--image REFERENCE' : flag)).join(' or ')
  return `against ${against}${why === undefined ? '' : ` (${why})`}${flags === '' ? '' : `; run ${flags}`}`
}

/** The same for programs; nothing where no release was named. */
export function coverageDocument(pinned: Pin | undefined): object | undefined {
  if (pinned?.release === undefined) return undefined
  const { file, coverage } = pinned.release
  const { depth, checked, unchecked } = coverage
  return { file, depth, checked, notChecked: unchecked }
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
      ...drawCoverage(pinned, app.terminal.styles.stdout),
      '',
      `${hostData.join(' or ')}: ${origin}`,
      dim('nothing was said about a router: give its URL')
    ].join('\n'),
    json: { command: 'verify', release: { hostData, origin, comparisons, ...coverageDocument(pinned) } }
  })
}
