import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { captured } from './streams.js'

const confirmation = { question: 'Make these changes?', details: '+ key vault', flag: '--yes' }
const deletion = { question: 'Type the name to delete it:', expected: 'staging', flag: '--confirm staging' }

describe('a question of yes or no', () => {
  it.each([
    ['y\n', true],
    ['YES\n', true],
    ['n\n', false],
    ['no\n', false],
    ['\n', false]
  ])('takes %j for %s', async (answer, expected) => {
    const { terminal, stdin, stdout, stderr } = captured({ tty: true })
    const asked = terminal.confirm(confirmation)
    stdin.write(answer)
    expect(await asked).toBe(expected)
    expect(stderr.text).toContain('+ key vault\n')
    expect(stderr.text).toContain('Make these changes? [y/N] ')
    expect(stdout.text).toBe('')
  })

  it('asks again after an answer that is neither', async () => {
    const { terminal, stdin, stderr } = captured({ tty: true })
    const asked = terminal.confirm(confirmation)
    stdin.write('perhaps\n')
    for (let i = 0; i < 100 && !stderr.text.includes('please answer'); i++) await sleep(5)
    stdin.write('y\n')
    expect(await asked).toBe(true)
  })

  it('is answered with no by the end of the input', async () => {
    const { terminal, stdin } = captured({ tty: true })
    const asked = terminal.confirm(confirmation)
    stdin.end()
    expect(await asked).toBe(false)
  })

  it('is interrupted by Ctrl+C', async () => {
    const { terminal, stdin } = captured({ tty: true })
    const asked = terminal.confirm(confirmation)
    stdin.write('\u0003')
    await expect(asked).rejects.toMatchObject({ fault: 'interrupted', exitCode: 130 })
  })

  it.each([
    ['stdin is no terminal', { stdin: captured().stdin }],
    ['stderr is no terminal', { stderr: captured().stderr }],
    ['input is off', { input: false }],
    ['in CI', { environment: { CI: '1' } }]
  ])('is an error that names the flag when %s', async (_, options) => {
    const { terminal } = captured({ tty: true, ...options })
    const asked = terminal.confirm(confirmation)
    await expect(asked).rejects.toBeInstanceOf(UserError)
    await expect(asked).rejects.toMatchObject({
      fault: 'user',
      code: 'input.needed',
      exitCode: 7,
      problem: 'an answer is needed: Make these changes?',
      next: [expect.stringContaining('--yes')]
    })
  })

  it('may be asked where CI says false', async () => {
    const { terminal, stdin } = captured({ tty: true, environment: { CI: 'false' } })
    const asked = terminal.confirm(confirmation)
    stdin.write('y\n')
    expect(await asked).toBe(true)
  })
})

describe('a question for a text', () => {
  it('accepts the expected text', async () => {
    const { terminal, stdin } = captured({ tty: true })
    const asked = terminal.askText(deletion)
    stdin.write(' staging \n')
    expect(await asked).toBe('staging')
  })

  it.each([
    ['another text', 'production\n', 'the answer is not "staging", nothing was done'],
    ['the text in another case', 'Staging\n', 'the answer is not "staging", nothing was done'],
    ['no text', '\n', 'no answer was given, nothing was done']
  ])('is declined by %s', async (_, answer, problem) => {
    const { terminal, stdin } = captured({ tty: true })
    const asked = terminal.askText(deletion)
    stdin.write(answer)
    await expect(asked).rejects.toMatchObject({ fault: 'user', code: 'user.declined', problem })
  })

  it('takes any text when none is expected', async () => {
    const { terminal, stdin } = captured({ tty: true })
    const asked = terminal.askText({ question: 'Region:', flag: '--location' })
    stdin.write('eastus\n')
    expect(await asked).toBe('eastus')
  })

  it('is an error that names the flag when nobody can answer', async () => {
    const { terminal } = captured()
    await expect(terminal.askText(deletion)).rejects.toMatchObject({
      code: 'input.needed',
      next: [expect.stringContaining('--confirm staging')]
    })
  })
})
