// What a recorded case is to us: a config, named inputs, parameters; and what a probe makes of them. Shared by the papers'
// probes and the table of operators.

import { MambakitError } from '../errors.js'
import { add, backward, mul, sum, type Tensor } from '../tensor/index.js'

export interface CaseInputs {
  readonly config: Readonly<Record<string, unknown>>
  /** Inputs by their recorded names; int64 came as int32. */
  readonly inputs: ReadonlyMap<string, Tensor>
}

/** Answers one class of cases: named outputs, `grad.<input>` among them where `g` was given. */
export type Probe = (given: CaseInputs) => Promise<Record<string, Tensor>> | Record<string, Tensor>

/** An input that the case must have. */
export function required({ inputs }: CaseInputs, name: string): Tensor {
  const input = inputs.get(name)
  if (!input) throw new MambakitError(`case: expected an input named '${name}', got ${[...inputs.keys()].join(', ')}`)
  return input
}

/** Marks every floating-point input but the given gradients as a leaf. */
export function makeLeaves({ inputs }: CaseInputs, except: readonly string[] = []): void {
  for (const [name, input] of inputs)
    if (input.dtype === 'float32' && name !== 'g' && !name.startsWith('g.') && !except.includes(name))
      input.requiresGrad = true
}

/**
 * Adds `grad.<name>` of sum(output * g) over the outputs to them, for every leaf among the inputs. g is recorded as `g`,
 * or `g.<output>` where there are several.
 */
export function withGradients(given: CaseInputs, outputs: Record<string, Tensor>): Record<string, Tensor> {
  const terms = Object.entries(outputs).flatMap(([name, output]) => {
    const g = given.inputs.get(`g.${name}`) ?? (name === 'output' ? given.inputs.get('g') : undefined)
    return g ? [sum(mul(output, g))] : []
  })
  if (terms.length === 0) return outputs
  backward(terms.reduce((a, b) => add(a, b)))
  const grads = [...given.inputs].flatMap(([name, { grad }]) => (grad ? [[`grad.${name}`, grad] as const] : []))
  return { ...outputs, ...Object.fromEntries(grads) }
}
