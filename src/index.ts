// The public surface of mambakit. What is not exported here is internal.
export { loadModel } from '#load'
export { loadImageModel } from '#load-image'
export { convertModel, saveModel } from '#save'
export { train } from '#train'
export type { DeviceChoice } from './backend/open.js'
export {
  DeviceError,
  DtypeError,
  IndexError,
  MambakitError,
  MissingKernelError,
  ShapeError,
} from './errors.js'
export { languageModels } from './models/catalogue.js'
export { cloneState, Decoder, disposeState } from './models/decoding.js'
export {
  type GeneratedToken,
  type GenerateOptions,
  generateBatch,
  generateTokens as generate,
} from './models/generation.js'
export { type MambaLMConfig, mambaDefaults, parseMambaConfig } from './models/mamba-config.js'
export { type ForwardOptions, MambaLM, type MambaState } from './models/mamba-lm.js'
export type { SamplingOptions, TokenScore } from './models/sampling.js'
export * from './nn/index.js'
export { type UseDeviceOptions, useDevice } from './pipeline/device.js'
export {
  type ClassifyOptions,
  type ImageInput,
  ImageModel,
  type LabelScore,
} from './pipeline/image-model.js'
export { type GeneratedText, type GenerateTextOptions, LanguageModel } from './pipeline/language-model.js'
export type { LoadModelOptions } from './pipeline/load.js'
export {
  type ImageClassificationPipeline,
  type PipelineOptions,
  pipeline,
  type TextGenerationPipeline,
} from './pipeline/pipeline.js'
export type { ConvertModelOptions, SavedModel, SaveModelOptions } from './pipeline/save.node.js'
export { type TextOptions, type TextPiece, TextSession } from './pipeline/session.js'
export { SequenceState, StateError } from './pipeline/state.js'
export type { TrainingOptions } from './pipeline/train.node.js'
export type { ImageClassifierTraining } from './pipeline/train-image-classifier.node.js'
export type { LanguageModelTraining } from './pipeline/train-language-model.node.js'
export type { RunEvent, TrainingRun } from './pipeline/training-run.node.js'
export { MambaMixer, type MambaMixerConfig, type MambaMixerState, type MixerOptions } from './ssm/mamba.js'
export * from './tensor/index.js'
export { AdamW, type AdamWOptions } from './train/adamw.js'
export { ExponentialAverage } from './train/average.js'
export { makeSchedule, type Schedule, type ScheduleOptions } from './train/schedule.js'
export { NonFiniteError, Trainer, type TrainerOptions, type TrainingEvent, type TrainingTask } from './train/trainer.js'
