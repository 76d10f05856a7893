// Training a language model on the user's text, bases or sound. Node only.
import { createHash } from 'node:crypto'
import { splitHeldOut, type TextSplit } from '../data/text.js'
import { tokenize } from '../data/tokenized.js'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { openTokenFiles, type TokenKind } from '../data/tokens.node.js'
import { MambakitError } from '../errors.js'
import { LanguageModeling, type TokenBatch } from '../tasks/language-modeling.js'
import { loadTokenizer } from './load.node.js'
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
  /**
   * Whose tokens text becomes: a folder with tokenizer.json, such a file, or a hub id. It is saved with the model. The ids
   * of the whole text are held in memory. Default: bytes.
   */
  tokenizer?: Tokenizer | string
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
  const { tokens = 'bytes', model: name = 'mamba-small', seed = 0 } = options
  const { batch = 8, length = 256, evaluationTokens = 262_144 } = options
  const tokenizer = await chosenTokenizer(options, tokens)
  const { model, config } = await sequenceModel(name, tokens, tokenizer)
  const { text, bytesPerToken, close } = await openTokens(options, tokens, tokenizer)
  return {
    model,
    config,
    files: tokenizer?.files,
    settings: { batch, length, trainingTokens: text.train.length, tokenizer: tokenizer && hashOf(tokenizer) },
    defaults: { learningRate: 0.003, betas: [0.9, 0.95], weightDecay: 0.1, clipNorm: 1, finalRate: 0.01 },
    training: text.train.length,
    heldOut: text.heldOut.length,
    begin: async () => new LanguageModeling(model, text, { length, batch, seed, evaluationTokens, bytesPerToken }),
    close,
  }
}

/** The tokenizer that is asked for; null for bytes and for what is no text. */
async function chosenTokenizer(options: LanguageModelTraining, tokens: TokenKind): Promise<Tokenizer | null> {
  const { tokenizer: chosen } = options
  if (chosen === undefined) return null
  if (tokens !== 'bytes')
    throw new MambakitError(`tokenizer: reads text; leave it out, or tokens '${tokens}', which are no text`)
  const tokenizer = typeof chosen === 'string' ? await loadTokenizer(chosen) : chosen
  return tokenizer === byteTokenizer ? null : tokenizer
}

/** The user's files as tokens, with the bytes that a token of text stands for on average. */
async function openTokens(options: LanguageModelTraining, tokens: TokenKind, tokenizer: Tokenizer | null) {
  const { data, heldOut, field } = options
  const paths = [data].flat() as string[]
  const files = await openTokenFiles(tokens, paths, { heldOut, field, ...(tokenizer && { heldOutFraction: 0 }) })
  const close = () => files.close()
  if (!tokenizer) return { text: files as TextSplit, close }
  try {
    const train = await tokenize(files.train, tokenizer)
    // The text is cut between tokens, so that no character is.
    const text = heldOut ? { train, heldOut: await tokenize(files.heldOut, tokenizer) } : splitHeldOut(train)
    const measured = heldOut ? [files.heldOut, text.heldOut] : [files.train, train]
    return { text, bytesPerToken: measured[0].length / measured[1].length, close }
  } catch (error) {
    await close()
    throw error
  }
}

const hashOf = ({ files }: Tokenizer) => createHash('sha256').update(JSON.stringify(files)).digest('hex')
