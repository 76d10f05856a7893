// Configurations of Mamba language models: our own form, and the two official ones (state-spaces and Hugging Face).
import { MambakitError } from '../errors.js'

export interface MambaLMConfig {
  dModel: number
  nLayer: number
  /** Rows of the embedding, padding included. */
  vocabSize: number
  dState: number
  dConv: number
  expand: number
  dtRank: number | 'auto'
  convBias: boolean
  /** Bias of in_proj and out_proj. */
  bias: boolean
  /** RMSNorm, else LayerNorm. */
  rmsNorm: boolean
  normEps: number
  tieEmbeddings: boolean
  /** Hidden width of the gated MLP after each mixer; 0 for none. */
  dIntermediate: number
  /** Whose names the state dict and config.json carry. */
  layout: 'state-spaces' | 'huggingface'
}

export const mambaDefaults = {
  dState: 16,
  dConv: 4,
  expand: 2,
  dtRank: 'auto',
  convBias: true,
  bias: false,
  rmsNorm: true,
  normEps: 1e-5,
  tieEmbeddings: true,
  dIntermediate: 0,
  layout: 'state-spaces',
} as const satisfies Partial<MambaLMConfig>

/** A config.json was missing something, or said something that no model can be. */
export class ConfigError extends MambakitError {
  override name = 'ConfigError'
  constructor(
    readonly field: string,
    expected: string,
    got: unknown,
  ) {
    super(`config: ${field}: expected ${expected}, got ${JSON.stringify(got) ?? 'nothing'}`)
  }
}

type Json = Readonly<Record<string, unknown>>

/** Reads typed fields of a parsed config.json; `fallback` undefined makes a field required. */
function fieldsOf(json: Json) {
  const pick = <T>(name: string, fallback: T | undefined, valid: (v: unknown) => v is T, expected: string): T => {
    const value = json[name] ?? fallback
    if (!valid(value)) throw new ConfigError(name, expected, json[name])
    return value
  }
  return {
    count: (name: string, fallback?: number, smallest = 1, largest = 1 << 24) =>
      pick(
        name,
        fallback,
        (v): v is number => Number.isInteger(v) && (v as number) >= smallest && (v as number) <= largest,
        `an integer from ${smallest} to ${largest}`,
      ),
    number: (name: string, fallback?: number) =>
      pick(name, fallback, (v): v is number => typeof v === 'number' && v > 0 && v < 1e6, 'a positive number'),
    flag: (name: string, fallback?: boolean) =>
      pick(name, fallback, (v): v is boolean => typeof v === 'boolean', 'true or false'),
    rank: (name: string) =>
      pick<number | 'auto'>(
        name,
        'auto',
        (v): v is number | 'auto' => v === 'auto' || (Number.isInteger(v) && (v as number) > 0),
        "a positive integer or 'auto'",
      ),
    object: (name: string) =>
      pick<Json>(name, {}, (v): v is Json => typeof v === 'object' && v !== null && !Array.isArray(v), 'an object'),
  }
}

/** The config.json of state-spaces/mamba: MambaLMHeadModel of a Mamba-1 backbone. mirrors: MambaConfig */
export function fromStateSpacesConfig(json: Json): MambaLMConfig {
  const read = fieldsOf(json)
  const ssm = read.object('ssm_cfg')
  const layer = ssm.layer ?? 'Mamba1'
  if (layer !== 'Mamba1') throw new ConfigError('ssm_cfg.layer', "'Mamba1' (other mixers are not built yet)", layer)
  if (Array.isArray(json.attn_layer_idx) && json.attn_layer_idx.length > 0)
    throw new ConfigError('attn_layer_idx', 'no attention layers (hybrids are not built yet)', json.attn_layer_idx)
  const mixer = fieldsOf(ssm)
  const vocabulary = read.count('vocab_size', 50277)
  const multiple = read.count('pad_vocab_size_multiple', 8)
  return {
    dModel: read.count('d_model', 2560),
    nLayer: read.count('n_layer', 64, 1, 4096),
    vocabSize: Math.ceil(vocabulary / multiple) * multiple,
    dState: mixer.count('d_state', 16, 1, 256),
    dConv: mixer.count('d_conv', 4, 1, 64),
    expand: mixer.count('expand', 2, 1, 64),
    dtRank: mixer.rank('dt_rank'),
    convBias: mixer.flag('conv_bias', true),
    bias: mixer.flag('bias', false),
    rmsNorm: read.flag('rms_norm', true),
    normEps: 1e-5,
    tieEmbeddings: read.flag('tie_embeddings', true),
    dIntermediate: read.count('d_intermediate', 0, 0),
    layout: 'state-spaces',
  }
}

