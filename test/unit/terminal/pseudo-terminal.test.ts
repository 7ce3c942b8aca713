import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { build } from 'esbuild'

/**
 * The real program text on a real pseudo-terminal, with stdout going to a pipe: what no captured
 * stream can show is that the tree reaches the terminal and only the result reaches the pipe.
 */
const root = join(import.meta.dirname, '..', '..', '..')

/** Gives the child a terminal of 24 by 100 as stdin and stderr, and types "y" when it is asked. */
const runner = `
import fcntl, os, pty, struct, subprocess, sys, termios
leader, follower = pty.openpty()
fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
child = subprocess.Popen(sys.argv[1:], stdin=follower, stderr=follower, stdout=subprocess.PIPE)
os.close(follower)
screen = b''
answered = False
while True:
    try:
        data = os.read(leader, 4096)
    except OSError:
        break
    if not data:
        break
    screen += data
    if not answered and b'[y/N]' in screen:
        answered = True
        os.write(leader, b'y\\r')
sys.stderr.buffer.write(screen)
sys.stdout.buffer.write(child.stdout.read())
sys.exit(child.wait())
`

const program = `
import { setTimeout as sleep } from 'node:timers/promises'
import { createTerminal } from './terminal.mjs'
const { stdout, stderr, stdin, env: environment } = process
const terminal = createTerminal({
  stdout, stderr, stdin, environment, json: true, quiet: false, verbose: false, color: undefined, input: true
})
const view = terminal.progress('confrouter up', [{ id: 'a', title: 'Image' }, { id: 'b', title: 'Key vault' }])
view.start('a')
await sleep(800)
view.done('a', 'created')
view.close()
const approved = await terminal.confirm({ question: 'Make these changes?', flag: '--yes' })
terminal.result({ human: 'done', json: { approved } })
`

const python = spawnSync('python3', ['-c', 'import pty, termios']).status === 0
const onPython = python ? it : it.skip

describe('a pseudo-terminal (skipped without python3)', () => {
  let directory = ''

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'confrouter-terminal-'))
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
    writeFileSync(join(directory, 'runner.py'), runner)
    writeFileSync(join(directory, 'program.mjs'), program)
    await build({
      absWorkingDir: root,
      entryPoints: ['src/terminal/index.ts'],
      outfile: join(directory, 'terminal.mjs'),
      bundle: true,
      packages: 'external',
      platform: 'node',
      format: 'esm',
      logLevel: 'error'
    })
  })

  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  onPython('shows the tree and the question, while the pipe gets one JSON document', async () => {
    const { CI: _ci, NO_COLOR: _noColor, FORCE_COLOR: _forceColor, ...environment } = process.env
    const { stdout, stderr } = await promisify(execFile)(
      'python3',
      [join(directory, 'runner.py'), process.execPath, join(directory, 'program.mjs')],
      { env: { ...environment, TERM: 'xterm', LC_ALL: 'C.UTF-8' }, timeout: 20_000 }
    )
    expect(stdout).toBe('{"schemaVersion":1,"ok":true,"approved":true}\n')
    expect(stderr).toMatch(/^\u001b\[1mconfrouter up\u001b\[22m\r\n/)
    expect(stderr).toMatch(/\u001b\[33m[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]\u001b\[39m Image \(\d\.\d s\)\r\n {2}Key vault\r\n/)
    expect(stderr).toMatch(/\u001b\[32m✔\u001b\[39m Image: created .*\r\n/)
    expect(stderr).toContain('Make these changes? [y/N] ')
    // The cursor that the tree hid is there again at the end.
    expect(stderr.lastIndexOf('\u001b[?25h')).toBeGreaterThan(stderr.lastIndexOf('\u001b[?25l'))
  })
})
