export type { Appearance } from './appearance.js'
export type { Clock, ProgressTask, ProgressView } from './progress.js'
export type { Confirmation, TextQuestion } from './questions.js'
export { createTerminal, type CommandResult, type Terminal, type TerminalOptions } from './terminal.js'
