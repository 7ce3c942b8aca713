import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { chmod, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { resolveCommand } from '../../../../src/emulator/services/aci/command.js'
import { temporaryDirectory } from '../support/emulator.js'

let rootfs: string
beforeEach(async () => {
  rootfs = await temporaryDirectory()
  await mkdir(join(rootfs, 'bin'))
})
afterEach(() => rm(rootfs, { recursive: true, force: true }))

const file = async (path: string, content: string, mode = 0o755) => {
  await writeFile(join(rootfs, path), content)
  await chmod(join(rootfs, path), mode)
}
const resolve = (...argv: string[]) =>
  resolveCommand({ rootfs, argv, path: '/none:/bin', workingDir: '/work', node: '/host/node' })

describe('the command of a container', () => {
  it('is looked up inside the image, over its PATH or from its path', async () => {
    await file('bin/tool', 'binary')
    expect(await resolve('tool', '-x')).toEqual({
      file: join(rootfs, 'bin/tool'),
      args: ['-x'],
      cwd: join(rootfs, 'work'),
      lentNode: false
    })
    expect((await resolve('/bin/tool')).file).toBe(join(rootfs, 'bin/tool'))
    expect((await resolve('../bin/tool')).file).toBe(join(rootfs, 'bin/tool'))
  })

  it('has absolute paths of the image among its arguments mapped, and nothing else', async () => {
    await file('bin/tool', 'binary')
    const { args } = await resolve('tool', '/bin/tool', '/etc/passwd', 'bin/tool', '--file=/bin/tool')
    expect(args).toEqual([join(rootfs, 'bin/tool'), '/etc/passwd', 'bin/tool', '--file=/bin/tool'])
  })

  it('gets the node of the host when the image has none, and its own when it has one', async () => {
    expect(await resolve('node', 'x.js')).toMatchObject({ file: '/host/node', args: ['x.js'], lentNode: true })
    await file('bin/node', 'binary')
    expect(await resolve('node', 'x.js')).toMatchObject({ file: join(rootfs, 'bin/node'), lentNode: false })
  })

  it.each([
    ['#!/usr/bin/env node\n', '/host/node', []],
    ['#!/usr/local/bin/node --no-warnings\n', '/host/node', ['--no-warnings']],
    ['#! /bin/sh -e\r\n', 'bin/sh', ['-e']]
  ])('honours the first line %j', async (line, interpreter, options) => {
    await file('bin/sh', 'binary')
    await file('skr.sh', `${line}rest`)
    const command = await resolve('/skr.sh', 'argument')
    expect(command.file).toBe(interpreter.startsWith('/host') ? interpreter : join(rootfs, interpreter))
    expect(command.args).toEqual([...options, join(rootfs, 'skr.sh'), 'argument'])
  })

  it('is refused when there is no such program, when it is not executable or when its interpreter is missing', async () => {
    await file('bin/text', 'x', 0o644)
    await file('bin/script', '#!/bin/bash\n')
    await expect(resolve('none')).rejects.toThrow('exec: "none": executable file not found in $PATH')
    await expect(resolve('/none')).rejects.toThrow('exec: "/none": no such file or directory')
    await expect(resolve('text')).rejects.toThrow('executable file not found')
    await expect(resolve('script')).rejects.toThrow('exec: "/bin/bash": no such file or directory')
    await expect(resolve()).rejects.toThrow('no command specified')
  })

  it('never is a program of the host', async () => {
    await symlink('/bin/sh', join(rootfs, 'bin/escape'))
    await expect(resolve('escape')).rejects.toThrow('executable file not found')
    await expect(resolve('/bin/sh')).rejects.toThrow('no such file or directory')
    await expect(resolve('../../../../../../bin/sh')).rejects.toThrow('no such file or directory')
  })
})
