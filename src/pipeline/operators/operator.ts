// What the tables of operators share: how an operator is called, and PyTorch's layouts turned to ours.
import type { Module } from '../../nn/index.js'
import type { CaseInputs } from '../../papers/probe.js'
import * as T from '../../tensor/index.js'

export type Arguments = Readonly<Record<string, unknown>>
export type Operator = (given: CaseInputs, args: Arguments) => T.Tensor | Record<string, T.Tensor>
export type OperatorTable = Readonly<Record<string, Operator>>

export const optional = ({ inputs }: CaseInputs, name: string): T.Tensor | null => inputs.get(name) ?? null

/** (N, C, ...) -> (N, ..., C) */
export function channelsLast(x: T.Tensor): T.Tensor {
  return x.rank <= 2 ? x : T.permute(x, [0, ...Array.from({ length: x.rank - 2 }, (_, i) => i + 2), 1])
}

/** (N, ..., C) -> (N, C, ...) */
export function channelsFirst(x: T.Tensor): T.Tensor {
  return x.rank <= 2 ? x : T.permute(x, [0, x.rank - 1, ...Array.from({ length: x.rank - 2 }, (_, i) => i + 1)])
}

/** An operator of images under PyTorch's layout from one under ours. */
export const onImages =
  (apply: (x: T.Tensor, args: Arguments) => T.Tensor): Operator =>
  ({ inputs }, args) =>
    channelsFirst(apply(channelsLast(inputs.get('input')!), args))

/** A module whose parameters are the inputs of their names; those that are not given have their first values. */
export function moduleOf<M extends Module>(module: M, { inputs }: CaseInputs): M {
  const [any] = inputs.values()
  module.initialize({ backend: any.backend })
  for (const [name, parameter] of module.namedParameters()) {
    const given = inputs.get(name)
    if (given) parameter.value = given
  }
  return module
}
