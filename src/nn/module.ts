// Modules: trees of named parameters, buffers and submodules. A new module allocates nothing; its parameters get values
// from `initialize` or from a checkpoint, so a model of any size can be built, counted and described on a laptop.
import { type Backend, bytesPerElement, type Dtype } from '../backend/types.js'
import { MambakitError, ShapeError } from '../errors.js'
import {
  defaultBackend,
  keep,
  noGrad,
  outsideScopes,
  RandomStream,
  scope,
  type Tensor,
  withBackend,
  withRandom,
} from '../tensor/index.js'
import { elementCount, type Shape, sameShape } from '../tensor/shape.js'

/** Makes the first values of a parameter of `shape` on the default backend from the default random stream. */
export type Initializer = (shape: Shape) => Tensor

export interface ParameterOptions {
  /** Default float32. A loaded parameter keeps its file's dtype. */
  dtype?: Dtype
  /** Whether weight decay applies. Default true. */
  decay?: boolean
}

/** A named tensor of a module. It has a value once initialised or loaded. */
export class Parameter {
  #value: Tensor | null = null
  readonly dtype: Dtype
  readonly decay: boolean
  constructor(
    readonly shape: Shape,
    readonly initializer: Initializer,
    /** False for buffers: values that training statistics set, not gradients. */
    readonly trainable: boolean,
    options: ParameterOptions,
  ) {
    this.dtype = options.dtype ?? 'float32'
    this.decay = options.decay ?? true
  }
  get size(): number {
    return elementCount(this.shape)
  }
  get bytes(): number {
    return this.size * bytesPerElement[this.#value?.dtype ?? this.dtype]
  }
  get hasValue(): boolean {
    return this.#value !== null
  }
  /** The tensor. Throws if the module was neither initialised nor loaded. */
  get value(): Tensor {
    if (!this.#value) throw new MambakitError('a parameter has no value yet; call initialize() or load a checkpoint')
    return this.#value
  }
  /** Takes over a tensor of this parameter's shape; the one before is disposed. */
  set value(tensor: Tensor) {
    if (!sameShape(tensor.shape, this.shape))
      throw new ShapeError('parameter', [tensor.shape, this.shape], 'expected a value of the declared shape')
    this.#value?.dispose()
    this.#value = keep(tensor)
    this.#value.requiresGrad = this.trainable
  }
  dispose(): void {
    this.#value?.dispose()
    this.#value = null
  }
}

export interface InitializeOptions {
  /** Default 0. */
  seed?: number
  /** Default: the default device. */
  backend?: Backend
}

export abstract class Module {
  readonly #parameters = new Map<string, Parameter>()
  readonly #children = new Map<string, Module>()
  /** True between train() and eval(); dropout and batch statistics depend on it. */
  training = true

  /** Declares a trainable tensor under its official name. */
  protected parameter(name: string, shape: Shape, initializer: Initializer, options: ParameterOptions = {}): Parameter {
    return this.share(name, new Parameter(shape, initializer, true, options))
  }
  /** Declares a tensor that is saved but not trained. */
  protected buffer(name: string, shape: Shape, initializer: Initializer, options: ParameterOptions = {}): Parameter {
    return this.share(name, new Parameter(shape, initializer, false, options))
  }
  /** Declares a parameter that another module owns too; it is stored under both names and counted once. */
  protected share(name: string, parameter: Parameter): Parameter {
    this.#parameters.set(name, parameter)
    return parameter
  }
  /** Declares a submodule under its official name. */
  protected child<M extends Module>(name: string, module: M): M {
    this.#children.set(name, module)
    return module
  }
  /** Declares submodules name.0, name.1, ... */
  protected childList<M extends Module>(name: string, modules: readonly M[]): readonly M[] {
    modules.forEach((module, i) => {
      this.#children.set(`${name}.${i}`, module)
    })
    return modules
  }

  /** Every parameter and buffer with its full official name, in order of declaration; shared ones under each name. */
  *namedParameters(prefix = ''): IterableIterator<[string, Parameter]> {
    for (const [name, parameter] of this.#parameters) yield [prefix + name, parameter]
    for (const [name, child] of this.#children) yield* child.namedParameters(`${prefix}${name}.`)
  }
  /** This module and every module below it, with their full names. */
  *namedModules(prefix = ''): IterableIterator<[string, Module]> {
    yield [prefix.slice(0, -1), this]
    for (const [name, child] of this.#children) yield* child.namedModules(`${prefix}${name}.`)
  }
  /** Every trainable parameter once. */
  parameters(): Parameter[] {
    return [...new Set([...this.namedParameters()].map(([, parameter]) => parameter))].filter((p) => p.trainable)
  }
  /** Number of trainable values, shared ones once. */
  parameterCount(): number {
    return this.parameters().reduce((n, parameter) => n + parameter.size, 0)
  }

  /** Gives every parameter its first value, drawn in order of declaration from a stream of `seed`. */
  initialize(options: InitializeOptions = {}): this {
    const backend = options.backend ?? defaultBackend()
    const stream = new RandomStream(options.seed ?? 0)
    const all = new Set([...this.namedParameters()].map(([, parameter]) => parameter))
    const draw = () => {
      for (const parameter of all) parameter.value = noGrad(() => scope(() => parameter.initializer(parameter.shape)))
    }
    outsideScopes(() => withBackend(backend, () => withRandom(stream, draw)))
    return this
  }

  train(training = true): this {
    for (const [, module] of this.namedModules()) module.training = training
    return this
  }
  eval(): this {
    return this.train(false)
  }

  /** Drops accumulated gradients. */
  clearGradients(): void {
    for (const parameter of this.parameters()) {
      parameter.value.grad?.dispose()
      parameter.value.grad = null
    }
  }

  /** Frees the values of every parameter. */
  dispose(): void {
    for (const [, parameter] of this.namedParameters()) parameter.dispose()
  }
}
