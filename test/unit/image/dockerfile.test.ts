import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'

const root = join(import.meta.dirname, '..', '..', '..')
const instructions = parse(readFileSync(join(root, 'Dockerfile'), 'utf8'))
const stages = stagesOf(instructions)
const [build = [], final = []] = stages

describe('the Dockerfile', () => {
  it('has two stages on the same Node 24 image, pinned by digest', () => {
    expect(stages).toHaveLength(2)
    const bases = stages.map(([from]) => from?.[1].split(' ')[0])
    expect(bases[0]).toMatch(/^docker\.io\/library\/node:24\.[0-9]+\.[0-9]+-[a-z]+-slim@sha256:[0-9a-f]{64}$/)
    expect(bases[1]).toBe(bases[0])
  })

  it('installs what the lock file says and runs no install scripts', () => {
    const commands = valuesOf(build, 'RUN')
    expect(commands).toEqual([expect.stringMatching(/^npm ci .*--ignore-scripts/), 'node scripts/build.js'])
  })

  it('copies the bundle into the image and nothing else', () => {
    expect(valuesOf(final, 'COPY')).toEqual(['--from=build /source/dist/router/router.cjs /app/router.cjs'])
    expect(valuesOf(final, 'ADD')).toEqual([])
    expect(valuesOf(final, 'RUN')).toEqual([])
    expect(valuesOf(final, 'VOLUME')).toEqual([])
  })

  it('runs as a numeric user that is not root', () => {
    expect(valuesOf(final, 'USER')).toEqual([expect.stringMatching(/^[1-9][0-9]+:[1-9][0-9]+$/)])
  })

  it('starts Node by its absolute path, without a shell and without a command of the base image', () => {
    expect(valuesOf(final, 'ENTRYPOINT').map((text) => JSON.parse(text))).toEqual([
      ['/usr/local/bin/node', '/app/router.cjs']
    ])
    expect(valuesOf(final, 'CMD')).toEqual(['[]'])
    expect(valuesOf(final, 'SHELL')).toEqual([])
  })

  it('puts no secret and no build argument into the image', () => {
    expect(valuesOf(final, 'ENV')).toEqual(['NODE_ENV=production'])
    expect(instructions.filter(([name]) => name === 'ARG')).toEqual([])
  })

  it('is built from a context that holds only what it copies', () => {
    const lines = readFileSync(join(root, '.dockerignore'), 'utf8')
      .split('\n')
      .filter((line) => /^[^#]/.test(line))
    const copied = valuesOf(build, 'COPY').flatMap((text) => text.split(' ').slice(0, -1))
    expect(lines[0]).toBe('*')
    expect(
      lines
        .slice(1)
        .map((line) => line.replace(/^!/, ''))
        .sort()
    ).toEqual(copied.sort())
  })
})

type Instruction = readonly [name: string, value: string]

function parse(text: string): readonly Instruction[] {
  const lines = text.replaceAll('\\\n', ' ').split('\n')
  return lines
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1).trim()] as const)
}

function stagesOf(all: readonly Instruction[]): Instruction[][] {
  const found: Instruction[][] = []
  for (const instruction of all) {
    if (instruction[0] === 'FROM') found.push([])
    found.at(-1)?.push(instruction)
  }
  return found
}

function valuesOf(stage: readonly Instruction[], name: string): readonly string[] {
  return stage.filter(([found]) => found === name).map(([, value]) => value)
}
