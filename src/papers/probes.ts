// Which file answers the recorded cases of a model, by the `model` of their config: the 33 papers and the bases they share.
import type { PartProbes } from './probe.js'

export const partProbes: Readonly<Record<string, () => Promise<{ readonly probes: PartProbes }>>> = {
  efficientvmamba: () => import('./efficientvmamba/probes.js'),
  groupmamba: () => import('./groupmamba/probes.js'),
  lbmamba: () => import('./lbmamba/probes.js'),
  mamba: () => import('./mamba/probes.js'),
  mambaout: () => import('./mambaout/probes.js'),
  vmamba: () => import('./vmamba-probes.js'),
  plainmamba: () => import('./plainmamba/probes.js'),
}
