import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { captured } from './streams.js'

describe('a result', () => {
  it('is text on stdout and nothing on stderr', () => {
    const { terminal, stdout, stderr } = captured()
    terminal.result({ human: 'ready: http://127.0.0.1:18080', json: { endpoint: 'http://127.0.0.1:18080' } })
    expect(stdout.text).toBe('ready: http://127.0.0.1:18080\n')
    expect(stderr.text).toBe('')
  })

  it('is one JSON document in one line with --json', () => {
    const { terminal, stdout } = captured({ json: true })
    terminal.result({ human: 'ready', json: { command: 'up', absent: undefined } })
    expect(stdout.text).toBe('{"schemaVersion":1,"ok":true,"command":"up"}\n')
  })

  it('may say itself that it is not ok', () => {
    const { terminal, stdout } = captured({ json: true })
    terminal.result({ human: '', json: { ok: false, verdict: 'rejected' } })
    expect(JSON.parse(stdout.text)).toEqual({ schemaVersion: 1, ok: false, verdict: 'rejected' })
  })

  it('is written with --quiet too, and an empty one writes nothing', () => {
    const loud = captured({ quiet: true })
    loud.terminal.result({ human: 'hash\n', json: {} })
    expect(loud.stdout.text).toBe('hash\n')
    const empty = captured()
    empty.terminal.result({ human: '', json: {} })
    expect(empty.stdout.text).toBe('')
  })

  it('is written once', () => {
    const { terminal } = captured()
    terminal.result({ human: 'a', json: {} })
    expect(() => terminal.result({ human: 'b', json: {} })).toThrow('a command has one result')
  })

  it('survives a reader that closes the pipe, and no other error of the stream', () => {
    const { stdout } = captured()
    expect(() => stdout.emit('error', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))).not.toThrow()
    expect(() => stdout.emit('error', Object.assign(new Error('disk full'), { code: 'ENOSPC' }))).toThrow('disk full')
  })
})

describe('lines', () => {
  it('go to stderr by their weight', () => {
    const texts = (options: Parameters<typeof captured>[0]) => {
      const { terminal, stdout, stderr } = captured(options)
      terminal.warn('w')
      terminal.info('i')
      terminal.debug('d')
      expect(stdout.text).toBe('')
      return stderr.text
    }
    expect(texts({})).toBe('warning: w\ni\n')
    expect(texts({ verbose: true })).toBe('warning: w\ni\nd\n')
    expect(texts({ quiet: true })).toBe('')
    expect(texts({ json: true })).toBe('warning: w\ni\n')
  })

  it('are written with --quiet too where a check was given up', () => {
    const { terminal, stdout, stderr } = captured({ quiet: true })
    terminal.caution('not compared')
    expect([stdout.text, stderr.text]).toEqual(['', 'warning: not compared\n'])
  })

  it('cannot move the cursor and show no token', () => {
    const { terminal, stderr } = captured()
    terminal.info('a\u001b[2J\u001b]0;title\u0007b\rc Authorization: Bearer abcdefghijklmnopqrstuvwxyz')
    expect(stderr.text).toBe('ab\nc Authorization: Bearer [hidden]\n')
  })
})

