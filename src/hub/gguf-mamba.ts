// A Mamba language model as llama.cpp reads it from GGUF: its tensor names, metadata and vocabulary.
import { MambakitError } from '../errors.js'
import type { MambaLM } from '../models/mamba-lm.js'
import { MambaMixer } from '../ssm/mamba.js'
import type { Tensor } from '../tensor/index.js'
import type { GgufTensor, GgufType, GgufValue } from './gguf.js'

/** Tokens in the spelling of byte-level BPE, and how they are joined. */
export interface GgufVocabulary {
  readonly tokens: readonly string[]
  /** Per token: 1 text, 3 special, 4 added by hand, 5 unused. */
  readonly kinds: readonly number[]
  readonly merges: readonly string[]
  readonly endOfText: number
}

/** The characters that byte-level BPE writes bytes as: printable ones as themselves, the others from U+0100 on. */
export function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++))
}

/** The vocabulary of the byte tokenizer, filled up with unused tokens to `size`. */
export function byteVocabulary(size: number): GgufVocabulary {
  const tokens = byteCharacters().slice(0, size)
  const kinds = tokens.map((_, byte) => (byte === 0 ? 3 : 1))
  return { ...fillUp(tokens, kinds, size), merges: [], endOfText: 0 }
}

/**
 * The vocabulary of a parsed tokenizer.json of byte-level BPE that splits text as GPT-2 does: what the metadata below tell
 * llama.cpp. Throws a MambakitError where it is of another kind or too large.
 */
export function vocabularyOf(
  tokenizer: Readonly<Record<string, unknown>>,
  size: number,
  endOfText: number | null,
): GgufVocabulary {
  const model = tokenizer.model as { type?: unknown; vocab?: Record<string, number>; merges?: (string | string[])[] }
  const added = (tokenizer.added_tokens ?? []) as { id: number; content: string; special: boolean }[]
  if (model?.type !== 'BPE' || !model.vocab || !model.merges)
    throw new MambakitError(
      `tokenizer.json: expected byte-level BPE to write GGUF, got model type ${JSON.stringify(model?.type)}`,
    )
  const split = tokenizer.pre_tokenizer as { type?: unknown; add_prefix_space?: unknown; use_regex?: unknown } | null
  if (split?.type !== 'ByteLevel' || split.add_prefix_space === true || split.use_regex === false)
    throw new MambakitError(
      `tokenizer.json: expected text split as GPT-2 does (pre_tokenizer ByteLevel) to write GGUF, got ${JSON.stringify(split)?.slice(0, 80)}`,
    )
  const tokens: string[] = []
  const kinds: number[] = []
  for (const [text, id] of Object.entries(model.vocab)) [tokens[id], kinds[id]] = [text, 1]
  for (const { id, content, special } of added) [tokens[id], kinds[id]] = [content, special ? 3 : 4]
  if (tokens.length > size)
    throw new MambakitError(
      `tokenizer.json: expected at most ${size} tokens, the model's vocabulary, got ${tokens.length}`,
    )
  const merges = model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')))
  return { ...fillUp(tokens, kinds, size), merges, endOfText: endOfText ?? 0 }
}

function fillUp(tokens: readonly string[], kinds: readonly number[], size: number) {
  const ids = Array.from({ length: size }, (_, id) => id)
  return {
    tokens: ids.map((id) => tokens[id] ?? `[PAD${id}]`),
    kinds: ids.map((id) => (tokens[id] === undefined ? 5 : kinds[id])),
  }
}

/** Whose names a layer's tensors have in GGUF, and which are large enough to be quantised. */
const layerTensors: readonly (readonly [own: string, gguf: string, large?: boolean])[] = [
  ['norm.weight', 'attn_norm.weight'],
  ['mixer.in_proj.weight', 'ssm_in.weight', true],
  ['mixer.conv1d.weight', 'ssm_conv1d.weight'],
  ['mixer.conv1d.bias', 'ssm_conv1d.bias'],
  ['mixer.x_proj.weight', 'ssm_x.weight'],
  ['mixer.dt_proj.weight', 'ssm_dt.weight'],
  ['mixer.dt_proj.bias', 'ssm_dt.bias'],
  ['mixer.A_log', 'ssm_a'],
  ['mixer.D', 'ssm_d'],
  ['mixer.out_proj.weight', 'ssm_out.weight', true],
]

