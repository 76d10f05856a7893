// Language-model presets: the published sizes, and small ones to train on a laptop.
import { type MambaLMConfig, mambaDefaults } from './mamba-config.js'

export interface LanguageModelPreset {
  readonly config: MambaLMConfig
  /** Parameters, shared ones once; a test builds every row and counts. */
  readonly parameters: number
  /** Where the numbers come from, or what the preset is for. */
  readonly note: string
}

const published = (dModel: number, nLayer: number, parameters: number): LanguageModelPreset => ({
  config: { ...mambaDefaults, dModel, nLayer, vocabSize: 50280 },
  parameters,
  note: 'state-spaces/mamba, arXiv 2312.00752',
})
const bytes = (dModel: number, nLayer: number, parameters: number): LanguageModelPreset => ({
  config: { ...mambaDefaults, dModel, nLayer, vocabSize: 256 },
  parameters,
  note: 'byte-level, for text of your own',
})

export const languageModels: Readonly<Record<string, LanguageModelPreset>> = {
  'mamba-tiny': bytes(128, 4, 499_328),
  'mamba-small': bytes(192, 6, 1_559_616),
  'mamba-130m': published(768, 24, 129_135_360),
  'mamba-370m': published(1024, 48, 371_516_416),
  'mamba-790m': published(1536, 48, 793_204_224),
  'mamba-1.4b': published(2048, 48, 1_372_178_432),
  'mamba-2.8b': published(2560, 64, 2_768_345_600),
}
