import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { Ajv } from 'ajv'
import { parse } from 'yaml'
import { jsonSchema, jsonSchemaText, schemaUrl } from '../../../src/config/json-schema.js'
import { parseConfig } from '../../../src/config/parse-config.js'

const root = join(import.meta.dirname, '..', '..', '..')
const schemaFile = join(root, 'schema', 'confrouter.schema.json')
const starter = readFileSync(join(root, 'templates', 'confrouter.yaml'), 'utf8')

const validate = new Ajv({ allErrors: true, validateFormats: false }).compile(jsonSchema())

describe('the JSON Schema', () => {
  it('is the published one (UPDATE_SCHEMA=1 writes it)', () => {
    if (process.env['UPDATE_SCHEMA'] === '1') writeFileSync(schemaFile, jsonSchemaText())
    expect(readFileSync(schemaFile, 'utf8')).toBe(jsonSchemaText())
  })

  it('describes every key', () => {
    const undescribed: string[] = []
    const visit = (schema: unknown, path: string) => {
      if (typeof schema !== 'object' || schema === null) return
      const { properties, description } = schema as Record<string, unknown>
      if (typeof description !== 'string' && path !== '') undescribed.push(path)
      for (const [key, child] of Object.entries(properties ?? {})) visit(child, `${path}/${key}`)
    }
    visit(jsonSchema(), '')
    expect(undescribed).toEqual([])
  })

  it('accepts what the program accepts and refuses what it refuses', () => {
    expect(validate(parse(starter))).toBe(true)
    for (const wrong of [
      'clod: azure',
      'cloud: nowhere',
      'containerGroup: { port: 0 }',
      'providers: { openai: { apiKey: { env: A, file: b } } }',
      'providers: { openai: { apiKey: sk } }',
      'providers: { Open_AI: {} }',
      'attestation: {}',
      'key: { size: 1024 }',
      'image: { repository: ghcr.io/UPPER/x }',
      'router: { workers: 0 }',
      'router: { tls: { only: true } }',
      'router: { fallbacks: { "openai:a": [] } }',
      'router: { limits: { shutdownSeconds: -1 } }'
    ]) {
      expect([wrong, validate(parse(wrong))]).toEqual([wrong, false])
    }
  })
})

describe('the starter configuration', () => {
  it('names the schema in its first line', () => {
    expect(starter.split('\n')[0]).toBe(`# yaml-language-server: $schema=${schemaUrl}`)
  })

  it('is a right configuration', () => {
    const { config } = parseConfig({ text: starter, fileName: 'c.yaml', flags: {}, environment: {}, defaults: {} })
    expect(config).toMatchObject({ cloud: 'azure', providers: { openai: { default: true } } })
  })

  it('shows a whole section of the router, with its defaults', () => {
    const section = starter.slice(starter.indexOf('# router:')).split('\n\n')[0] ?? ''
    const shown = section.replaceAll(/^# /gm, '')
    const parsed = (text: string) =>
      parseConfig({
        text: starter.replace(section, text).replace('# openrouter', 'openrouter'),
        fileName: 'c.yaml',
        flags: {},
        environment: {},
        defaults: {}
      }).config.router
    const { tls, fallbacks, ...others } = parsed(shown)
    expect(tls).toEqual({ port: 8443, only: false })
    expect(Object.keys(fallbacks)).toEqual(['openai:gpt-4o'])
    expect({ ...others, fallbacks: {} }).toEqual(parsed(''))
  })

  it('shows lines that are right once they are no comments', () => {
    const lines = starter.split('\n').filter((line) => /^ *# ?[a-zA-Z-]+:( |$)/.test(line) && !line.includes('…'))
    expect(lines.length).toBeGreaterThan(15)
    const problems = lines
      .filter((line) => line.startsWith('# ') && /: [^ ]/.test(line) && !line.includes('yaml-language-server'))
      .map((line) => line.slice(2))
      .filter((line) => validate(parse(line)) === false)
    expect(problems).toEqual([])
  })
})