/** The tensors of a model; `dtype` is that of the large ones. Throws a MambakitError for what llama.cpp has no place for. */
export function ggufTensors(model: MambaLM, dtype: GgufType): GgufTensor[] {
  const { config } = model
  const refuse = (what: string): never => {
    throw new MambakitError(`GGUF: llama.cpp's mamba has no place for ${what}`)
  }
  if (config.expand !== 2) refuse(`an expansion by ${config.expand}; it is always 2`)
  if (config.bias) refuse('biases of in_proj and out_proj')
  if (!config.convBias) refuse('a convolution without bias')
  if (!config.rmsNorm) refuse('LayerNorm')
  if (config.dIntermediate > 0) refuse('MLPs between the mixers')
  if (!model.backbone.layers.every(({ mixer }) => mixer instanceof MambaMixer)) refuse('mixers other than Mamba')
  const parameters = new Map(model.namedParameters())
  const tensor = (own: string, name: string, large = false): GgufTensor => {
    const { shape, value } = parameters.get(own)!
    // The taps of a depth-wise convolution: (D, 1, K) as (D, K).
    const flat = shape.length === 3 ? [shape[0], shape[2]] : shape
    const values = async () => (own.endsWith('A_log') ? decay(await floats(value)) : floats(value))
    return { name, shape: flat, type: large ? dtype : 'F32', values }
  }
  const embedding = config.layout === 'huggingface' ? 'backbone.embeddings.weight' : 'backbone.embedding.weight'
  const tensors = [
    tensor(embedding, 'token_embd.weight', true),
    ...Array.from({ length: config.nLayer }, (_, i) =>
      layerTensors.map(([own, name, large]) => tensor(`backbone.layers.${i}.${own}`, `blk.${i}.${name}`, large)),
    ).flat(),
    tensor('backbone.norm_f.weight', 'output_norm.weight'),
  ]
  return config.tieEmbeddings ? tensors : [...tensors, tensor('lm_head.weight', 'output.weight', true)]
}

const floats = async (tensor: Tensor) => Float32Array.from(await tensor.data())

/** A = -exp(A_log). */
const decay = (logs: Float32Array) => logs.map((x) => -Math.exp(x))

/** What llama.cpp needs to know of the model. */
export function ggufMetadata(
  model: MambaLM,
  name: string,
  dtype: GgufType,
  vocabulary: GgufVocabulary,
): Record<string, GgufValue> {
  const { config } = model
  const { dInner } = model.backbone.layers[0].mixer
  const rank = config.dtRank === 'auto' ? Math.ceil(config.dModel / 16) : config.dtRank
  return {
    'general.architecture': { string: 'mamba' },
    'general.name': { string: name },
    'general.file_type': { uint32: dtype === 'F32' ? 0 : 7 },
    'general.quantization_version': { uint32: 2 },
    // A recurrent model has no longest context; this is what llama.cpp's own converter writes.
    'mamba.context_length': { uint32: 2 ** 20 },
    'mamba.embedding_length': { uint32: config.dModel },
    'mamba.feed_forward_length': { uint32: 0 },
    'mamba.attention.head_count': { uint32: 0 },
    'mamba.block_count': { uint32: config.nLayer },
    'mamba.ssm.conv_kernel': { uint32: config.dConv },
    'mamba.ssm.inner_size': { uint32: dInner },
    'mamba.ssm.state_size': { uint32: config.dState },
    'mamba.ssm.time_step_rank': { uint32: rank },
    'mamba.attention.layer_norm_rms_epsilon': { float32: config.normEps },
    'mamba.ssm.dt_b_c_rms': { bool: false },
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: 'mpt' },
    'tokenizer.ggml.tokens': { strings: vocabulary.tokens },
    'tokenizer.ggml.token_type': { int32s: vocabulary.kinds },
    'tokenizer.ggml.merges': { strings: vocabulary.merges },
    'tokenizer.ggml.bos_token_id': { uint32: vocabulary.endOfText },
    'tokenizer.ggml.eos_token_id': { uint32: vocabulary.endOfText },
    'tokenizer.ggml.add_bos_token': { bool: false },
  }
}