describe('a failure', () => {
  const error = new UserError('cloud', 'keyvault.soft-deleted', 'key vault "crt-kv" cannot be created in westeurope', {
    why: 'a deleted vault with this name still owns the name.',
    next: ['confrouter up --vault crt-kv2', 'az keyvault purge --name crt-kv'],
    requestId: '5e0f',
    cause: Object.assign(new Error('ConflictError: already in use'), {
      name: 'RestError',
      request: { token: 'secret' }
    })
  })

  it('has the layout of problem, why, next, docs, cause and request, and the exit code of its fault', () => {
    const { terminal, stdout, stderr } = captured()
    expect(terminal.failure(error, { command: 'up' })).toBe(5)
    expect(stdout.text).toBe('')
    expect(stderr.text).toBe(
      `error: key vault "crt-kv" cannot be created in westeurope  [keyvault.soft-deleted]
  why:  a deleted vault with this name still owns the name.
  next: confrouter up --vault crt-kv2
  next: az keyvault purge --name crt-kv
  docs: https://github.com/confrouter/confrouter/blob/main/docs/errors.md#keyvault.soft-deleted
  cause: RestError: ConflictError: already in use
  request: 5e0f
`
    )
  })

  it('is one JSON document on stdout besides, with --json', () => {
    const { terminal, stdout, stderr } = captured({ json: true, quiet: true })
    terminal.failure(error, { command: 'up' })
    expect(stderr.text).toMatch(/^error: key vault/)
    expect(stdout.text.trimEnd().split('\n')).toHaveLength(1)
    expect(JSON.parse(stdout.text)).toEqual({
      schemaVersion: 1,
      ok: false,
      command: 'up',
      error: {
        code: 'keyvault.soft-deleted',
        fault: 'cloud',
        message: 'key vault "crt-kv" cannot be created in westeurope',
        why: 'a deleted vault with this name still owns the name.',
        next: ['confrouter up --vault crt-kv2', 'az keyvault purge --name crt-kv'],
        docs: 'https://github.com/confrouter/confrouter/blob/main/docs/errors.md#keyvault.soft-deleted',
        cause: 'RestError: ConflictError: already in use',
        requestId: '5e0f'
      }
    })
  })

  it.each([
    ['confrouter plan --out p.json', 'confrouter plan --local --out p.json'],
    ['confrouter rollback --reason TEXT', 'confrouter rollback --local --reason TEXT'],
    ['confrouter secrets set openai --from-file FILE', 'confrouter secrets set --local openai --from-file FILE'],
    ['CONFROUTER_KEY_NAME=OTHER confrouter up', 'CONFROUTER_KEY_NAME=OTHER confrouter up --local'],
    ['confrouter up   (in a minute)', 'confrouter up --local   (in a minute)'],
    ['confrouter up --local', 'confrouter up --local'],
    ['confrouter init', 'confrouter init'],
    ['confrouter planet', 'confrouter planet']
  ])('proposes commands that act on what the failed one acted on: %s', (next, shown) => {
    const { terminal, stderr } = captured()
    const wrong = new UserError('user', 'plan.moved', 'moved', { next: [next] })
    terminal.failure(wrong, { command: 'up', flags: ' --local' })
    expect(/next: (.*)/.exec(stderr.text)?.[1]?.replace(/ +\(/, '   (')).toBe(shown)
  })

  it('adds no second document to a result', () => {
    const { terminal, stdout } = captured({ json: true })
    terminal.result({ human: '', json: { ok: false } })
    terminal.failure(error, { command: 'smoke' })
    expect(stdout.text.trimEnd().split('\n')).toHaveLength(1)
  })

  it('lists the problems that an error stands for, in text and as data', () => {
    class SeveralProblems extends UserError {
      readonly problems = [
        { place: 'c.yaml:3:7', message: 'port is 0', line: 3, column: 7, path: 'port', nested: { token: 'x' } },
        { place: 'CONFROUTER_X', message: 'unknown variable', value: undefined },
        'no problem'
      ]
    }
    const several = new SeveralProblems('config', 'config.invalid', 'the configuration has 2 problems', { why: 'both' })
    const { terminal, stdout, stderr } = captured({ json: true })
    expect(terminal.failure(several, { command: 'plan' })).toBe(3)
    expect(stderr.text).toBe(
      `error: the configuration has 2 problems  [config.invalid]
  c.yaml:3:7: port is 0
  CONFROUTER_X: unknown variable
  docs: https://github.com/confrouter/confrouter/blob/main/docs/errors.md#config.invalid
`
    )
    expect(JSON.parse(stdout.text).error.problems).toEqual([
      { place: 'c.yaml:3:7', message: 'port is 0', line: 3, column: 7, path: 'port' },
      { place: 'CONFROUTER_X', message: 'unknown variable' }
    ])
  })

  it('that nobody expected is our bug, and shows its stack with --verbose only', () => {
    const bug = new TypeError('x is not a function')
    const short = captured()
    expect(short.terminal.failure(bug, { command: 'up' })).toBe(1)
    expect(short.stderr.text).toMatch(
      /^error: confrouter up failed unexpectedly: TypeError: x is not a function {2}\[bug\.unexpected\]\n {2}why: {2}this is our bug/
    )
    expect(short.stderr.text).toContain('next: confrouter up --verbose')
    expect(short.stderr.text).not.toContain('terminal.test')
    const long = captured({ verbose: true })
    long.terminal.failure(bug, { command: 'up' })
    expect(long.stderr.text).toContain('terminal.test')
  })

  it.each([
    ['an object', { token: 'secret' }, 'a thrown object'],
    ['nothing', undefined, 'a thrown undefined'],
    ['a text', 'boom', 'boom'],
    ['an error without a message', Object.assign(new Error(''), { code: 'ECONNREFUSED' }), 'Error: ECONNREFUSED']
  ])('may be %s', (_, thrown, expected) => {
    const { terminal, stdout, stderr } = captured({ json: true })
    expect(terminal.failure(thrown, { command: 'up' })).toBe(1)
    expect(stderr.text).toContain(`failed unexpectedly: ${expected}`)
    expect(stdout.text + stderr.text).not.toContain('secret')
  })

  it('by interruption or a refusal is one calm line', () => {
    const cases: readonly (readonly [unknown, number, string])[] = [
      [new DOMException('This operation was aborted', 'AbortError'), 130, 'interrupted\n'],
      [Object.assign(new Error('aborted'), { name: 'AbortError' }), 130, 'interrupted\n'],
      [new UserError('user', 'user.declined', 'nothing was changed'), 7, 'nothing was changed\n']
    ]
    for (const [thrown, exitCode, text] of cases) {
      const { terminal, stdout, stderr } = captured({ json: true })
      expect(terminal.failure(thrown, { command: 'up' })).toBe(exitCode)
      expect(stderr.text).toBe(text)
      expect(JSON.parse(stdout.text)).toMatchObject({
        ok: false,
        error: { fault: exitCode === 130 ? 'interrupted' : 'user' }
      })
    }
  })

  it('says of an interruption what goes on when there is something to say', () => {
    const { terminal, stderr } = captured()
    const interrupted = new UserError('interrupted', 'interrupted', 'interrupted while the group was created', {
      next: ['az container show --name x']
    })
    expect(terminal.failure(interrupted, { command: 'up' })).toBe(130)
    expect(stderr.text).toContain('error: interrupted while the group was created  [interrupted]\n  next: az container')
  })

  it('shows the chain of causes, and no token that a service put into a message', () => {
    const token = `eyJ${'a'.repeat(20)}.${'b'.repeat(20)}.${'c'.repeat(20)}`
    const cause = new Error(`denied for ${token}`, { cause: new Error('socket closed') })
    const { terminal, stdout, stderr } = captured({ json: true, verbose: true })
    terminal.failure(new UserError('cloud', 'x.y', `no access with Bearer ${'d'.repeat(20)}`, { cause }), {
      command: 'up'
    })
    expect(stderr.text).toContain('cause: Error: denied for [token] ← Error: socket closed')
    expect(stdout.text + stderr.text).not.toMatch(/a{20}|b{20}|c{20}|d{20}/)
  })
})
