import { z } from 'zod'
import { rawSchema } from './schema.js'

export const schemaUrl = 'https://raw.githubusercontent.com/confrouter/confrouter/main/schema/confrouter.schema.json'

/**
 * The JSON Schema of confrouter.yaml, for editors. Draft 7, because that is what YAML editors know
 * best. It describes single values; what does not go together is found by the program alone.
 */
export function jsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(rawSchema, { target: 'draft-7', io: 'input' })
  return { $schema, $id: schemaUrl, title: 'confrouter.yaml', ...rest }
}

/** The text of schema/confrouter.schema.json. */
export function jsonSchemaText(): string {
  return `${JSON.stringify(jsonSchema(), null, 2)}\n`
}
