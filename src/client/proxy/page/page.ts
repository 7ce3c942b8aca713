import { createHash } from 'node:crypto'
import { callRows, receiptWords, statusWords, time } from './calls-view.js'
import { chainEnd, chainPart, drawChain, partWords, rootRemark } from './chain-view.js'
import { answerPieces, chatHeaders, chatProblem, errorWords, listModels, pieceOf, startChat } from './chat.js'
import { checkRow, checkRows, partOf } from './checks-view.js'
import { ago, byId, clock, make, outcomeWord, sign, size, write } from './elements.js'
import { icon, markup } from './markup.js'
import { startPage } from './start.js'
import { style } from './style.js'
import { lookOf, openWords, showVerdict, verdictWords, whenWords, wrongChecks } from './verdict-view.js'

/**
 * What runs in the browser, each by its own text. They are functions of this program, so that types and
 * rules are checked for them as for everything else, and no step of a build has to know of them.
 */
const functions: readonly ((...given: never[]) => unknown)[] = [
  byId,
  write,
  make,
  sign,
  outcomeWord,
  ago,
  clock,
  size,
  lookOf,
  openWords,
  verdictWords,
  whenWords,
  wrongChecks,
  showVerdict,
  partWords,
  rootRemark,
  chainPart,
  chainEnd,
  drawChain,
  partOf,
  checkRow,
  checkRows,
  statusWords,
  time,
  receiptWords,
  callRows,
  chatProblem,
  chatHeaders,
  errorWords,
  pieceOf,
  answerPieces,
  listModels,
  startChat,
  startPage
]

/** The page's whole script. */
export const script = ['(() => {', "'use strict'", ...functions.map(String), 'startPage()', '})()'].join('\n')

const sourceHash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Nothing runs but this one script, nothing is drawn from elsewhere, and no text can become markup. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  `script-src ${sourceHash(script)}`,
  `style-src ${sourceHash(style)}`,
  "connect-src 'self'",
  "img-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join('; ')

export const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': contentSecurityPolicy,
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()'
} as const

/** The page, in one file. */
export const page = markup(style, script)

export { icon }
