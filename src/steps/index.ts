import { attestationStep } from './attestation-provider.js'
import { imageStep } from './build-image.js'
import { deployStep } from './deploy-group.js'
import { identityStep } from './identity.js'
import { keyVaultStep } from './key-vault.js'
import { keyStep } from './release-key.js'
import { resourceGroupStep } from './resource-group.js'
import { rolesStep } from './role-assignments.js'
import type { Step, StepId } from './run.js'
import { signingKeyStep } from './signing-key.js'
import { smokeStep } from './smoke-test.js'
import { policyStep } from './write-policy.js'

export { type BuildCheck, checkBuild } from './build-image-check.js'
export { deleteAll, deletions, unrecorded } from './down.js'
export { type DoctorCheck, type DoctorReport, examine, verdictOf } from './doctor.js'
export { azureChecks } from './doctor-azure.js'
export { configCheck, type Machine, machineChecks, portCheck, toolChecks } from './doctor-machine.js'
export { noteToStep, type Progress, RunResults, runSteps, type StepReport } from './graph.js'
export type { ChainLink } from './digest-chain.js'
export { type Look, lookAt } from './look.js'
export { makePlan } from './make-plan.js'
export {
  groupForRollback,
  policyOfGeneration,
  requireTakesSecrets,
  rollbackTarget,
  type SecretChange,
  secretsChangedSince,
  targetOfOpen,
  wentBackFrom
} from './rollback.js'
export { abandonUpgrade, closingOf, pendingUpgrade, redirectUpgrade } from './settle-upgrade.js'
export { findUpgrade, refuseKeyInUse, type WantedUpgrade } from './find-upgrade.js'
export { groupNameFor } from './generation.js'
export { requireFreeNames } from './deploy-group.js'
export { isAnybodyServing, observeTrust } from './trust-chain.js'
export { asItIsReached, keyOpened, type PhaseReport, runUpgrade, upgradePhases } from './upgrade.js'
export { waysOn } from './upgrade-window.js'
export { type ContainerOutput, type GroupOutput, readLogs } from './logs.js'
export { takeLock } from './lock.js'
export { keyChanges, pinsOf, trustChanges } from './release-key.js'
export { OtherTlsKey } from './router-call.js'
export * from './run.js'
export { listSecrets, requireSecretNames, rotateSecrets, type SecretsList, setSecrets } from './secrets.js'
export { requireProviderKeys } from './sealed-secrets.js'
export { SmokeError } from './smoke-test.js'
export {
  type Generation,
  type PinChange,
  openState,
  otherDeployment,
  recordedAmbient,
  type State,
  type StateFile,
  type UpgradeState,
  recordedDeployment,
  stateOwner
} from './state.js'
export { recordedAddresses } from './recorded-addresses.js'
export { describeSoftDeleted, type SoftDeleted, type SoftDeletedChoice, softDeletedNames } from './soft-deleted.js'
export { surveySteps } from './survey.js'
export type { TrustAnswer } from './trust-question.js'

/** Every step, in the order in which a reader expects to see them; `needs` decides the order of work. */
export const allSteps: readonly Step[] = [
  imageStep,
  resourceGroupStep,
  attestationStep,
  keyVaultStep,
  identityStep,
  rolesStep,
  signingKeyStep,
  policyStep,
  keyStep,
  deployStep,
  smokeStep
] as readonly Step[]

/** A step with everything it needs, directly or not. */
export function withNeeds(ids: readonly StepId[]): readonly Step[] {
  const wanted = new Set<StepId>()
  const add = (id: StepId) => {
    wanted.add(id)
    allSteps.find((step) => step.id === id)?.needs.forEach(add)
  }
  ids.forEach(add)
  return allSteps.filter(({ id }) => wanted.has(id))
}
