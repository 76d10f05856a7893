// Pipelines, layouts and bind groups, each made once: compiling a kernel takes milliseconds, making a group microseconds.
import { blockBytes } from './parameters.js'
import { type Dispatch, moduleText, type Slot } from './program.js'
import type { Assignment } from './slots.js'

interface Program {
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
  readonly layoutKey: string
}

/** A dispatch as a recording keeps it until its numbers have a buffer. */
export interface RecordedDispatch {
  readonly type: 'recorded'
  readonly dispatch: Dispatch
  readonly assignment: Assignment
}

/** A dispatch of a capture: numbers and buffers in one group, so that a replay makes as few calls as can be. */
export interface BoundDispatch {
  readonly type: 'bound'
  readonly pipeline: GPUComputePipeline
  readonly group: GPUBindGroup
  readonly grid: Dispatch['workgroups']
}

export class Pipelines {
  private readonly programs = new Map<string, Program>()
  private readonly layouts = new Map<string, GPUBindGroupLayout>()
  private readonly groups = new Map<string, GPUBindGroup>()

  /** `numbersLayout` is that of the group of a dispatch's numbers, where it is apart. */
  constructor(
    private readonly gpu: GPUDevice,
    private readonly numbersLayout: GPUBindGroupLayout,
  ) {}

  /** Lets go of every buffer. */
  forgetBuffers(): void {
    this.groups.clear()
  }

  program(dispatch: Dispatch, { slots, places }: Assignment, groups: 'apart' | 'joined' = 'apart'): Program {
    let key = `${groups}.${dispatch.label}`
    for (const { name, binding, slot } of places) key += `|${name}:${binding.operand.dtype}:${slot}:${binding.access}`
    for (const { kind, writable } of slots) key += `|${kind}${writable ? '+' : ''}`
    const known = this.programs.get(key)
    if (known) return known
    const code = moduleText(dispatch, places, slots, groups)
    const layoutKey = slots.map(({ writable }) => (writable ? 'w' : 'r')).join('') + (groups === 'joined' ? 'u' : '')
    const layout = this.layout(layoutKey)
    const pipeline = this.gpu.createComputePipeline({
      label: dispatch.label,
      layout: this.gpu.createPipelineLayout({
        bindGroupLayouts: groups === 'joined' ? [layout] : [this.numbersLayout, layout],
      }),
      compute: { module: this.gpu.createShaderModule({ label: key, code }), entryPoint: 'main' },
    })
    const program = { pipeline, layout, layoutKey }
    this.programs.set(key, program)
    return program
  }

  /** A recorded dispatch with its numbers, the `index`th of `parameters`, in its group. */
  bind({ dispatch, assignment }: RecordedDispatch, parameters: GPUBuffer, index: number): BoundDispatch {
    const { pipeline, layout } = this.program(dispatch, assignment, 'joined')
    const { slots } = assignment
    const numbers = { buffer: parameters, offset: index * blockBytes, size: blockBytes }
    const entries = [...slots.map(resourceOf), numbers].map((resource, binding) => ({ binding, resource }))
    return {
      type: 'bound',
      pipeline,
      group: this.gpu.createBindGroup({ layout, entries }),
      grid: dispatch.workgroups,
    }
  }

  private layout(key: string): GPUBindGroupLayout {
    const known = this.layouts.get(key)
    if (known) return known
    const entries = [...key].map((access, binding) => ({
      binding,
      visibility: 4, // GPUShaderStage.COMPUTE
      buffer: { type: bindingTypes[access] },
    }))
    const layout = this.gpu.createBindGroupLayout({ entries })
    this.layouts.set(key, layout)
    return layout
  }

  bindGroup(program: Program, { slots }: Assignment): GPUBindGroup {
    let key = program.layoutKey
    for (const { buffer, start, bytes } of slots) key += `,${buffer.memory.id}:${start}:${bytes}`
    const known = this.groups.get(key)
    if (known) return known
    if (this.groups.size > 20000) this.groups.clear()
    const group = this.gpu.createBindGroup({
      layout: program.layout,
      entries: slots.map((slot, binding) => ({ binding, resource: resourceOf(slot) })),
    })
    this.groups.set(key, group)
    return group
  }
}

const resourceOf = ({ buffer, start, bytes }: Slot): GPUBufferBinding => ({
  buffer: buffer.memory.gpu,
  offset: start,
  size: bytes,
})

/** Of the letters of a layout's key. */
const bindingTypes: Readonly<Record<string, GPUBufferBindingType>> = {
  r: 'read-only-storage',
  w: 'storage',
  u: 'uniform',
}
