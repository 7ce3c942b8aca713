/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'es6' }
      }
    ]
  },
  // Most tests wait for sockets and processes; jest's own choice on two cores is one worker.
  maxWorkers: 2,
  // Else one of the longest files may be the last, with one worker busy and one idle.
  testSequencer: '<rootDir>/test/sequencer.js',
  // A hung socket must fail the run instead of holding it until the pipeline's own limit.
  testTimeout: 30_000
}
