// What a language model carries from token to token, as a value: copied, saved, loaded in another process, continued.
// The file is safetensors; its metadata name the model, so that another model's state is refused.
import { saveBytes } from '#state-files'
import { MambakitError } from '../errors.js'
import { tensorsToWrite } from '../hub/module-state.js'
import { parseSafetensors, type SafetensorsReader, serializeSafetensors } from '../hub/safetensors.js'
import { cloneState, disposeState } from '../models/decoding.js'
import type { MambaState } from '../models/mamba-lm.js'
import { outsideScopes, tensorFromBytes } from '../tensor/index.js'
import { sameShape } from '../tensor/shape.js'
import type { LanguageModel } from './language-model.js'

const format = 'mambakit-state'
const version = '1'

/** A file is not a state, or not one of this model. */
export class StateError extends MambakitError {
  override name = 'StateError'
  constructor(
    readonly file: string,
    readonly fault: 'not-a-state' | 'version' | 'model' | 'dtype' | 'weights' | 'content',
    detail: string,
  ) {
    super(`${file}: ${detail}`)
  }
}

export class SequenceState implements Disposable {
  constructor(
    /** The model that made it and can continue it. */
    readonly owner: LanguageModel,
    /** One entry a layer, of constant size. */
    readonly layers: MambaState,
    /** (V): what follows. */
    readonly logits: Float32Array,
    /** Tokens that led here. */
    readonly tokens: number,
  ) {}

  /** A copy that shares nothing with it. */
  clone(): SequenceState {
    return new SequenceState(this.owner, cloneState(this.layers), this.logits.slice(), this.tokens)
  }

  /** The file as bytes. */
  async toBytes(): Promise<Uint8Array> {
    const { config, weights, dtype, description } = await this.owner.identity()
    const logits = new Uint8Array(this.logits.buffer, this.logits.byteOffset, this.logits.byteLength)
    const tensors = [
      ...tensorsToWrite(
        this.layers.flatMap(({ conv, ssm }, i) => [
          [`layers.${i}.conv`, conv] as const,
          [`layers.${i}.ssm`, ssm] as const,
        ]),
      ),
      { name: 'logits', dtype: 'F32' as const, shape: [this.logits.length], bytes: async () => logits },
    ]
    return serializeSafetensors(tensors, {
      format,
      version,
      config,
      weights,
      dtype,
      description,
      tokens: `${this.tokens}`,
    })
  }

  /** Writes the file; an older one stays until the new one is whole. Node only. */
  async save(path: string): Promise<void> {
    await saveBytes(path, await this.toBytes())
  }

  dispose(): void {
    disposeState(this.layers)
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Reads a state of `owner`. Throws a StateError where it is another model's, SafetensorsError where the file is damaged. */
export async function parseState(owner: LanguageModel, bytes: Uint8Array, file: string): Promise<SequenceState> {
  const reader = parseSafetensors(bytes, file)
  await checkOrigin(owner, reader)
  const { model } = owner
  const { backend } = model.head.weight.value
  const expected = new Map<string, readonly number[]>([['logits', [model.config.vocabSize]]])
  const { dInner, dConv, dState } = model.backbone.layers[0].mixer
  for (let i = 0; i < model.config.nLayer; i++) {
    expected.set(`layers.${i}.conv`, [1, dConv, dInner])
    expected.set(`layers.${i}.ssm`, [1, dInner, dState])
  }
  for (const name of reader.tensors.keys())
    if (!expected.has(name)) throw new StateError(file, 'content', `tensor '${name}' belongs to no state of this model`)
  for (const [name, shape] of expected) {
    const entry = reader.tensors.get(name)
    if (entry?.dtype !== 'F32' || !sameShape(entry.shape, shape)) {
      const got = entry ? `${entry.dtype} [${entry.shape}]` : 'nothing'
      throw new StateError(file, 'content', `${name}: expected F32 [${shape}], got ${got}; the file is damaged`)
    }
  }
  const layers: MambaState = []
  for (let i = 0; i < model.config.nLayer; i++) {
    const [conv, ssm] = [await reader.read(`layers.${i}.conv`), await reader.read(`layers.${i}.ssm`)]
    layers.push(
      outsideScopes(() => ({
        conv: tensorFromBytes(conv, [1, dConv, dInner], 'float32', backend),
        ssm: tensorFromBytes(ssm, [1, dInner, dState], 'float32', backend),
      })),
    )
  }
  const logits = new Float32Array((await reader.read('logits')).slice().buffer)
  const tokens = Number(reader.metadata.tokens)
  return new SequenceState(owner, layers, logits, Number.isSafeInteger(tokens) && tokens > 0 ? tokens : 0)
}

/** Throws a StateError unless the file says that this very model made it. */
async function checkOrigin(owner: LanguageModel, { file, metadata }: SafetensorsReader): Promise<void> {
  if (metadata.format !== format)
    throw new StateError(file, 'not-a-state', `expected a state saved by mambakit, got another safetensors file`)
  if (metadata.version !== version)
    throw new StateError(
      file,
      'version',
      `expected a state file of version ${version}, got version ${metadata.version}; read the text again with this mambakit`,
    )
  const own = await owner.identity()
  const both = `it is of ${metadata.description ?? 'an unnamed model'}, the model loaded is ${own.description}`
  if (metadata.config !== own.config) throw new StateError(file, 'model', `the state is another model's: ${both}`)
  if (metadata.dtype !== own.dtype)
    throw new StateError(
      file,
      'dtype',
      `the state was made with weights in ${metadata.dtype}, these are ${own.dtype}; load the same checkpoint`,
    )
  if (metadata.weights !== own.weights)
    throw new StateError(
      file,
      'weights',
      `the state was made with other weights of the same shape; load the checkpoint that it was made with`,
    )
}
