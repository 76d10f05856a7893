// `pipeline(task, model)`: a task as one call. A task is a line of the table.
import { loadModel } from '#load'
import { loadImageModel } from '#load-image'
import { MambakitError } from '../errors.js'
import { type ClassifyOptions, type ImageInput, ImageModel, type LabelScore } from './image-model.js'
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

export interface ImageClassificationPipeline {
  /** The best labels of an image with their probabilities: a path (in Node), the bytes of a file, a Blob, or pixels. */
  (image: ImageInput, options?: ClassifyOptions): Promise<LabelScore[]>
  /** The same for several images, computed in batches. */
  (images: readonly ImageInput[], options?: ClassifyOptions): Promise<LabelScore[][]>
  readonly model: ImageModel
  /** Frees the model. */
  dispose(): void
}

/** What a task's model is, and what its pipeline is. */
export interface Pipelines {
  'text-generation': { readonly model: LanguageModel; readonly pipeline: TextGenerationPipeline }
  'image-classification': { readonly model: ImageModel; readonly pipeline: ImageClassificationPipeline }
}

/** The model itself, or the one that lies where a text says. Throws MambakitError for anything else. */
async function given<Model>(
  task: string,
  model: string | Model,
  kind: abstract new (...args: never) => Model,
  load: (where: string) => Promise<Model>,
): Promise<Model> {
  if (typeof model === 'string') return load(model)
  if (model instanceof kind) return model
  throw new MambakitError(`pipeline: expected a model for '${task}': where it is, or the model itself`)
}

const tasks: {
  readonly [Task in keyof Pipelines]: (
    model: string | Pipelines[Task]['model'],
    options: PipelineOptions,
  ) => Promise<Pipelines[Task]['pipeline']>
} = {
  async 'text-generation'(model, options) {
    const lm = await given('text-generation', model, LanguageModel, (where) => loadModel(where, options))
    const generate = (prompts: string | readonly string[], how?: GenerateTextOptions) =>
      lm.generateBatch([prompts].flat(), how)
    return Object.assign(generate, {
      stream: (prompt: string, how?: GenerateTextOptions) => lm.generatePieces(prompt, how),
      model: lm,
      dispose: () => lm.dispose(),
    })
  },
  async 'image-classification'(model, options) {
    const load = (where: string) => loadImageModel(where, options)
    const loaded = await given('image-classification', model, ImageModel, load)
    const classify = async (images: ImageInput | readonly ImageInput[], how?: ClassifyOptions) => {
      if (Array.isArray(images)) return loaded.classify(images, how)
      return (await loaded.classify([images as ImageInput], how))[0]
    }
    return Object.assign(classify as ImageClassificationPipeline, { model: loaded, dispose: () => loaded.dispose() })
  },
}

/** Loads a model for a task: a folder, a file (in a page: an address), or a model that is loaded already. */
export async function pipeline<Task extends keyof Pipelines>(
  task: Task,
  model: string | Pipelines[Task]['model'],
  options: PipelineOptions = {},
): Promise<Pipelines[Task]['pipeline']> {
  if (!Object.hasOwn(tasks, task))
    throw new MambakitError(
      `pipeline: expected task ${Object.keys(tasks)
        .map((name) => `'${name}'`)
        .join(' or ')}, got '${task}'; no other is built yet`,
    )
  return tasks[task](model, options)
}
