// Single parts of Mamba under their official names and layouts (channels before time), for the recorded cases.

import { MambaMixer, type MambaMixerState } from '../../ssm/mamba.js'
import {
  backward,
  concat,
  mul,
  noGrad,
  permute,
  selectiveScan,
  slice,
  sum,
  type Tensor,
  transpose,
} from '../../tensor/index.js'
import { type CaseInputs, makeLeaves, type PartProbes, type Probe, required, withGradients } from '../probe.js'

/** (B, D, L) <-> (B, L, D) */
const timeLast = (x: Tensor): Tensor => transpose(x, 1, 2)

/** B or C: (B, N, L) or (B, G, N, L) with time before states, or (D, N) as it is. */
function timeBeforeStates(map: Tensor): Tensor {
  return map.rank === 3 ? timeLast(map) : map.rank === 4 ? permute(map, [0, 3, 1, 2]) : map
}

function scan(given: CaseInputs, from: number, to: number, initialState?: Tensor) {
  const part = (x: Tensor) => slice(timeLast(x), 1, from, to)
  const maps = ['B', 'C'].map((name) => {
    const map = timeBeforeStates(required(given, name))
    return map.rank === 2 ? map : slice(map, 1, from, to)
  })
  const z = given.inputs.get('z')
  return selectiveScan(
    part(required(given, 'u')),
    part(required(given, 'delta')),
    required(given, 'A'),
    maps[0],
    maps[1],
    {
      D: given.inputs.get('D'),
      z: z && part(z),
      deltaBias: given.inputs.get('delta_bias'),
      deltaSoftplus: given.config.delta_softplus === true,
      initialState,
      returnFinalState: true,
    },
  )
}

const wholeScan: Probe = (given) => {
  makeLeaves(given)
  const { out, finalState } = scan(given, 0, required(given, 'u').shape[2])
  const { output, ...rest } = withGradients(given, { output: timeLast(out) })
  return { output, last_state: finalState!, ...rest }
}

/** A prefix by the scan, the rest by single steps from the carried state. */
const splitScan: Probe = async (given) => {
  const length = required(given, 'u').shape[2]
  const cut = await required(given, 'split').item()
  const head = noGrad(() => scan(given, 0, cut))
  const pieces: Tensor[] = []
  let state = head.finalState!
  for (let t = cut; t < length; t++) {
    const step = noGrad(() => scan(given, t, t + 1, state))
    pieces.push(step.out)
    state = step.finalState!
  }
  const tail = concat(pieces, 1)
  return {
    output: timeLast(concat([head.out, tail], 1)),
    output_tail: timeLast(tail),
    state_at_split: head.finalState!,
    last_state: state,
  }
}

/** The block: forward, every gradient, prefill and decoding. */
const blockProbe = (mixer: MambaMixer): Probe => {
  return async (given) => {
    const input = required(given, 'hidden_states')
    const g = required(given, 'g')
    input.requiresGrad = true
    const { out } = mixer.forward(input)
    backward(sum(mul(out, g)))
    const grads = [...mixer.namedParameters()].map(([name, { value }]) => [`grad.${name}`, value.grad!] as const)
    const prefillLength = await required(given, 'prefill_len').item()
    const recurrent = noGrad(() => decode(mixer, input, prefillLength))
    const official = ({ conv, ssm }: MambaMixerState) => ({ conv: timeLast(conv), ssm })
    const [prefill, final] = [official(recurrent.prefill), official(recurrent.final)]
    return {
      output: out,
      ...Object.fromEntries(grads),
      'grad.input': input.grad!,
      'prefill.conv_state': prefill.conv,
      'prefill.ssm_state': prefill.ssm,
      output_decode: recurrent.out,
      conv_state: final.conv,
      ssm_state: final.ssm,
    }
  }
}

function decode(mixer: MambaMixer, input: Tensor, prefillLength: number) {
  const first = mixer.forward(slice(input, 1, 0, prefillLength), { finalState: 'return' })
  const pieces = [first.out]
  let state = first.state!
  for (let t = prefillLength; t < input.shape[1]; t++) {
    const step = mixer.forward(slice(input, 1, t, t + 1), { state, finalState: 'return' })
    pieces.push(step.out)
    state = step.state!
  }
  return { prefill: first.state!, out: concat(pieces, 1), final: state }
}

/** The Mamba block that a case's config describes. mirrors: Mamba.__init__ */
function mixerOf(config: Readonly<Record<string, unknown>>): MambaMixer {
  return new MambaMixer({
    dModel: config.d_model as number,
    dState: config.d_state as number,
    dConv: config.d_conv as number,
    expand: config.expand as number,
    dtRank: config.dt_rank as number | 'auto',
    convBias: config.conv_bias as boolean,
    bias: config.bias as boolean,
  })
}

export const probes: PartProbes = {
  Mamba: (config) => {
    const module = mixerOf(config)
    return { module, answer: blockProbe(module) }
  },
  selective_scan_ref: () => ({ answer: wholeScan }),
  'selective_scan_ref + selective_state_update_ref': () => ({ answer: splitScan }),
}
