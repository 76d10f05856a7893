// What a recorded case is to us: a config, named inputs, parameters; and what a probe makes of them. Shared by the papers'
// probes and the table of operators.

import { MambakitError } from '../errors.js'
import type { Module } from '../nn/index.js'
import { add, backward, mul, noGrad, permute, sum, type Tensor } from '../tensor/index.js'

export interface CaseInputs {
  readonly config: Readonly<Record<string, unknown>>
  /** Inputs by their recorded names; int64 came as int32. */
  readonly inputs: ReadonlyMap<string, Tensor>
}

/** Answers one class of cases: named outputs, `grad.<input>` among them where `g` was given. */
export type Probe = (given: CaseInputs) => Promise<Record<string, Tensor>> | Record<string, Tensor>

/** What cases of one official class are answered by: a module whose weights the case brings, if it has any, and the answer. */
export interface ProbedPart {
  readonly module?: Module
  readonly answer: Probe
}

/** A paper's parts by their official class, each built from a case's config. */
export type PartProbes = Readonly<Record<string, (config: CaseInputs['config']) => ProbedPart>>

/** The integer inputs of a case as plain numbers, by name: sizes of grids and such. */
export type Integers = Readonly<Record<string, readonly number[]>>

/** A part that one forward pass in evaluation mode answers, with the gradients of every parameter and of the input named `leaf`. */
export function modulePart<M extends Module>(
  module: M,
  leaf: string,
  forward: (module: M, input: Tensor, integers: Integers) => Record<string, Tensor>,
): ProbedPart {
  return {
    module,
    answer: async (given) => {
      module.eval()
      const input = required(given, leaf)
      const integers: Record<string, readonly number[]> = {}
      for (const [name, tensor] of given.inputs)
        if (tensor.dtype === 'int32') integers[name] = [...((await tensor.data()) as Int32Array)]
      if (!given.inputs.has('g')) return noGrad(() => forward(module, input, integers))
      input.requiresGrad = true
      const outputs = withGradients(given, forward(module, input, integers))
      const grads = [...module.namedParameters()].flatMap(([name, parameter]) => {
        const { grad } = parameter.value
        return grad ? [[`grad.${name}`, grad] as const] : []
      })
      return { ...outputs, ...Object.fromEntries(grads), 'grad.input': input.grad! }
    },
  }
}

/** Images and maps of the cases (B, C, H, W) <-> ours (B, H, W, C). */
export const channelsLast = (images: Tensor): Tensor => permute(images, [0, 2, 3, 1])
export const channelsFirst = (maps: Tensor): Tensor => permute(maps, [0, 3, 1, 2])

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
