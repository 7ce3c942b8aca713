import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { duration } from '../../../src/terminal/progress.js'
import { captured } from './streams.js'

const tasks = [
  { id: 'image', title: 'Image' },
  { id: 'vault', title: 'Key vault' },
  { id: 'group', title: 'Container group' },
  { id: 'smoke', title: 'Smoke test' }
]

describe('progress without a terminal', () => {
  it('is one line for each event, on stderr, with --json too', () => {
    const { terminal, stdout, stderr, clock } = captured({ json: true })
    const view = terminal.progress('confrouter up', tasks)
    view.start('image')
    view.note('image', 'pushing layer 3')
    clock.advance(12_000)
    view.done('image', 'created')
    view.skip('vault', 'unchanged')
    view.start('group')
    clock.advance(400)
    view.fail('group', 'quota exceeded')
    view.close()
    expect(stdout.text).toBe('')
    expect(stderr.text).toBe(`confrouter up
  Image: started
  Image: pushing layer 3
✔ Image: created (12 s)
– Key vault: skipped, unchanged
  Container group: started
✖ Container group: quota exceeded (0.4 s)
– Smoke test: not started
`)
    expect(clock.running).toBe(0)
  })

  it('has no second heading where the tasks go on under the one before', () => {
    const { terminal, stderr } = captured()
    terminal.progress('confrouter up', []).close()
    const view = terminal.progress(undefined, [{ id: 'smoke', title: 'Smoke test' }])
    view.start('smoke')
    view.done('smoke', '7 checks passed')
    view.close()
    expect(stderr.text).toBe('confrouter up\n  Smoke test: started\n✔ Smoke test: 7 checks passed (0.0 s)\n')
  })

  it('says every 30 s what is waited for and why, and nothing when nothing runs', () => {
    const { terminal, stderr, clock } = captured()
    const view = terminal.progress('confrouter up', tasks)
    clock.advance(60_000)
    expect(stderr.text).toBe('confrouter up\n')
    view.start('vault')
    view.start('group')
    view.note('group', 'pulling the image')
    clock.advance(29_999)
    expect(stderr.text).not.toContain('still waiting')
    clock.advance(1)
    clock.advance(30_000)
    expect(stderr.text.split('\n').filter((line) => line.includes('still'))).toEqual([
      '  still waiting: Key vault, 30 s; Container group, 30 s (pulling the image)',
      '  still waiting: Key vault, 1 min 00 s; Container group, 1 min 00 s (pulling the image)'
    ])
    view.close()
    expect(stderr.text).toContain('– Key vault: not finished\n')
    clock.advance(60_000)
    expect(stderr.text.match(/still/g)).toHaveLength(2)
  })

  it('writes a countdown once, and leaves the seconds to the heartbeat', () => {
    const { terminal, stderr, clock } = captured()
    const view = terminal.progress('up', tasks.slice(0, 1))
    view.start('image')
    for (let left = 600; left > 560; left--) {
      view.note('image', `waiting for the role, ${left} s left`)
      clock.advance(1000)
    }
    view.note('image', 'trying again')
    view.note('image', 'waiting for the role, 1 s left')
    expect(stderr.text.split('\n').slice(2, -1)).toEqual([
      '  Image: waiting for the role, 600 s left',
      '  still waiting: Image, 30 s (waiting for the role, 571 s left)',
      '  Image: trying again',
      '  Image: waiting for the role, 1 s left'
    ])
    view.close()
  })

  it('uses ASCII where the locale is not UTF-8', () => {
    const { terminal, stderr } = captured({ environment: { LANG: 'C' } })
    const view = terminal.progress('up', tasks.slice(0, 3))
    view.done('image', 'created')
    view.skip('vault', 'unchanged')
    view.fail('group', 'no')
    view.close()
    expect(stderr.text).toBe('up\n+ Image: created\n- Key vault: skipped, unchanged\nx Container group: no\n')
  })

  it('is silent with --quiet', () => {
    const { terminal, stderr, clock } = captured({ quiet: true, tty: true })
    const view = terminal.progress('up', tasks)
    view.start('image')
    view.fail('image', 'no')
    view.close()
    expect(stderr.text).toBe('')
    expect(clock.running).toBe(0)
  })

  it.each([
    ['in CI', { environment: { CI: 'true' } }],
    ['on a dumb terminal', { environment: { TERM: 'dumb' } }],
    ['with --verbose', { verbose: true }]
  ])('is used on a terminal %s', async (_, options) => {
    const { terminal, stderr } = captured({ tty: true, ...options })
    const view = terminal.progress('up', tasks)
    view.start('image')
    await sleep(150)
    expect(stderr.text).toBe('up\n  Image: started\n')
    view.close()
  })

  it('refuses a task that it does not have, and ignores what comes after the end', () => {
    const { terminal, stderr } = captured()
    const view = terminal.progress('up', [])
    expect(() => view.start('other')).toThrow(TypeError)
    view.close()
    view.close()
    const late = terminal.progress('up', tasks.slice(0, 1))
    late.close()
    const before = stderr.text
    late.done('image', 'created')
    expect(stderr.text).toBe(before)
  })

  it('shows what a service says as text', () => {
    const { terminal, stderr } = captured()
    const view = terminal.progress('up', tasks.slice(0, 1))
    view.note('image', 'a\u001b[2Jb\nsecond line')
    view.done('image', 'created')
    view.close()
    expect(stderr.text).toContain('  Image: ab\n')
  })
})

