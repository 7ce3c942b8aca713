import type { Environment } from './appearance.js'

/** The systems whose own form of annotations is known; `other` is any that sets CI. */
export type Pipeline = 'github' | 'azure-pipelines' | 'other'

/** By the variables that each sets; undefined where nobody runs a pipeline. */
export function pipelineOf(environment: Environment): Pipeline | undefined {
  if (environment['GITHUB_ACTIONS'] === 'true') return 'github'
  if (environment['TF_BUILD'] === 'True') return 'azure-pipelines'
  return ['', '0', 'false'].includes(environment['CI'] ?? '') ? undefined : 'other'
}

export interface Annotation {
  readonly level: 'error' | 'warning'
  /** Stable code of an error. */
  readonly code?: string | undefined
  readonly text: string
}

/**
 * One line by which a pipeline shows a problem where people look; undefined where there is no such form.
 * Whatever the text has in it, it stays one annotation and becomes no other command.
 */
export function annotationLine(pipeline: Pipeline | undefined, { level, code, text }: Annotation): string | undefined {
  switch (pipeline) {
    case 'github': {
      const title = code === undefined ? '' : ` title=${gitHubProperty(code)}`
      return `::${level}${title}::${gitHubData(text)}`
    }
    case 'azure-pipelines': {
      const property = code === undefined ? '' : `code=${azureProperty(code)};`
      return `##vso[task.logissue type=${level};${property}]${azureData(text)}`
    }
    case 'other':
    case undefined:
      return undefined
    default:
      return pipeline satisfies never
  }
}

/** The line that has Azure Pipelines show a Markdown file with the run. */
export function uploadSummaryLine(file: string): string {
  return `##vso[task.uploadsummary]${azureData(file)}`
}

const gitHubData = (text: string): string => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')

const gitHubProperty = (text: string): string => gitHubData(text).replaceAll(':', '%3A').replaceAll(',', '%2C')

const azureData = (text: string): string =>
  text.replaceAll('%', '%AZP25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')

const azureProperty = (text: string): string => azureData(text).replaceAll(';', '%3B').replaceAll(']', '%5D')
