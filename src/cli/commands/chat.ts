// `mambakit chat MODEL`: a conversation whose history is the recurrent state: a turn reads only what is new, and a
// conversation of any length is kept in a few megabytes.
import { createInterface } from 'node:readline'
import pc from 'picocolors'
import { MambakitError } from '../../errors.js'
import type { LanguageModel } from '../../pipeline/language-model.js'
import type { TextSession } from '../../pipeline/session.js'
import type { CliCommand } from '../command.js'
import { explainError } from '../errors.js'
import { standardInputLines } from '../input.js'
import { addModelArgument, loadChosenModel, type ModelOptions } from '../model.js'
import { addSamplingOptions, type SamplingCliOptions } from '../sampling.js'

interface ChatCliOptions extends SamplingCliOptions, ModelOptions {
  system: string
  user: string
  assistant: string
  load?: string
}

const help = `/reset       forget everything
/save FILE   keep the conversation
/load FILE   go on with one that was kept
/quit        leave (or Ctrl-D); Ctrl-C stops an answer`

export const chat: CliCommand = {
  name: 'chat',
  summary: 'talk with a model; its memory of the conversation is its state',
  examples: [
    ['mambakit chat runs/notes', 'a conversation as "User: ... Assistant: ..."'],
    ['mambakit chat runs/notes --system "A dialogue at sea." --user Starbuck --assistant Ahab', 'other names'],
    ['mambakit chat runs/notes --load talk.state', 'go on with a conversation that /save kept'],
  ],
  configure(command, globals) {
    addModelArgument(command)
      .option('--system <text>', 'what stands before the conversation', '')
      .option('--user <name>', 'your name in the text that the model reads', 'User')
      .option('--assistant <name>', 'its name', 'Assistant')
      .option('--load <file>', 'go on with a conversation that /save kept')
    addSamplingOptions(command, { maxTokens: 512 }).action(async (path: string, options: ChatCliOptions) => {
      const { model } = await loadChosenModel(path, globals(), options)
      const conversation = new Conversation(model, options)
      if (options.load !== undefined) await conversation.load(options.load)
      await converse(conversation)
    })
  },
}

const note = (line: string) => process.stderr.write(`${line}\n`)

/** The text that the model reads and writes: turns of "name: text", each on a line of its own. */
class Conversation {
  #session: TextSession
  constructor(
    private readonly model: LanguageModel,
    private readonly options: ChatCliOptions,
  ) {
    this.#session = model.session()
  }

  /** Pieces of the answer to a message. */
  async *answer(message: string, signal: AbortSignal): AsyncGenerator<string> {
    const { system, user, assistant, ...sampling } = this.options
    const before = this.#session.tokens === 0 ? system && `${system}\n` : '\n'
    await this.#session.read(`${before}${user}: ${message}\n${assistant}:`, { signal })
    // A turn that begins is the end of the answer; the session then stands before it.
    const stop = [`\n${user}:`, `\n${assistant}:`]
    let blank = true
    for await (const { text } of this.#session.generate({ ...sampling, stop, signal })) {
      const shown: string = blank ? text.trimStart() : text
      if (shown) yield shown
      blank &&= shown === ''
    }
  }

  reset(): void {
    this.#session.dispose()
    this.#session = this.model.session()
  }

  async save(file: string): Promise<void> {
    if (this.#session.tokens === 0) throw new MambakitError('/save: nothing was said yet')
    using state = await this.#session.state()
    await state.save(file)
    note(`saved ${state.tokens} tokens of conversation in ${file}`)
  }

  async load(file: string): Promise<void> {
    using state = await this.model.loadState(file)
    this.#session.dispose()
    this.#session = this.model.session(state)
    note(`going on after ${state.tokens} tokens`)
  }
}

/** Reads messages and commands until the end of the input. */
async function converse(conversation: Conversation): Promise<void> {
  const terminal = process.stdin.isTTY === true
  const lines = terminal
    ? createInterface({ input: process.stdin, output: process.stdout, prompt: pc.bold('> ') })
    : null
  let answering: AbortController | null = null
  const interrupt = () => {
    if (answering) answering.abort()
    else if (lines) lines.close()
    else process.exit(130)
  }
  process.on('SIGINT', interrupt)
  lines?.on('SIGINT', interrupt)
  if (terminal) note('a message and Enter; /help lists what else there is')
  lines?.prompt()
  try {
    for await (const line of lines ?? standardInputLines()) {
      const message = line.trim()
      if (message === '/quit') break
      if (message.startsWith('/')) await obey(conversation, message)
      else if (message) {
        answering = new AbortController()
        await print(conversation.answer(message, answering.signal), answering.signal)
        answering = null
      }
      lines?.prompt()
    }
  } finally {
    process.off('SIGINT', interrupt)
    lines?.close()
  }
}

async function print(pieces: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  try {
    for await (const piece of pieces) process.stdout.write(piece)
  } catch (error) {
    if (!signal.aborted) throw error
    process.stdout.write(pc.dim(' [stopped]'))
  }
  process.stdout.write('\n')
}

/** A mistake in a command is told, and the conversation goes on. */
async function obey(conversation: Conversation, line: string): Promise<void> {
  const [, command, argument] = /^(\/\S*)\s*(.*)$/.exec(line)!
  try {
    if (command === '/reset') conversation.reset()
    else if (command === '/help') note(help)
    else if (command !== '/save' && command !== '/load')
      throw new MambakitError(`${command}: no such command; /help lists them`)
    else if (!argument) throw new MambakitError(`${command}: expected a file`)
    else if (command === '/save') await conversation.save(argument)
    else await conversation.load(argument)
  } catch (error) {
    note(`${pc.red('mambakit:')} ${explainError(error, false)}`)
  }
}
