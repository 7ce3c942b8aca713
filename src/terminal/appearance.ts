import { styleText } from 'node:util'

type Paint = (text: string) => string

/** How one stream may look. Colour repeats what a word or sign already says, so it can always be absent. */
export interface Appearance {
  readonly bold: Paint
  readonly dim: Paint
  readonly red: Paint
  readonly green: Paint
  readonly yellow: Paint
  readonly symbols: Symbols
}

interface Symbols {
  readonly done: string
  readonly failed: string
  readonly skipped: string
  readonly spinner: readonly string[]
}

export type Environment = Readonly<Record<string, string | undefined>>

/** @param color true and false are the answers of a flag; undefined leaves it to environment and stream */
export function appearanceOf(
  stream: { readonly isTTY?: boolean | undefined },
  color: boolean | undefined,
  environment: Environment
): Appearance {
  const colored = usesColor(stream, color, environment)
  // The decision is made: without validateStream: false, styleText would make its own from process.stdout.
  const paint =
    (style: Parameters<typeof styleText>[0]): Paint =>
    (text) =>
      colored && text !== '' ? styleText(style, text, { validateStream: false }) : text
  return {
    bold: paint('bold'),
    dim: paint('dim'),
    red: paint('red'),
    green: paint('green'),
    yellow: paint('yellow'),
    symbols: isUtf8(environment) ? unicodeSymbols : asciiSymbols
  }
}

/**
 * A flag wins, then FORCE_COLOR, NO_COLOR and TERM, then what the stream is: the order of Node's
 * own `tty.WriteStream.getColorDepth`, applied to each stream by itself.
 */
function usesColor(
  stream: { readonly isTTY?: boolean | undefined },
  color: boolean | undefined,
  environment: Environment
): boolean {
  if (color !== undefined) return color
  const forced = environment['FORCE_COLOR']
  if (forced !== undefined) return ['', '1', '2', '3', 'true'].includes(forced)
  if ((environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb') return false
  return stream.isTTY === true
}

function isUtf8(environment: Environment): boolean {
  // The Windows Terminal shows UTF-8 and sets no locale.
  if ((environment['WT_SESSION'] ?? '') !== '') return true
  const locale = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'] || ''
  return /utf-?8/i.test(locale)
}

const unicodeSymbols: Symbols = {
  done: '✔',
  failed: '✖',
  skipped: '–',
  spinner: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
}

const asciiSymbols: Symbols = { done: '+', failed: 'x', skipped: '-', spinner: ['|', '/', '-', '\\'] }
