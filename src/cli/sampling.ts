// The options of commands that generate text.
import { type Command, Option } from 'commander'
import type { TextOptions } from '../pipeline/session.js'
import { integerOption, numberOption } from './command.js'

/** Adds the options that say how tokens are chosen; their values together are TextOptions. */
export function addSamplingOptions(command: Command, { maxTokens }: { readonly maxTokens: number }): Command {
  return command
    .option('--max-tokens <n>', 'tokens at most', integerOption('--max-tokens'), maxTokens)
    .option('--temperature <t>', '0 takes the most likely token', numberOption('--temperature', 0), 0.8)
    .option('--top-k <k>', 'only the k most likely tokens; 0 for all', integerOption('--top-k'), 0)
    .option('--top-p <p>', 'only the most likely tokens that together reach p', numberOption('--top-p', 0, 1), 1)
    .option('--min-p <p>', 'only tokens at least p times as likely as the best', numberOption('--min-p', 0, 1), 0)
    .addOption(
      new Option('--min-p-mode <mode>', 'the usual rule, or what the official code does')
        .choices(['probability', 'mamba_ssm'])
        .default('probability'),
    )
    .option(
      '--repetition-penalty <p>',
      'makes tokens that stand in the text already less likely; 1 for none',
      numberOption('--repetition-penalty', 0),
      1,
    )
    .option('--seed <n>', 'the same seed gives the same text', integerOption('--seed'), 0)
}

export type SamplingCliOptions = Pick<
  TextOptions,
  'maxTokens' | 'temperature' | 'topK' | 'topP' | 'minP' | 'minPMode' | 'repetitionPenalty' | 'seed'
>

/** Collects the values of an option that may be given several times; for commander's option parsers. */
export const collect = (value: string, before: readonly string[] | undefined): string[] => [...(before ?? []), value]
