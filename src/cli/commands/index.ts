// Every command, in the order in which --help lists them.
import type { CliCommand } from '../command.js'
import { bench } from './bench.js'
import { chat } from './chat.js'
import { convert } from './convert.js'
import { digest } from './digest.js'
import { doctor } from './doctor.js'
import { download } from './download.js'
import { evaluate } from './eval.js'
import { generate } from './generate.js'
import { info } from './info.js'
import { papers } from './papers.js'
import { predict } from './predict.js'
import { reproduce } from './reproduce.js'
import { run } from './run.js'
import { studio } from './studio.js'
import { train } from './train.js'

export const commands: readonly CliCommand[] = [
  train,
  generate,
  chat,
  convert,
  evaluate,
  predict,
  info,
  download,
  run,
  papers,
  reproduce,
  studio,
  digest,
  bench,
  doctor,
]
