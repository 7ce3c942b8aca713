import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import { isAbsolute, posix } from 'node:path'
import { followInside } from './contained-path.js'

/** A container's command as it runs on this host. */
export interface HostCommand {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  /**
   * The image has no `node` of its own and got the one that runs the emulator. On Azure such an image
   * would not start; here an image can be one script, with no operating system around it.
   */
  readonly lentNode: boolean
}

export interface CommandOptions {
  readonly rootfs: string
  /** As the image and the template have it; absolute paths are the container's. */
  readonly argv: readonly string[]
  /** The container's own `PATH`. */
  readonly path: string | undefined
  readonly workingDir: string
  /** The Node that is lent. */
  readonly node: string
}

/** In the words of the container runtime. */
export class CommandNotFound extends Error {
  override readonly name = 'CommandNotFound'
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const shebangBytes = 256

/**
 * Finds the program inside the image and maps the container's paths to the host's. There is no
 * chroot, so only the program itself, its interpreter and arguments that are paths in the image are mapped.
 */
export async function resolveCommand(options: CommandOptions): Promise<HostCommand> {
  const { rootfs, argv, workingDir } = options
  const [program, ...rest] = argv
  if (program === undefined || program === '') throw new CommandNotFound('no command specified')
  await followInside(rootfs, workingDir, { followLast: true, createDirectories: true })
  const cwd = (await followInside(rootfs, workingDir, { followLast: true })).onHost
  const args = await Promise.all(rest.map((argument) => mapArgument(rootfs, argument)))
  const found = await findProgram(program, options)
  if (found === undefined) return { ...lend(program, args, options), cwd }
  const interpreter = await readShebang(found)
  if (interpreter === undefined) return { file: found, args, cwd, lentNode: false }
  const interpreterFile = await findProgram(interpreter.program, options)
  const scriptArgs = [...interpreter.args, found, ...args]
  if (interpreterFile === undefined) return { ...lend(interpreter.program, scriptArgs, options), cwd }
  return { file: interpreterFile, args: scriptArgs, cwd, lentNode: false }
}

function lend(program: string, args: readonly string[], { node }: CommandOptions): Omit<HostCommand, 'cwd'> {
  if (posix.basename(program) === 'node') return { file: node, args, lentNode: true }
  const reason = program.includes('/') ? 'no such file or directory' : 'executable file not found in $PATH'
  throw new CommandNotFound(`exec: "${program}": ${reason}`)
}

/** The host path of an executable file in the image, or undefined. */
async function findProgram(program: string, { rootfs, path, workingDir }: CommandOptions): Promise<string | undefined> {
  const candidates = program.includes('/')
    ? [posix.resolve(workingDir, program)]
    : (path ?? defaultPath).split(':').map((directory) => posix.resolve(workingDir, directory, program))
  for (const candidate of candidates) {
    const { onHost, exists } = await followInside(rootfs, candidate, { followLast: true })
    if (exists && (await isExecutable(onHost))) return onHost
  }
  return undefined
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK)
    return (await stat(file)).isFile()
  } catch {
    // Not executable or not readable: to a caller that looks for a program there is none.
    return false
  }
}

async function mapArgument(rootfs: string, argument: string): Promise<string> {
  if (!isAbsolute(argument)) return argument
  const { onHost, exists } = await followInside(rootfs, argument, { followLast: true })
  return exists ? onHost : argument
}

interface Interpreter {
  readonly program: string
  readonly args: readonly string[]
}

/** `#!/usr/bin/env node` and `#!/bin/sh -e`: as in Linux, what follows the program is one argument. */
async function readShebang(file: string): Promise<Interpreter | undefined> {
  const handle = await open(file, 'r')
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(shebangBytes), position: 0 })
    const [firstLine = ''] = buffer.toString('latin1', 0, bytesRead).split('\n')
    const [, program, argument] = /^#![ \t]*(\S+)(?:[ \t]+(.*?))?[ \t\r]*$/.exec(firstLine) ?? []
    if (program === undefined) return undefined
    if (posix.basename(program) !== 'env' || argument === undefined) {
      return { program, args: argument === undefined ? [] : [argument] }
    }
    return { program: argument, args: [] }
  } finally {
    await handle.close()
  }
}
