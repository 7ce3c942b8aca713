import { describe, expect, it } from '@jest/globals'
import { ProgramError, runProgram } from '../../../src/exec/run-program.js'
import { useFakePrograms } from './fake-programs.js'

const programs = useFakePrograms()
const quick = { timeoutMs: 10_000 }

describe('runProgram', () => {
  it('passes arguments as they are, without a shell', async () => {
    programs.current.add('prog', 'exit 0')
    const args = ['$(touch pwned)', 'two words', '', '; rm -rf /', '*', '--flag=a"b\'c']
    await runProgram('prog', { ...quick, arguments: args })
    expect(programs.current.calls).toEqual([['prog', ...args]])
  })

  it('returns standard output, and gives the lines of both streams as they come', async () => {
    programs.current.add('prog', 'echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three')
    const lines: string[] = []
    const { stdout, tail } = await runProgram('prog', { ...quick, arguments: [], onLine: (line) => lines.push(line) })
    expect(stdout).toBe('one\nthree')
    expect(lines).toEqual(['one', 'two', 'three'])
    expect(tail).toEqual(lines)
  })

  it('passes the environment on, and adds to it', async () => {
    programs.current.add('prog', 'echo "$CONFROUTER_TEST $ADDED"')
    process.env['CONFROUTER_TEST'] = 'inherited'
    try {
      const { stdout } = await runProgram('prog', { ...quick, arguments: [], env: { ADDED: 'added' } })
      expect(stdout).toBe('inherited added')
    } finally {
      delete process.env['CONFROUTER_TEST']
    }
  })

  it('closes the input of a program that asks a question', async () => {
    programs.current.add('prog', 'if read answer; then echo "got $answer"; else echo nothing; fi')
    expect((await runProgram('prog', { ...quick, arguments: [] })).stdout).toBe('nothing')
    expect((await runProgram('prog', { ...quick, arguments: [], input: 'yes\n' })).stdout).toBe('got yes')
  })

  it('keeps the end of the output for the error, and no arguments', async () => {
    programs.current.add('prog', 'i=0; while [ $i -lt 100 ]; do echo "line $i"; i=$((i+1)); done; exit 3')
    const error: unknown = await runProgram('prog', { ...quick, arguments: ['hunter2'] }).catch(
      (caught: unknown) => caught
    )
    expect(error).toBeInstanceOf(ProgramError)
    expect(error).toMatchObject({ failure: 'failed', exitCode: 3, message: 'prog ended with exit code 3' })
    expect((error as ProgramError).tail).toHaveLength(40)
    expect((error as ProgramError).tail.at(-1)).toBe('line 99')
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  })

  it('takes control sequences out of the lines', async () => {
    programs.current.add('prog', `printf '\\033[31mred\\033[0m \\033]0;title\\007\\033[2Jend\\b\\r\\n'`)
    expect((await runProgram('prog', { ...quick, arguments: [] })).tail).toEqual(['red end'])
  })

  it('says that a program is missing', async () => {
    await expect(runProgram('prog', { ...quick, arguments: [] })).rejects.toMatchObject({ failure: 'missing' })
  })

  it('ends a program that takes too long', async () => {
    programs.current.add('prog', 'echo started; exec sleep 60')
    const running = runProgram('prog', { arguments: [], timeoutMs: 300 })
    await expect(running).rejects.toMatchObject({ failure: 'timed-out', tail: ['started'] })
  })

  it('ends a program when it is aborted, and throws the reason', async () => {
    programs.current.add('prog', 'echo started; exec sleep 60')
    const controller = new AbortController()
    const reason = new Error('enough')
    const running = runProgram('prog', {
      ...quick,
      arguments: [],
      signal: controller.signal,
      onLine: () => {
        controller.abort(reason)
      }
    })
    await expect(running).rejects.toBe(reason)
    await expect(runProgram('prog', { ...quick, arguments: [], signal: controller.signal })).rejects.toBe(reason)
    expect(programs.current.calls).toHaveLength(1)
  })

  it('stops a program that says more than is allowed', async () => {
    programs.current.add('prog', 'yes | head -c 1000000')
    const running = runProgram('prog', { ...quick, arguments: [], maxOutputBytes: 1000 })
    await expect(running).rejects.toMatchObject({ failure: 'failed' })
  })
})
