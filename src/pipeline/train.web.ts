// Stands for training on files where there are none.
import { MambakitError } from '../errors.js'

export function train(): never {
  throw new MambakitError('train() reads files and needs Node; in a page give a Trainer a task of your own')
}
