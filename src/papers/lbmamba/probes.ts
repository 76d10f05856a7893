// LBVim, Vim, their mixers and scan, and LBMamba-MIL, for the recorded cases.
import { lbVimDefaults, type VimConfig, VisionMamba, vimDefaults } from '../../models/vim.js'
import { localWindow } from '../../ssm/scan-paths.js'
import { VimMixer, type VimMixerConfig } from '../../ssm/vim-mixer.js'
import { permute, selectiveScan, softmax, transpose } from '../../tensor/index.js'
import { channelsLast, makeLeaves, modulePart, type PartProbes, type Probe, required, withGradients } from '../probe.js'
import { MambaMil, type MambaMilConfig, mambaMilDefaults } from './mil.js'

type Config = Parameters<PartProbes[string]>[0]
/** `lbm` of the cases: the official kernel chooses the window by the length. */
const windowOf = (config: Config) => ({ window: config.lbm === true ? ('by length' as const) : 0 })

const network = (defaults: typeof vimDefaults) => (config: Config) => {
  const head = config.head_type === undefined ? 'mean' : 'attention'
  const model = new VisionMamba({
    ...defaults,
    ...(config as unknown as VimConfig),
    ...windowOf(config),
    head_type: head,
  })
  return modulePart(model, 'x', (module, input) => {
    const tokens = module.tokens(channelsLast(input))
    const pooled = module.pooled(tokens)
    return { output: module.head.forward(pooled), features: head === 'attention' ? tokens : pooled }
  })
}

/** Channels before time, as the official operator has them; the recorded gradient is that of delta. */
const scan: Probe = (given) => {
  makeLeaves(given)
  const sequence = (name: string) => transpose(required(given, name), 1, 2)
  const map = (name: string) => permute(required(given, name), [0, 3, 1, 2])
  const u = sequence('u')
  const { out, finalState } = selectiveScan(u, sequence('delta'), required(given, 'A'), map('B'), map('C'), {
    D: given.inputs.get('D'),
    z: given.inputs.has('z') ? sequence('z') : null,
    deltaBias: given.inputs.get('delta_bias'),
    deltaSoftplus: true,
    window: localWindow(u.shape[1]),
    returnFinalState: true,
  })
  const { output, ...rest } = withGradients(given, { output: transpose(out, 1, 2) })
  return { output, last_state: finalState!, 'grad.input': rest['grad.delta'] }
}

export const probes: PartProbes = {
  VisionMamba: network(vimDefaults),
  BiVisionMamba: network(lbVimDefaults),
  Mamba: (config) => {
    const mixer = new VimMixer({ ...(config as unknown as VimMixerConfig), ...windowOf(config) })
    return modulePart(mixer, 'hidden_states', (module, input) => ({ output: module.forward(input) }))
  },
  MambaMIL: (config) => {
    const model = new MambaMil({ ...mambaMilDefaults, ...(config as unknown as MambaMilConfig), ...windowOf(config) })
    return modulePart(model, 'x', (module, input) => {
      const logits = module.forward(input)
      return { output: logits, Y_prob: softmax(logits) }
    })
  },
  selective_scan_fn: () => ({ answer: scan }),
}