/** The config.json of transformers' MambaForCausalLM. mirrors: transformers MambaConfig */
export function fromHuggingFaceConfig(json: Json): MambaLMConfig {
  const read = fieldsOf(json)
  const dModel = read.count('hidden_size', 768)
  const expand = read.count('expand', 2, 1, 64)
  const inner = read.count('intermediate_size', expand * dModel)
  if (inner !== expand * dModel)
    throw new ConfigError('intermediate_size', `expand * hidden_size = ${expand * dModel}`, inner)
  if ((json.hidden_act ?? 'silu') !== 'silu') throw new ConfigError('hidden_act', "'silu'", json.hidden_act)
  return {
    dModel,
    nLayer: read.count('num_hidden_layers', 32, 1, 4096),
    vocabSize: read.count('vocab_size', 50280),
    dState: read.count('state_size', 16, 1, 256),
    dConv: read.count('conv_kernel', 4, 1, 64),
    expand,
    dtRank: read.rank('time_step_rank'),
    convBias: read.flag('use_conv_bias', true),
    bias: read.flag('use_bias', false),
    rmsNorm: true,
    normEps: read.number('layer_norm_epsilon', 1e-5),
    tieEmbeddings: read.flag('tie_word_embeddings', true),
    dIntermediate: 0,
    layout: 'huggingface',
  }
}

/** Reads either official form. */
export function parseMambaConfig(json: unknown): MambaLMConfig {
  if (json === null || typeof json !== 'object' || Array.isArray(json))
    throw new ConfigError('(whole file)', 'a JSON object', json)
  const fields = json as Json
  if (fields.model_type !== undefined) {
    if (fields.model_type !== 'mamba') throw new ConfigError('model_type', "'mamba'", fields.model_type)
    return fromHuggingFaceConfig(fields)
  }
  if (fields.d_model === undefined)
    throw new ConfigError('d_model', 'a Mamba configuration (d_model, n_layer, ...)', undefined)
  return fromStateSpacesConfig(fields)
}

/** The config.json that official readers of this layout expect. */
export function toOfficialConfig(config: MambaLMConfig): Record<string, unknown> {
  if (config.layout === 'huggingface')
    return {
      architectures: ['MambaForCausalLM'],
      model_type: 'mamba',
      hidden_size: config.dModel,
      intermediate_size: config.expand * config.dModel,
      num_hidden_layers: config.nLayer,
      vocab_size: config.vocabSize,
      state_size: config.dState,
      conv_kernel: config.dConv,
      expand: config.expand,
      time_step_rank: config.dtRank,
      use_conv_bias: config.convBias,
      use_bias: config.bias,
      hidden_act: 'silu',
      layer_norm_epsilon: config.normEps,
      residual_in_fp32: true,
      tie_word_embeddings: config.tieEmbeddings,
    }
  const mixer = {
    ...(config.dState !== 16 && { d_state: config.dState }),
    ...(config.dConv !== 4 && { d_conv: config.dConv }),
    ...(config.expand !== 2 && { expand: config.expand }),
    ...(config.dtRank !== 'auto' && { dt_rank: config.dtRank }),
    ...(!config.convBias && { conv_bias: false }),
    ...(config.bias && { bias: true }),
  }
  return {
    d_model: config.dModel,
    d_intermediate: config.dIntermediate,
    n_layer: config.nLayer,
    vocab_size: config.vocabSize,
    ssm_cfg: mixer,
    attn_layer_idx: [],
    attn_cfg: {},
    rms_norm: config.rmsNorm,
    residual_in_fp32: true,
    fused_add_norm: true,
    pad_vocab_size_multiple: 1,
    tie_embeddings: config.tieEmbeddings,
  }
}
