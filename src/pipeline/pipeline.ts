// `pipeline(task, model)`: a task as one call. The only task so far is 'text-generation'.
import { loadModel } from '#load'
import { MambakitError } from '../errors.js'
import { type GeneratedText, type GenerateTextOptions, LanguageModel } from './language-model.js'
import type { LoadModelOptions } from './load.js'
import type { TextPiece } from './session.js'

export type PipelineOptions = LoadModelOptions

export interface TextGenerationPipeline {
  /** Texts that follow one or several prompts, in their order; each is what its prompt gives alone. */
  (prompts: string | readonly string[], options?: GenerateTextOptions): Promise<GeneratedText[]>
  /** What follows a prompt, piece by piece as it is made. */
  stream(prompt: string, options?: GenerateTextOptions): AsyncGenerator<TextPiece>
  readonly model: LanguageModel
  /** Frees the model. */
  dispose(): void
}

/** Loads a model for a task: a folder, a file (in a page: an address), or a model that is loaded already. */
export async function pipeline(
  task: 'text-generation',
  model: string | LanguageModel,
  options: PipelineOptions = {},
): Promise<TextGenerationPipeline> {
  if (task !== 'text-generation')
    throw new MambakitError(`pipeline: expected task 'text-generation', got '${task}'; no other is built yet`)
  const lm = model instanceof LanguageModel ? model : await loadModel(model, options)
  const generate = (prompts: string | readonly string[], given?: GenerateTextOptions) =>
    lm.generateBatch([prompts].flat(), given)
  return Object.assign(generate, {
    stream: (prompt: string, given?: GenerateTextOptions) => lm.generatePieces(prompt, given),
    model: lm,
    dispose: () => lm.dispose(),
  })
}
