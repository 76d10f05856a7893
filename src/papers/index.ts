// The catalogue: what the 33 papers are, and how to load each one that is implemented. Nothing else, so that importing it
// costs nothing; a paper's state is computed in state.ts.

import type { Experiment } from '../experiments/experiment.js'

export interface Paper {
  /** Position in the list, from 1. */
  readonly number: number
  readonly title: string
  /** Names the paper on the command line, in imports and in result files. */
  readonly slug: string
  readonly domain: string
  /** How many authors, or the organisation that signs; null where the list does not say. */
  readonly authors: number | string | null
  /** ISO date of the first version; null where the list does not say. */
  readonly date: string | null
  /** Imports the implementation. Absent as long as there is none. */
  readonly load?: () => Promise<object>
  /** Names of its image models, the rows of the `imageModels` that `load` gives (src/models/image-catalogue.ts). */
  readonly imageModels?: readonly string[]
  /** Imports the experiment that tests its claim. Absent as long as there is none. */
  readonly experiment?: () => Promise<{ readonly experiment: Experiment }>
}

export const papers: readonly Paper[] = [
  {
    number: 1,
    title: 'Decision Mamba: A Multi-Grained State Space Model with Self-Evolution Regularization for Offline RL',
    slug: 'decision-mamba',
    domain: 'control',
    authors: 5,
    date: '2024-06-08',
  },
  {
    number: 2,
    title: 'Mamba base PKD for efficient knowledge compression',
    slug: 'mamba-pkd',
    domain: 'compression',
    authors: 4,
    date: '2025-03-03',
  },
  {
    number: 3,
    title: 'Quamba: A Post-Training Quantization Recipe for Selective State Space Models',
    slug: 'quamba',
    domain: 'compression',
    authors: null,
    date: null,
  },
  {
    number: 4,
    title:
      'Motion Mamba: Efficient and Long Sequence Motion Generation with Hierarchical and Bidirectional Selective SSM',
    slug: 'motion-mamba',
    domain: 'motion',
    authors: 6,
    date: '2024-03-12',
  },
  {
    number: 5,
    title: 'Spatial-Spectral Morphological Mamba for Hyperspectral Image Classification',
    slug: 'morpmamba',
    domain: 'remote sensing',
    authors: 10,
    date: '2024-08-02',
  },
  {
    number: 6,
    title: 'Mamba YOLO: SSMs-Based YOLO For Object Detection',
    slug: 'mamba-yolo',
    domain: 'vision',
    authors: 4,
    date: '2024-06-09',
  },
  {
    number: 7,
    title: 'Mamba: Linear-Time Sequence Modeling with Selective State Spaces',
    slug: 'mamba',
    domain: 'language',
    authors: 2,
    date: '2023-12-01',
    load: () => import('./mamba/index.js'),
    experiment: () => import('./mamba/experiment.js'),
  },
  {
    number: 8,
    title: 'CSFMamba: Cross State Fusion Mamba Operator for Multimodal Remote Sensing Image Classification',
    slug: 'csfmamba',
    domain: 'remote sensing',
    authors: 3,
    date: '2025-08-30',
  },
  {
    number: 9,
    title: 'Mamba-FSCIL: Dynamic Adaptation with Selective State Space Model for Few-Shot Class-Incremental Learning',
    slug: 'mamba-fscil',
    domain: 'vision',
    authors: 6,
    date: '2024-07-08',
  },
  {
    number: 10,
    title: 'PlainMamba: Improving Non-Hierarchical Mamba in Visual Recognition',
    slug: 'plainmamba',
    domain: 'vision',
    authors: 7,
    date: '2024-03-26',
    load: () => import('./plainmamba/index.js'),
    experiment: () => import('./plainmamba/experiment.js'),
    imageModels: ['plainmamba-l1', 'plainmamba-l2', 'plainmamba-l3', 'plainmamba-mini'],
  },
  {
    number: 11,
    title: 'LBMamba: Locally Bi-directional Mamba',
    slug: 'lbmamba',
    domain: 'vision',
    authors: 5,
    date: '2025-06-18',
    load: () => import('./lbmamba/index.js'),
    experiment: () => import('./lbmamba/experiment.js'),
    imageModels: ['lbvim-ti', 'lbvim-300', 'lbvim-s', 'lbvim-528', 'lbvim-mini'],
  },
  {
    number: 12,
    title: 'Drama: Mamba-Enabled Model-Based Reinforcement Learning Is Sample and Parameter Efficient',
    slug: 'drama',
    domain: 'control',
    authors: 5,
    date: '2024-10-11',
  },
  {
    number: 13,
    title: 'Mixture-of-Mamba: Enhancing Multi-Modal State-Space Models with Modality-Aware Sparsity',
    slug: 'mixture-of-mamba',
    domain: 'multi-modal',
    authors: 6,
    date: '2025-01-27',
  },
  {
    number: 14,
    title: 'EfficientViM: Efficient Vision Mamba with Hidden State Mixer based State Space Duality',
    slug: 'efficientvim',
    domain: 'vision',
    authors: 3,
    date: '2024-11-21',
  },
  {
    number: 15,
    title: 'MambaOut: Do We Really Need Mamba for Vision?',
    slug: 'mambaout',
    domain: 'vision',
    authors: 2,
    date: '2024-05-13',
    load: () => import('./mambaout/index.js'),
    experiment: () => import('./mambaout/experiment.js'),
    imageModels: ['mambaout-femto', 'mambaout-kobe', 'mambaout-tiny', 'mambaout-small', 'mambaout-base'],
  },
  {
    number: 16,
    title: 'Spatial-Mamba: Effective Visual State Space Models via Structure-aware State Fusion',
    slug: 'spatial-mamba',
    domain: 'vision',
    authors: 5,
    date: '2024-10-19',
  },
  {
    number: 17,
    title: 'VSSD: Vision Mamba with Non-Casual State Space Duality',
    slug: 'vssd',
    domain: 'vision',
    authors: 4,
    date: '2024-07-26',
  },
  {
    number: 18,
    title: 'Graph Mamba: Towards Learning on Graphs with State Space Models',
    slug: 'graph-mamba',
    domain: 'graphs',
    authors: 2,
    date: '2024-02-13',
  },
  {
    number: 19,
    title: 'EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba',
    slug: 'efficientvmamba',
    domain: 'vision',
    authors: 3,
    date: '2024-03-14',
    load: () => import('./efficientvmamba/index.js'),
    experiment: () => import('./efficientvmamba/experiment.js'),
    imageModels: ['efficientvmamba-t', 'efficientvmamba-s', 'efficientvmamba-b'],
  },
  {
    number: 20,
    title: 'SSAMBA: Self-Supervised Audio Representation Learning with Mamba State Space Model',
    slug: 'ssamba',
    domain: 'audio',
    authors: 4,
    date: '2024-05-20',
  },
  {
    number: 21,
    title:
      'MambaClinix: Hierarchical Gated Convolution and Mamba-Based U-Net for Enhanced 3D Medical Image Segmentation',
    slug: 'mambaclinix',
    domain: 'medical',
    authors: 7,
    date: '2024-09-19',
  },
  {
    number: 22,
    title: 'Mamba State-Space Models Are Lyapunov-Stable Learners',
    slug: 'lyapunov',
    domain: 'theory',
    authors: 3,
    date: '2024-05-31',
  },
  {
    number: 23,
    title: 'MambaMixer: Efficient Selective State Space Models with Dual Token and Channel Selection',
    slug: 'mambamixer',
    domain: 'vision, time series',
    authors: 3,
    date: '2024-03-28',
  },
  {
    number: 24,
    title: 'Remote Sensing Image Segmentation Using Vision Mamba and Multi-Scale Multi-Frequency Feature Fusion',
    slug: 'cvmh-unet',
    domain: 'remote sensing',
    authors: 7,
    date: '2024-10-07',
  },
  {
    number: 25,
    title: 'Hydra: A 1.6B-Parameter State-Space Language Model with Sparse Attention, Mixture-of-Experts, and Memory',
    slug: 'hydra',
    domain: 'language',
    authors: 2,
    date: '2025-08-20',
  },
  {
    number: 26,
    title: 'Nemotron Elastic: Towards Efficient Many-in-One Reasoning LLMs',
    slug: 'nemotron-elastic',
    domain: 'language',
    authors: 'NVIDIA',
    date: '2025-11-20',
  },
  {
    number: 27,
    title: 'Demystifying the Token Dynamics of Deep Selective State Space Models',
    slug: 'token-dynamics',
    domain: 'theory',
    authors: 4,
    date: '2024-10-04',
  },
  {
    number: 28,
    title: 'GroupMamba: Parameter-Efficient and Accurate Group Visual State Space Model',
    slug: 'groupmamba',
    domain: 'vision',
    authors: 5,
    date: '2024-07-18',
    load: () => import('./groupmamba/index.js'),
    experiment: () => import('./groupmamba/experiment.js'),
    imageModels: ['groupmamba-tiny', 'groupmamba-small', 'groupmamba-base'],
  },
  {
    number: 29,
    title:
      'TiM4Rec: An Efficient Sequential Recommendation Model Based on Time-Aware Structured State Space Duality Model',
    slug: 'tim4rec',
    domain: 'recommendation',
    authors: 7,
    date: '2024-09-24',
  },
  {
    number: 30,
    title: 'RSMamba: Remote Sensing Image Classification with State Space Model',
    slug: 'rsmamba',
    domain: 'remote sensing',
    authors: 6,
    date: '2024-03-28',
  },
  {
    number: 31,
    title: 'Apriel-H1: Towards Efficient Enterprise Reasoning Models',
    slug: 'apriel-h1',
    domain: 'language',
    authors: 13,
    date: '2025-11-04',
  },
  {
    number: 32,
    title: 'A2Mamba: Attention-augmented State Space Models for Visual Recognition',
    slug: 'a2mamba',
    domain: 'vision',
    authors: 3,
    date: '2025-07-22',
  },
  {
    number: 33,
    title: 'Quamba2: A Robust and Scalable Post-training Quantization Framework for Selective State Space Models',
    slug: 'quamba2',
    domain: 'compression',
    authors: null,
    date: null,
  },
]

/** The paper called `slug`, or undefined. */
export function findPaper(slug: string): Paper | undefined {
  return papers.find((paper) => paper.slug === slug)
}
