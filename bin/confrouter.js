#!/usr/bin/env node
import { main } from '../dist/program/cli.js'

const interruption = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    // The first asks for an orderly end, the second ends now.
    if (interruption.signal.aborted) process.exit(130)
    interruption.abort()
  })
}

// `confrouter status | head -1` ends our reader early; that is no failure of ours.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await main({
  argv: process.argv.slice(2),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
  signal: interruption.signal
})
