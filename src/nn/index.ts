// Modules: the base class and the layers that most models share.
export * from './convolution.js'
export * as initializers from './initializers.js'
export * from './layers.js'
export * from './mixing.js'
export { type InitializeOptions, type Initializer, Module, Parameter, type ParameterOptions } from './module.js'
export * from './normalization.js'