describe('progress on a terminal', () => {
  it('writes its first line at once, draws a tree and leaves the outcomes', async () => {
    const { terminal, stdout, stderr, clock } = captured({ tty: true })
    const view = terminal.progress('confrouter up', tasks)
    view.start('image')
    expect(stderr.text).toBe('confrouter up\n')
    await untilDrawn(stderr)
    view.note('image', 'pushing')
    clock.advance(3000)
    expect(stderr.text).toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] Image: pushing \(3\.0 s\)\n {2}Key vault\n/)
    view.done('image', 'created')
    view.fail('vault', 'quota exceeded')
    expect(stderr.text).toMatch(/✔ Image: created\n✖ Key vault: quota exceeded\n {2}Container group\n/)
    view.close()
    expect(afterTree(stderr.text)).toBe(`✔ Image: created (3.0 s)
✖ Key vault: quota exceeded
– Container group: not started
– Smoke test: not started
`)
    expect(stdout.text).toBe('')
    expect(clock.running).toBe(0)
    const finished = stderr.text
    await sleep(250)
    expect(stderr.text).toBe(finished)
  })

  it('leaves the same lines when it ends before the tree is drawn', async () => {
    const { terminal, stderr, clock } = captured({ tty: true })
    const view = terminal.progress('up', tasks.slice(0, 1))
    view.done('image', 'unchanged')
    view.close()
    expect(stderr.text).toBe('up\n✔ Image: unchanged\n')
    await sleep(300)
    expect(stderr.text.replace(escapes, '')).toBe('up\n✔ Image: unchanged\n')
    expect(clock.running).toBe(0)
  })

  it('keeps warnings back until the tree is gone', async () => {
    const { terminal, stderr } = captured({ tty: true })
    const view = terminal.progress('up', tasks.slice(0, 1))
    view.start('image')
    await untilDrawn(stderr)
    terminal.warn('careful')
    expect(stderr.text).not.toContain('careful')
    view.done('image', 'created')
    view.close()
    expect(afterTree(stderr.text)).toBe('✔ Image: created (0.0 s)\nwarning: careful\n')
  })

  it('is closed by a failure, which would be lost in a live tree', async () => {
    const { terminal, stderr } = captured({ tty: true })
    terminal.progress('up', tasks.slice(0, 1)).start('image')
    await untilDrawn(stderr)
    terminal.failure(new Error('boom'), { command: 'up' })
    expect(afterTree(stderr.text)).toMatch(/^– Image: not finished\nerror: confrouter up failed/)
  })
})

describe('a duration', () => {
  it.each([
    [0, '0.0 s'],
    [9_949, '9.9 s'],
    [9_950, '10 s'],
    [59_400, '59 s'],
    [59_600, '1 min 00 s'],
    [185_000, '3 min 05 s']
  ])('of %i ms is %s', (milliseconds, text) => {
    expect(duration(milliseconds)).toBe(text)
  })
})

/** The sequences that the tree is drawn with. */
const escapes = /\u001b\[[?0-9;]*[a-zA-Z]/g

async function untilDrawn(stderr: { text: string }): Promise<void> {
  for (let i = 0; i < 100 && !stderr.text.includes('Image ('); i++) await sleep(20)
}

/** What is written once the cursor is shown again. */
function afterTree(text: string): string {
  return text.slice(text.lastIndexOf('\u001b[?25h')).replace(escapes, '')
}
