/** Azure on loopback: an emulator of the services that a deployment needs, for the real, unmodified clients. */
export { type EmulatorOptions, type RunningEmulator, startEmulator } from './emulator.js'
export type { FaultAnswer, FaultPlan, KillFault, RequestFault } from './faults.js'
export { type EmulatorEnvironment, isAlive, readEnvironment } from './environment.js'
