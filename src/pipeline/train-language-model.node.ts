// Training a language model on the user's text, bases or sound. Node only.
import { openTokenFiles, type TokenKind } from '../data/tokens.node.js'
import { LanguageModeling, type TokenBatch } from '../tasks/language-modeling.js'
import { sequenceModel } from './sequence-models.node.js'
import type { CommonTraining, TrainingSetup } from './training-run.node.js'

export interface LanguageModelTraining extends CommonTraining {
  /** Text files, folders or .jsonl files; FASTA or WAV files for other tokens. */
  data: string | readonly string[]
  /** Text to measure on. Default: the last 10 % of the data. */
  heldOut?: readonly string[]
  /** Field of a JSON-lines record that holds its text. Default 'text'. */
  field?: string
  /** 'bases' (one token a base of DNA), 'mulaw' (one a sample of sound), or 'bytes' of text. Default 'bytes'. */
  tokens?: TokenKind
  /** A preset's name or a config.json. Default 'mamba-small'. */
  model?: string
  /** Windows a batch. Default 8. */
  batch?: number
  /** Tokens a window. Default 256. */
  length?: number
  /** Held-out tokens to measure on at most. Default 262144. */
  evaluationTokens?: number
}

export async function setUpLanguageModel(options: LanguageModelTraining): Promise<TrainingSetup<TokenBatch>> {
  const { data, heldOut, field, tokens = 'bytes', model: name = 'mamba-small', seed = 0 } = options
  const { batch = 8, length = 256, evaluationTokens = 262_144 } = options
  const { model, config } = await sequenceModel(name, tokens)
  const text = await openTokenFiles(tokens, [data].flat() as string[], { heldOut, field })
  return {
    model,
    config,
    settings: { batch, length, trainingTokens: text.train.length },
    defaults: { learningRate: 0.003, betas: [0.9, 0.95], weightDecay: 0.1, clipNorm: 1, finalRate: 0.01 },
    training: text.train.length,
    heldOut: text.heldOut.length,
    begin: async () => new LanguageModeling(model, text, { length, batch, seed, evaluationTokens }),
    close: () => text.close(),
  }
}
