// The models that the parts of the experiment compare, at equal parameter count.
import { type MambaLMConfig, mambaDefaults } from '../../models/mamba-config.js'
import { MambaLM } from '../../models/mamba-lm.js'
import { TransformerLM } from '../../models/transformer-lm.js'
import { TimeInvariantMixer } from '../../ssm/time-invariant.js'

type Size = Pick<MambaLMConfig, 'dModel' | 'nLayer' | 'vocabSize'>

export const mambaOf = (size: Size): MambaLM => new MambaLM({ ...mambaDefaults, ...size })

/** The same model with a time-invariant mixer. */
export const timeInvariantOf = (size: Size): MambaLM =>
  new MambaLM({ ...mambaDefaults, ...size }, (mixer) => new TimeInvariantMixer(mixer))

export interface TransformerSize extends Size {
  readonly heads: number
  readonly positions: 'rotary' | number
  /** Parameters to come near to. */
  readonly parameters: number
}

/** The Transformer whose MLP width brings it nearest to `parameters`; `nLayer` counts pairs of attention and MLP. */
export function transformerOf({ parameters, ...size }: TransformerSize): TransformerLM {
  const count = (hidden: number) => new TransformerLM({ ...size, hidden }).parameterCount()
  const [without, perUnit] = [count(0), count(1) - count(0)]
  return new TransformerLM({ ...size, hidden: Math.max(1, Math.round((parameters - without) / perUnit)) })
}
